#include "lib/port_options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>

#include <errno.h>

#include "driver/kernel/sysfs.h"

namespace netvsc::provider {

namespace {

/* More than these do not help whoever reads a sentence. */
constexpr size_t kMaxListed = 8;

/* Six pairs of hex digits, as ip-link(8) or Windows would print them. */
bool
is_mac(std::string_view text)
{
    if (text.size() != 17 || (text[2] != ':' && text[2] != '-')) {
        return false;
    }
    for (size_t i = 0; i < text.size(); i++) {
        bool separator = i % 3 == 2;
        if (separator ? text[i] != text[2]
                      : !std::isxdigit(static_cast<unsigned char>(text[i]))) {
            return false;
        }
    }
    return true;
}

/* "this machine has the network devices A and B." */
std::string
present_nics()
{
    std::vector<Guid> nics = list_nics();
    if (nics.empty()) {
        return "this machine has no VMBus network device; add a network "
               "adapter on the host.";
    }
    std::sort(nics.begin(), nics.end());
    std::vector<std::string> names;
    for (const Guid &nic : nics) {
        names.push_back(nic.str());
    }
    return (names.size() == 1 ? "this machine has the network device "
                              : "this machine has the network devices ") +
           enumerate(names) + ".";
}

Result<Guid>
parse_device(const std::string &value)
{
    if (auto guid = Guid::parse(value)) {
        return *guid;
    }
    std::string problem = "options:vmbus-device=" + value;
    if (is_mac(value)) {
        problem += " is a MAC address, but the device's VMBus GUID is needed";
    } else {
        problem += " is no VMBus GUID of the form "
                   "01234567-89ab-cdef-0123-456789abcdef";
    }
    return Error{EINVAL, problem + ": " + present_nics()};
}

Result<unsigned>
parse_n_rxq(const std::string &value)
{
    unsigned n = 0;
    const char *end = value.data() + value.size();
    auto [last, error] = std::from_chars(value.data(), end, n);
    if (error != std::errc() || last != end || n == 0 || n > kMaxRxQueues) {
        return Error{EINVAL, "options:n_rxq=" + value +
                                 " is no number of receive queues: give one "
                                 "from 1 to " +
                                 std::to_string(kMaxRxQueues) + "."};
    }
    return n;
}

} // namespace

Result<PortOptions>
parse_options(std::span<const Option> options)
{
    std::optional<Guid> device;
    unsigned n_rxq = 1;
    std::vector<std::string> ignored;
    for (const Option &option : options) {
        if (option.key == "vmbus-device") {
            auto parsed = parse_device(option.value);
            if (!parsed) {
                return parsed.error();
            }
            device = *parsed;
        } else if (option.key == "n_rxq") {
            auto parsed = parse_n_rxq(option.value);
            if (!parsed) {
                return parsed.error();
            }
            n_rxq = *parsed;
        } else {
            ignored.push_back(option.key);
        }
    }
    if (!device) {
        return Error{EINVAL, "options:vmbus-device=<GUID> is missing: " +
                                 present_nics()};
    }
    return PortOptions{*device, n_rxq, std::move(ignored)};
}

std::string
describe_ignored(const std::string &port,
                 const std::vector<std::string> &ignored)
{
    bool one = ignored.size() == 1;
    std::string keys;
    for (const std::string &key : ignored) {
        keys += " " + key;
    }
    return (one ? "The option " : "The options ") + enumerate(ignored) +
           (one ? " has" : " have") +
           " no meaning for a port of type netvsc and " +
           (one ? "is" : "are") +
           " ignored; it takes vmbus-device and n_rxq.  Correct what is "
           "misspelt, and remove the rest: ovs-vsctl remove Interface " +
           port + " options" + keys;
}

std::string
enumerate(const std::vector<std::string> &words)
{
    size_t n = std::min(words.size(), kMaxListed);
    std::string text;
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == words.size();
        text += i == 0 ? "" : last ? " and " : ", ";
        text += words[i];
    }
    if (n < words.size()) {
        text += " and " + std::to_string(words.size() - n) + " more";
    }
    return text;
}

} // namespace netvsc::provider

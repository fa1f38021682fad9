#include "lib/device_watch.h"

#include <climits>

namespace netvsc::provider {

namespace {

/* A second is soon enough for a person who waits, and a dozen file look-ups
 * a second cost nothing. */
constexpr long long kInterval = 1000;

} // namespace

void
DeviceWatch::add(const std::string &port, const Guid &device,
                 const std::string &verdict)
{
    entries_.insert_or_assign(port, Entry{device, verdict});
}

void
DeviceWatch::remove(const std::string &port)
{
    entries_.erase(port);
}

bool
DeviceWatch::look(long long now)
{
    if (entries_.empty() || now < next_look_) {
        return false;
    }
    next_look_ = now + kInterval;
    return std::erase_if(entries_, [&](const auto &item) {
               const Entry &entry = item.second;
               return diagnose_(entry.device) != entry.verdict;
           }) > 0;
}

long long
DeviceWatch::next_look() const
{
    return entries_.empty() ? LLONG_MAX : next_look_;
}

} // namespace netvsc::provider

#include "lib/identity_file.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace netvsc::provider {

namespace {

constexpr std::string_view kTitle = "netvsc-devices 1";

/* What is read of a file; more is not ours. */
constexpr size_t kMaxFile = 64 * 1024;
/* The longest line, and how many devices are remembered: at this length they
 * fit the file, and no machine has seen as many network adapters. */
constexpr size_t kMaxLine = 200;
constexpr size_t kMaxEntries = 256;
static_assert(kTitle.size() + 1 + kMaxEntries * (kMaxLine + 1) <= kMaxFile);

/* How long the writer waits for another process that has the lock: it holds
 * it for as long as a small file takes. */
constexpr std::chrono::seconds kLockPatience{10};
constexpr std::chrono::milliseconds kLockInterval{20};

constexpr char kFileName[] = "netvsc-devices";

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor()
    {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    explicit operator bool() const { return fd_ >= 0; }
    int
    get() const
    {
        return fd_;
    }

private:
    int fd_;
};

std::string
reason(int error)
{
    return std::system_category().message(error);
}

/* The next word of a line, which is taken off it. */
std::string_view
take_word(std::string_view *line)
{
    size_t end = std::min(line->find(' '), line->size());
    std::string_view word = line->substr(0, end);
    line->remove_prefix(std::min(end + 1, line->size()));
    return word;
}

std::optional<MacAddress>
parse_mac(std::string_view text)
{
    MacAddress mac;
    int end = 0;
    std::string copy(text);
    if (std::sscanf(copy.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n",
                    &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5],
                    &end) != 6 ||
        mac_text(mac) != text) {
        return std::nullopt;
    }
    return mac;
}

std::optional<Identities::Entry>
parse_entry(std::string_view line)
{
    if (line.size() > kMaxLine) {
        return std::nullopt;
    }
    auto device = Guid::parse(take_word(&line));
    auto mac = parse_mac(take_word(&line));
    if (!device || !mac) {
        return std::nullopt;
    }
    return Identities::Entry{*device, *mac, std::string(line)};
}

/* The whole of a small regular file; nothing for one that is not there.  A
 * FIFO or the like in its place blocks nobody. */
Result<std::optional<std::string>>
read_file(const std::string &path)
{
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file) {
        if (errno == ENOENT) {
            return std::optional<std::string>();
        }
        return Error{errno, path + " cannot be read (" + reason(errno) +
                                "): give ovs-vswitchd's user access to it."};
    }
    struct stat status;
    if (::fstat(file.get(), &status) || !S_ISREG(status.st_mode)) {
        return Error{EINVAL, path + " is no file: remove it."};
    }
    std::string text(kMaxFile + 1, '\0');
    size_t size = 0;
    for (;;) {
        ssize_t n = ::read(file.get(), text.data() + size, text.size() - size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return Error{errno, path + " cannot be read (" + reason(errno) +
                                    "): remove it."};
        }
        if (n == 0) {
            break;
        }
        size += static_cast<size_t>(n);
    }
    if (size > kMaxFile) {
        return Error{EFBIG, path + " is too large to be a list of network "
                                   "devices: remove it."};
    }
    text.resize(size);
    return std::optional(std::move(text));
}

/* What is in the file; an empty list for none. */
Result<Identities>
load(const std::string &path)
{
    auto text = read_file(path);
    if (!text) {
        return text.error();
    }
    if (!*text) {
        return Identities{};
    }
    auto parsed = Identities::parse(**text);
    if (!parsed) {
        return Error{EINVAL, path + " is no list of network devices, or one "
                                    "of a later version: remove it."};
    }
    return *parsed;
}

Status
unwritable(const std::string &path, int error)
{
    return Error{error, path + " cannot be written (" + reason(error) +
                            "): let ovs-vswitchd's user write to that "
                            "directory.  Until then bridges can show another "
                            "MAC address and datapath id for a moment when "
                            "the switch starts."};
}

Status
replace_file(const std::string &path, std::string_view text)
{
    std::string fresh = path + ".new";
    {
        Descriptor file(::open(fresh.c_str(),
                               O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
                                   O_NOFOLLOW | O_NONBLOCK,
                               0644));
        if (!file) {
            return unwritable(path, errno);
        }
        while (!text.empty()) {
            ssize_t n = ::write(file.get(), text.data(), text.size());
            if (n < 0 && errno != EINTR) {
                return unwritable(path, errno);
            }
            text.remove_prefix(n > 0 ? static_cast<size_t>(n) : 0);
        }
        /* A power cut must not leave the new name with nothing behind it. */
        if (::fsync(file.get())) {
            return unwritable(path, errno);
        }
    }
    if (::rename(fresh.c_str(), path.c_str())) {
        return unwritable(path, errno);
    }
    return ok();
}

Status
lock_file(const Descriptor &lock, const std::string &path)
{
    auto end = std::chrono::steady_clock::now() + kLockPatience;
    while (::flock(lock.get(), LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return unwritable(path, errno);
        }
        if (std::chrono::steady_clock::now() >= end) {
            return Error{EBUSY, path + " is locked by another process for "
                                       "too long: end that process (see "
                                       "lslocks)."};
        }
        std::this_thread::sleep_for(kLockInterval);
    }
    return ok();
}

using Notes = std::map<Guid, MacAddress>;

/* Brings the file up to date, which others may have changed meanwhile. */
Status
update(const std::string &path, const Notes &notes)
{
    std::string lock_path = path + ".lock";
    Descriptor lock(
        ::open(lock_path.c_str(),
               O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!lock) {
        return unwritable(path, errno);
    }
    if (Status locked = lock_file(lock, path); !locked) {
        return locked;
    }
    auto identities = load(path);
    if (!identities) {
        return identities.error(); /* Not ours: not overwritten, either. */
    }
    bool changed = false;
    for (const auto &[device, mac] : notes) {
        changed |= identities->set(device, mac);
    }
    return changed ? replace_file(path, identities->format()) : ok();
}

} // namespace

std::string
mac_text(const MacAddress &mac)
{
    char text[18];
    std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
                  mac[1], mac[2], mac[3], mac[4], mac[5]);
    return text;
}

/* --- The content ----------------------------------------------------------
 */

std::optional<Identities>
Identities::parse(std::string_view text)
{
    Identities identities;
    bool title = true;
    while (!text.empty()) {
        size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (title) {
            if (line != kTitle) {
                return std::nullopt;
            }
            title = false;
        } else if (auto entry = parse_entry(line)) {
            std::erase_if(identities.entries, [&](const Entry &other) {
                return other.device == entry->device;
            });
            identities.entries.push_back(std::move(*entry));
        } else {
            identities.damaged++;
        }
    }
    return title ? std::nullopt : std::optional(std::move(identities));
}

std::string
Identities::format() const
{
    std::string text = std::string(kTitle) + "\n";
    for (const Entry &entry : entries) {
        text += entry.device.str() + " " + mac_text(entry.mac) +
                (entry.rest.empty() ? "" : " ") + entry.rest + "\n";
    }
    return text;
}

const Identities::Entry *
Identities::find(const Guid &device) const
{
    auto entry =
        std::find_if(entries.begin(), entries.end(),
                     [&](const Entry &one) { return one.device == device; });
    return entry == entries.end() ? nullptr : &*entry;
}

bool
Identities::set(const Guid &device, const MacAddress &mac)
{
    Entry entry{device, mac, ""};
    if (const Entry *old = find(device)) {
        if (old->mac == mac) {
            return false;
        }
        entry.rest = old->rest;
        std::erase_if(entries,
                      [&](const Entry &one) { return one.device == device; });
    }
    entries.push_back(std::move(entry));
    if (entries.size() > kMaxEntries) {
        entries.erase(entries.begin(),
                      entries.end() - static_cast<ptrdiff_t>(kMaxEntries));
    }
    return true;
}

/* --- The file -------------------------------------------------------------
 */

struct IdentityFile::Shared {
    std::function<std::string()> directory;
    std::function<void()> wake;

    std::mutex lock;
    std::condition_variable written;
    Notes notes; /* To be written. */
    bool writing = false;
    std::vector<std::string> warnings;
    /* The sentences that were said last; not repeated. */
    std::string told_of_reading, told_of_writing;

    std::string
    path() const
    {
        std::string place = directory();
        return place.empty() ? place : place + "/" + kFileName;
    }

    /* `sentence` is empty when all is well.  With the lock held. */
    void
    tell(std::string *told, std::string sentence)
    {
        if (!sentence.empty() && sentence != *told) {
            warnings.push_back(sentence);
        }
        *told = std::move(sentence);
    }

    void write(const std::string &path) noexcept;
};

/* The writer's thread. */
void
IdentityFile::Shared::write(const std::string &path) noexcept
{
    std::unique_lock hold(lock);
    while (!notes.empty()) {
        Notes taken = std::exchange(notes, {});
        hold.unlock();
        std::string problem;
        try {
            Status done = update(path, taken);
            problem = done ? "" : done.error().message;
        } catch (const std::bad_alloc &) {
            /* The next address that is noted is written again. */
        }
        hold.lock();
        if (!problem.empty()) {
            wake();
        }
        tell(&told_of_writing, std::move(problem));
    }
    writing = false;
    written.notify_all();
}

IdentityFile::IdentityFile(std::function<std::string()> directory,
                           std::function<void()> wake)
    : shared_(std::make_shared<Shared>())
{
    shared_->directory = std::move(directory);
    shared_->wake = std::move(wake);
}

IdentityFile::~IdentityFile()
{
    wait_written();
}

std::optional<MacAddress>
IdentityFile::mac_of(const Guid &device)
{
    std::string path = shared_->path();
    if (path.empty()) {
        return std::nullopt;
    }
    auto identities = load(path);
    std::lock_guard lock(shared_->lock);
    if (auto noted = shared_->notes.find(device);
        noted != shared_->notes.end()) {
        return noted->second;
    }
    std::string problem;
    if (!identities) {
        problem = identities.error().message;
    } else if (identities->damaged) {
        bool one = identities->damaged == 1;
        problem = path + " has " + std::to_string(identities->damaged) +
                  (one ? " line that makes no sense and is"
                       : " lines that make no sense and are") +
                  " ignored: remove the file; it is written anew when a "
                  "device is attached.";
    }
    shared_->tell(&shared_->told_of_reading, std::move(problem));
    const Identities::Entry *entry =
        identities ? identities->find(device) : nullptr;
    return entry ? std::optional(entry->mac) : std::nullopt;
}

void
IdentityFile::remember(const Guid &device, const MacAddress &mac)
{
    std::string path = shared_->path();
    if (path.empty()) {
        return;
    }
    std::lock_guard lock(shared_->lock);
    shared_->notes[device] = mac;
    if (shared_->writing) {
        return;
    }
    try {
        std::thread thread([shared = shared_, path] { shared->write(path); });
        ::pthread_setname_np(thread.native_handle(), "netvsc_identity");
        thread.detach();
        shared_->writing = true;
    } catch (const std::system_error &error) {
        shared_->notes.clear();
        shared_->tell(&shared_->told_of_writing,
                      path + " is not written, for want of a thread (" +
                          error.code().message() +
                          "): raise the limit on "
                          "threads of ovs-vswitchd.");
    }
}

std::vector<std::string>
IdentityFile::take_warnings()
{
    std::lock_guard lock(shared_->lock);
    return std::exchange(shared_->warnings, {});
}

void
IdentityFile::wait_written()
{
    std::unique_lock hold(shared_->lock);
    shared_->written.wait(hold, [&] { return !shared_->writing; });
}

} // namespace netvsc::provider

/* What is remembered of network devices from one life of the switch to the
 * next: a state file in Open vSwitch's database directory.
 *
 * A port's MAC address is the host's to say, and the host says it when the
 * device is attached.  Bridges, however, choose their own address and their
 * datapath id from their ports' when they are configured, and a controller
 * that connects in between sees both change.  So a port shows the address
 * that its device had last, until the host has answered.
 *
 * The file is text.  Its first line is a title with a version, each other one
 * a device:
 *
 *     netvsc-devices 1
 *     6f1dd6f2-8a4c-4c3e-9a51-7d2f5c0e0001 00:15:5d:00:00:01
 *
 * Later versions of the switch may append words to a line, which earlier ones
 * keep.  Lines that make no sense are left out.  The file is replaced by
 * rename under a lock, so that several processes can share the directory. */

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "driver/error.h"
#include "driver/kernel/guid.h"

namespace netvsc::provider {

using MacAddress = std::array<uint8_t, 6>;

/* "00:15:5d:00:00:01" */
[[nodiscard]] std::string mac_text(const MacAddress &mac);

/* The content of the file. */
struct Identities {
    struct Entry {
        Guid device;
        MacAddress mac{};
        std::string rest; /* Words of later versions, with a blank each. */
    };

    /* Reads what it can and counts the lines that it cannot.  Nothing at all
     * if `text` is no such file, or one of a version that is not known. */
    static std::optional<Identities> parse(std::string_view text);
    [[nodiscard]] std::string format() const;

    [[nodiscard]] const Entry *find(const Guid &device) const;

    /* Returns whether that changes anything.  The devices that were set
     * longest ago make room when there are too many. */
    bool set(const Guid &device, const MacAddress &mac);

    std::vector<Entry> entries;
    unsigned damaged = 0;
};

class IdentityFile {
public:
    /* `directory` is asked when the file is first used; no directory, no
     * file.  `wake` is called on any thread when there are warnings. */
    IdentityFile(std::function<std::string()> directory,
                 std::function<void()> wake);
    ~IdentityFile();
    IdentityFile(const IdentityFile &) = delete;
    IdentityFile &operator=(const IdentityFile &) = delete;

    /* Reads the file.  Main thread. */
    [[nodiscard]] std::optional<MacAddress> mac_of(const Guid &device);

    /* Notes the address; a thread of its own, which ends soon, writes it
     * down, because a disk may take its time.  Main thread. */
    void remember(const Guid &device, const MacAddress &mac);

    /* Sentences for the log that there are since the last call.  Each kind
     * of trouble is reported once. */
    [[nodiscard]] std::vector<std::string> take_warnings();

    /* Waits until what was noted is written, or could not be.  For tests. */
    void wait_written();

private:
    struct Shared;
    /* Also of the thread that writes, which may outlive us. */
    std::shared_ptr<Shared> shared_;
};

} // namespace netvsc::provider

/* Ports that wait for their device to be there, bound and readable.
 *
 * OVS destroys a netdev whose set_config() fails, and does not try again
 * before its configuration changes.  So the wish has to outlive the netdev:
 * it is noted here, by port name; sysfs is looked at now and then, and when
 * there is something new to say about the device, the bridge is asked to
 * configure itself again.
 *
 * An entry is forgotten when it has been reported: the bridge's new attempt
 * succeeds, fails and enters the port again, or does not come because the
 * port is no longer configured. */

#pragma once

#include <functional>
#include <map>
#include <string>

#include "driver/kernel/guid.h"

namespace netvsc::provider {

/* Main thread only. */
class DeviceWatch {
public:
    /* Why a device cannot be used now: a sentence, or empty when it can. */
    using Diagnosis = std::function<std::string(const Guid &)>;

    explicit DeviceWatch(Diagnosis diagnose) : diagnose_(std::move(diagnose))
    {
    }

    /* `port` cannot use `device`, for the reason `verdict`. */
    void add(const std::string &port, const Guid &device,
             const std::string &verdict);

    /* `port` has what it wants, or wants something else. */
    void remove(const std::string &port);

    /* Looks, if it is time: `now` in ms.  True if a verdict has changed. */
    [[nodiscard]] bool look(long long now);

    /* When look() has something to do; LLONG_MAX: never. */
    [[nodiscard]] long long next_look() const;

private:
    struct Entry {
        Guid device;
        std::string verdict;
    };

    Diagnosis diagnose_;
    std::map<std::string, Entry> entries_;
    long long next_look_ = 0;
};

} // namespace netvsc::provider

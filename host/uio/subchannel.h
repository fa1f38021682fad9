/* A sub-channel of a UIO device: its directory in the tree, and the file that
 * holds its rings (C.6).
 *
 * The kernel opens a sub-channel by itself as soon as it is offered.  First
 * its directory appears, then, when it is open, the file `ring` in there,
 * which both sides map. */

#pragma once

#include <optional>

#include "host/config.h"
#include "host/netvsp/front_end.h"
#include "host/netvsp/monitor.h"
#include "host/uio/channel_numbers.h"
#include "host/uio/pages.h"
#include "host/uio/tree.h"

namespace netvsc::host {

/* A file that is mapped and may be mapped by others. */
class MappedFile {
public:
    /* Throws HostError. */
    MappedFile(const UniqueFd &fd, size_t size);
    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile &operator=(const MappedFile &) = delete;

    [[nodiscard]] MutableBytes
    bytes() const
    {
        return bytes_;
    }

private:
    MutableBytes bytes_;
};

/* The NIC's thread. */
class UioSubchannel : public ChannelLink {
public:
    /* Shows the sub-channel with this index, without its rings.  `device`
     * gets its interrupts; all must outlive it.  Throws HostError. */
    UioSubchannel(ChannelLink &device, const NicConfig &nic, uint32_t index,
                  ChannelNumbers &numbers, const SysfsTree &tree,
                  const VmPages &pages);
    /* The host rescinds it: it is gone from the tree. */
    ~UioSubchannel() override;
    UioSubchannel(const UioSubchannel &) = delete;
    UioSubchannel &operator=(const UioSubchannel &) = delete;

    [[nodiscard]] uint32_t
    index() const
    {
        return index_;
    }
    /* It is open: the guest can map the rings.  Throws HostError. */
    void show_rings();
    /* What a 4-byte write() to the device means for this channel. */
    void irq_control(bool unmask);

    [[nodiscard]] MutableBytes to_host_ring() override;
    [[nodiscard]] MutableBytes to_guest_ring() override;
    void interrupt() override;
    [[nodiscard]] bool take_signal() override;
    [[nodiscard]] uint64_t signal_interval_ns() override;

private:
    ChannelLink &device_;
    const std::string guid_;
    uint32_t index_;
    const SysfsTree &tree_;
    ChannelNumbers::Lease numbers_;
    std::optional<MonitorTrigger> trigger_; /* With a monitor id. */
    bool signalled_ = false;                /* By irq-control, without one. */
    std::optional<MappedFile> rings_;
};

} // namespace netvsc::host

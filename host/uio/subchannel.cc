#include "host/uio/subchannel.h"

#include <sys/mman.h>

#include "host/base/error.h"
#include "host/base/event_loop.h"
#include "host/netvsp/ring.h"

namespace netvsc::host {

/* --- MappedFile -------------------------------------------------------- */

MappedFile::MappedFile(const UniqueFd &fd, size_t size)
{
    void *at =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED) {
        throw_errno("Cannot map the rings of a sub-channel");
    }
    bytes_ = {static_cast<std::byte *>(at), size};
}

MappedFile::~MappedFile()
{
    munmap(bytes_.data(), bytes_.size());
}

/* --- UioSubchannel ----------------------------------------------------- */

UioSubchannel::UioSubchannel(ChannelLink &device, const NicConfig &nic,
                             uint32_t index, ChannelNumbers &numbers,
                             const SysfsTree &tree, const VmPages &pages)
    : device_(device), guid_(nic.guid), index_(index), tree_(tree),
      numbers_(numbers.take(nic.monitor ? ChannelNumbers::Monitor::kIfFree
                                        : ChannelNumbers::Monitor::kNone))
{
    if (numbers_.monitor_id()) {
        trigger_.emplace(pages.monitor_page().bytes(), *numbers_.monitor_id());
        trigger_->announce(connection_id(numbers_.relid()),
                           latency_units(nic.latency_us));
    }
    tree_.add_channel(guid_, {index, numbers_.relid(), numbers_.monitor_id()});
    try {
        UniqueFd file = tree_.create_rings(guid_, numbers_.relid());
        rings_.emplace(file, wire::kUioRingsSize);
    } catch (...) {
        tree_.remove_channel(guid_, numbers_.relid());
        throw;
    }
    /* The kernel formats both rings when it opens a channel. */
    RingMemory(to_host_ring()).format();
    RingMemory(to_guest_ring()).format();
}

UioSubchannel::~UioSubchannel()
{
    tree_.remove_channel(guid_, numbers_.relid());
}

void
UioSubchannel::show_rings()
{
    tree_.show_rings(guid_, numbers_.relid());
}

/* The kernel treats all channels alike, and signals the host where there is no
 * monitor (C.5, C.7). */
void
UioSubchannel::irq_control(bool unmask)
{
    signalled_ |= unmask && !trigger_;
    RingMemory(to_guest_ring()).interrupt_mask().store(unmask ? 0 : 1);
}

MutableBytes
UioSubchannel::to_host_ring()
{
    return rings_->bytes().first(rings_->bytes().size() / 2);
}

MutableBytes
UioSubchannel::to_guest_ring()
{
    return rings_->bytes().subspan(rings_->bytes().size() / 2);
}

void
UioSubchannel::interrupt()
{
    device_.interrupt(); /* There is one counter for all (C.4). */
}

bool
UioSubchannel::take_signal()
{
    return trigger_ ? trigger_->take() : std::exchange(signalled_, false);
}

uint64_t
UioSubchannel::signal_interval_ns()
{
    return trigger_ ? trigger_->interval_ns() : EventLoop::kForever;
}

} // namespace netvsc::host

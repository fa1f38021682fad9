#include "host/vmm/vmbus_device.h"

#include <charconv>

#include <sys/eventfd.h>

#include "host/base/error.h"

namespace netvsc::host::vmm {

namespace vmbus = wire::vmbus;

namespace {

/* The text form writes the first three fields as numbers, highest digit
 * first; on the wire they are little-endian (B.3.1). */
vmbus::Guid
to_wire(const std::string &text)
{
    constexpr size_t kOrder[] = {3, 2, 1,  0,  5,  4,  7,  6,
                                 8, 9, 10, 11, 12, 13, 14, 15};
    vmbus::Guid guid{};
    const char *digits = text.data();
    for (size_t at : kOrder) {
        if (*digits == '-') {
            digits++;
        }
        std::from_chars(digits, digits + 2, guid.bytes[at], 16);
        digits += 2;
    }
    return guid;
}

} // namespace

/* --- RamMemory --------------------------------------------------------- */

bool
RamMemory::read(std::span<const GpaPiece> pieces, MutableBytes to)
{
    for (const GpaPiece &piece : pieces) {
        MutableBytes from = ram_.at(piece.address, piece.size);
        if (from.size() != piece.size) {
            return false;
        }
        std::memcpy(to.data(), from.data(), from.size());
        to = to.subspan(piece.size);
    }
    return true;
}

/* --- Doorbell ---------------------------------------------------------- */

Doorbell::Doorbell() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))
{
    if (!fd_) {
        throw_errno("Cannot create an event counter");
    }
}

void
Doorbell::ring() const
{
    eventfd_write(fd_.get(), 1);
}

bool
Doorbell::take() const
{
    eventfd_t rings;
    return eventfd_read(fd_.get(), &rings) == 0;
}

/* --- VmbusDevice ------------------------------------------------------- */

VmbusDevice::VmbusDevice(Nic &nic, VmbusServer &server, Hypervisor &hypervisor)
    : nic_(nic), server_(server), hypervisor_(hypervisor),
      memory_(hypervisor.ram()), doorbell_(std::make_shared<Doorbell>())
{
    Offer offer{vmbus::kNicClass, to_wire(nic.config().guid)};
    offer.monitored = nic.config().monitor;
    offer.monitor_latency = latency_units(nic.config().latency_us);
    ids_ = server_.offer(offer, *this);
    nic_.call([this] {
        nic_.loop().watch(doorbell_->fd(),
                          [this] { rung_ |= doorbell_->take(); });
    });
}

VmbusDevice::~VmbusDevice()
{
    withdraw(SessionEnd::kRescinded);
}

void
VmbusDevice::withdraw(SessionEnd reason)
{
    if (std::exchange(withdrawn_, true)) {
        return;
    }
    server_.rescind(ids_.relid);
    end_session(reason);
    nic_.call([this] { nic_.loop().forget(doorbell_->fd()); });
}

void
VmbusDevice::open(const OpenedChannel &channel)
{
    nic_.call([&] {
        channel_ = channel;
        if (!channel.monitor_page.empty()) {
            trigger_.emplace(channel.monitor_page, ids_.monitor_id);
        }
        rung_ = false;
        /* The guest names its buffers' GPADLs later, by NVSP. */
        nic_.open(*this, *this, {ids_.relid, ids_.monitor_id, 0, 0});
    });
}

void
VmbusDevice::close()
{
    end_session(SessionEnd::kClosed);
}

void
VmbusDevice::end_session(SessionEnd reason)
{
    nic_.call([&] {
        nic_.close(reason);
        channel_ = {};
        trigger_.reset();
        held_.clear();
    });
}

void
VmbusDevice::retarget(unsigned vcpu)
{
    nic_.call([&] { channel_.vcpu = vcpu; });
}

/* --- FrontEnd and ChannelLink, on the NIC's thread --------------------- */

MutableBytes
VmbusDevice::to_host_ring()
{
    return channel_.rings->bytes().first(size_t{channel_.downstream_page} *
                                         wire::kPageSize);
}

MutableBytes
VmbusDevice::to_guest_ring()
{
    return channel_.rings->bytes().subspan(size_t{channel_.downstream_page} *
                                           wire::kPageSize);
}

MutableBytes
VmbusDevice::gpadl(uint32_t handle)
{
    auto mapping = server_.gpadls().find(ids_.relid, handle);
    if (!mapping) {
        return {};
    }
    held_[handle] = mapping;
    nic_.trace_gpadl(handle, mapping->bytes().size());
    return mapping->bytes();
}

GuestMemory &
VmbusDevice::memory()
{
    return memory_;
}

void
VmbusDevice::interrupt()
{
    hypervisor_.set_event_flag(channel_.vcpu, ids_.relid);
}

bool
VmbusDevice::take_signal()
{
    bool rung = std::exchange(rung_, false);
    return (trigger_ && trigger_->take()) || rung;
}

uint64_t
VmbusDevice::signal_interval_ns()
{
    return trigger_ ? trigger_->interval_ns() : EventLoop::kForever;
}

} // namespace netvsc::host::vmm

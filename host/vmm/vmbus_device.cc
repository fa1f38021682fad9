#include "host/vmm/vmbus_device.h"

#include <charconv>

#include <sys/eventfd.h>

#include "host/base/error.h"
#include "host/base/log.h"

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

/* --- Doorbells --------------------------------------------------------- */

void
Doorbells::add(uint32_t connection, std::shared_ptr<const Doorbell> doorbell)
{
    std::lock_guard lock(mutex_);
    doorbells_[connection] = std::move(doorbell);
}

void
Doorbells::remove(uint32_t connection)
{
    std::lock_guard lock(mutex_);
    doorbells_.erase(connection);
}

std::shared_ptr<const Doorbell>
Doorbells::find(uint32_t connection) const
{
    std::lock_guard lock(mutex_);
    auto found = doorbells_.find(connection);
    return found != doorbells_.end() ? found->second : nullptr;
}

/* --- VmbusChannel ------------------------------------------------------ */

VmbusChannel::VmbusChannel(VmbusDevice &device, uint32_t index)
    : device_(device), index_(index)
{
    const NicConfig &nic = device.nic_.config();
    VmbusServer &server = device.bus_.server;
    Offer offer{vmbus::kNicClass, to_wire(nic.guid)};
    offer.subchannel = static_cast<uint16_t>(index);
    offer.monitored = nic.monitor;
    offer.monitor_latency = latency_units(nic.latency_us);
    /* There are 128 monitor ids; a sub-channel does without. */
    offer.monitored &= !index || server.has_monitor_id();
    ids_ = server.offer(offer, *this);
    device.bus_.doorbells.add(ids_.connection_id, device.doorbell_);
}

VmbusChannel::~VmbusChannel()
{
    rescind();
}

void
VmbusChannel::rescind()
{
    if (!std::exchange(rescinded_, true)) {
        device_.bus_.doorbells.remove(ids_.connection_id);
        device_.bus_.server.rescind(ids_.relid);
    }
}

void
VmbusChannel::open(const OpenedChannel &channel)
{
    if (!index_) {
        device_.open_primary(channel);
        return;
    }
    device_.nic_.call([&] {
        attach(channel);
        device_.nic_.open_subchannel(index_, *this);
    });
}

void
VmbusChannel::close()
{
    if (!index_) {
        device_.end_session(SessionEnd::kClosed);
        return;
    }
    device_.nic_.call([&] {
        device_.nic_.close_subchannel(index_);
        detach();
    });
}

void
VmbusChannel::retarget(unsigned vcpu)
{
    device_.nic_.call([&] { channel_.vcpu = vcpu; });
}

/* --- ChannelLink, on the NIC's thread ---------------------------------- */

void
VmbusChannel::attach(const OpenedChannel &channel)
{
    channel_ = channel;
    if (!channel.monitor_page.empty()) {
        trigger_.emplace(channel.monitor_page, ids_.monitor_id);
    }
}

void
VmbusChannel::detach()
{
    channel_ = {};
    trigger_.reset();
}

MutableBytes
VmbusChannel::to_host_ring()
{
    return channel_.rings->bytes().first(size_t{channel_.downstream_page} *
                                         wire::kPageSize);
}

MutableBytes
VmbusChannel::to_guest_ring()
{
    return channel_.rings->bytes().subspan(size_t{channel_.downstream_page} *
                                           wire::kPageSize);
}

void
VmbusChannel::interrupt()
{
    device_.bus_.hypervisor.set_event_flag(channel_.vcpu, ids_.relid);
}

bool
VmbusChannel::take_signal()
{
    /* The device's doorbell rings for all of its channels. */
    bool rung = std::exchange(device_.rung_, false);
    return (trigger_ && trigger_->take()) || rung;
}

uint64_t
VmbusChannel::signal_interval_ns()
{
    return trigger_ ? trigger_->interval_ns() : EventLoop::kForever;
}

/* --- VmbusDevice ------------------------------------------------------- */

VmbusDevice::VmbusDevice(Nic &nic, const Bus &bus)
    : nic_(nic), bus_(bus), memory_(bus.hypervisor.ram()),
      doorbell_(std::make_shared<Doorbell>())
{
    nic_.call([this] {
        nic_.loop().watch(doorbell_->fd(),
                          [this] { rung_ |= doorbell_->take(); });
    });
    try {
        primary_ = std::make_unique<VmbusChannel>(*this, 0);
    } catch (...) {
        nic_.call([this] { nic_.loop().forget(doorbell_->fd()); });
        throw;
    }
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
    /* The sub-channels before the primary (B.6). */
    for (auto &subchannel : subchannels_) {
        subchannel->rescind();
    }
    primary_->rescind();
    end_session(reason);
    nic_.call([this] { nic_.loop().forget(doorbell_->fd()); });
}

void
VmbusDevice::open_primary(const OpenedChannel &channel)
{
    sessions_++;
    nic_.call([&] {
        primary_->attach(channel);
        session_ = sessions_;
        rung_ = false;
        /* The guest names its buffers' GPADLs later, by NVSP. */
        const ChannelIds &ids = primary_->ids();
        nic_.open(*this, *primary_, {ids.relid, ids.monitor_id, 0, 0});
    });
}

void
VmbusDevice::end_session(SessionEnd reason)
{
    nic_.call([&] {
        nic_.close(reason);
        primary_->detach();
        held_.clear();
    });
    /* They end with their session: the host rescinds them (B.15). */
    subchannels_.clear();
    sessions_++;
}

/* The bus may wait for this thread at the moment, so it must not be waited
 * for. */
void
VmbusDevice::offer_subchannels(uint32_t count)
{
    bus_.loop.post([this, alive = std::weak_ptr<const bool>(alive_),
                    session = session_, count] {
        if (alive.lock()) {
            offer_on_bus(session, count);
        }
    });
}

void
VmbusDevice::offer_on_bus(uint64_t session, uint32_t count)
{
    if (session != sessions_ || withdrawn_) {
        return;
    }
    /* The guest got its answer: it gets as many as there are numbers for. */
    try {
        for (uint32_t index = 1; index <= count; index++) {
            subchannels_.push_back(
                std::make_unique<VmbusChannel>(*this, index));
        }
    } catch (const HostError &error) {
        log(nic_.config().guid,
            std::string("not all sub-channels are offered: ") + error.what());
    }
}

/* --- FrontEnd, on the NIC's thread ------------------------------------- */

MutableBytes
VmbusDevice::gpadl(uint32_t handle)
{
    auto mapping = bus_.server.gpadls().find(primary_->ids().relid, handle);
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

} // namespace netvsc::host::vmm

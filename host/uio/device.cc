#include "host/uio/device.h"

#include <algorithm>
#include <array>

#include <poll.h>
#include <sys/socket.h>

#include "host/base/error.h"
#include "host/base/log.h"
#include "host/base/unix_socket.h"
#include "wire/uio_socket.h"

namespace netvsc::host {

namespace uio = wire::uio_socket;

namespace {

/* DPDK opens the device once for itself and once for each map. */
constexpr size_t kMaxClients = 32;

} // namespace

UioDevice::UioDevice(Nic &nic, const ChannelInfo &info,
                     const std::string &dev_dir, uint32_t number, GpaMode mode,
                     VmPages &pages, ChannelNumbers &numbers,
                     const SysfsTree &tree, std::function<void(bool)> opened)
    : nic_(nic), info_(info), mode_(mode), pages_(pages), numbers_(numbers),
      tree_(tree), opened_(std::move(opened)),
      rings_("netvsc-rings", wire::kUioRingsSize),
      receive_buffer_("netvsc-receive", nic.config().receive_buffer),
      send_buffer_("netvsc-send", nic.config().send_buffer),
      path_(dev_dir + "/uio" + std::to_string(number)),
      listener_(path_, SOCK_SEQPACKET)
{
    if (nic.config().monitor) {
        trigger_.emplace(pages.monitor_page().bytes(), info.monitor_id);
        trigger_->announce(connection_id(info.relid),
                           latency_units(nic.config().latency_us));
    }
    nic_.call([this] {
        nic_.loop().watch(listener_.fd(), [this] { accept_client(); });
    });
}

UioDevice::~UioDevice()
{
    shut_down(SessionEnd::kRescinded);
}

void
UioDevice::shut_down(SessionEnd reason)
{
    nic_.call([&] {
        if (!listener_) {
            return;
        }
        nic_.loop().forget(listener_.fd());
        listener_ = Listener();
        unlink(path_.c_str());
        uio::Rescind rescind{uio::kRescind};
        while (!clients_.empty()) {
            int fd = clients_.begin()->first;
            /* The hang-up says the same to a client that does not read. */
            send(fd, &rescind, sizeof rescind, MSG_DONTWAIT | MSG_NOSIGNAL);
            nic_.loop().forget(fd);
            clients_.erase(fd);
        }
        if (std::exchange(users_, 0)) {
            close_session(reason);
        }
    });
}

/* --- FrontEnd ---------------------------------------------------------- */

MutableBytes
UioDevice::to_host_ring()
{
    return rings_.bytes().first(rings_.bytes().size() / 2);
}

MutableBytes
UioDevice::to_guest_ring()
{
    return rings_.bytes().subspan(rings_.bytes().size() / 2);
}

MutableBytes
UioDevice::gpadl(uint32_t handle)
{
    if (handle == info_.receive_gpadl) {
        return receive_buffer_.bytes();
    }
    if (handle == info_.send_gpadl) {
        return send_buffer_.bytes();
    }
    return {};
}

GuestMemory &
UioDevice::memory()
{
    return mode_ == GpaMode::kDma ? static_cast<GuestMemory &>(dma_)
                                  : process_;
}

void
UioDevice::offer_subchannels(uint32_t count)
{
    /* The guest got its answer: it finds what can be shown. */
    try {
        for (uint32_t index = 1; index <= count; index++) {
            auto subchannel = std::make_unique<UioSubchannel>(
                *this, nic_.config(), index, numbers_, tree_, pages_);
            nic_.open_subchannel(index, *subchannel);
            subchannels_.push_back(std::move(subchannel));
            subchannels_.back()->show_rings();
        }
    } catch (const std::exception &error) {
        log(std::string("not all sub-channels are offered: ") + error.what());
    }
    show_channels();
}

void
UioDevice::show_channels()
{
    try {
        tree_.show_channels(nic_.config().guid);
    } catch (const std::exception &error) {
        log(std::string("cannot show the channels: ") + error.what());
    }
}

void
UioDevice::interrupt()
{
    uio::Interrupt interrupt{uio::kInterrupt};
    for (const auto &[fd, client] : clients_) {
        if (client.user) {
            /* A client whose socket is full has interrupts to read. */
            send(fd, &interrupt, sizeof interrupt,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}

bool
UioDevice::take_signal()
{
    return trigger_ ? trigger_->take() : std::exchange(signalled_, false);
}

uint64_t
UioDevice::signal_interval_ns()
{
    return trigger_ ? trigger_->interval_ns() : EventLoop::kForever;
}

/* --- Connections ------------------------------------------------------- */

void
UioDevice::accept_client()
{
    UniqueFd socket = listener_.accept();
    if (!socket) {
        return;
    }
    if (clients_.size() == kMaxClients) {
        /* Who never said hello gives way. */
        auto silent =
            std::find_if(clients_.begin(), clients_.end(),
                         [](auto &client) { return !client.second.user; });
        if (silent == clients_.end()) {
            log("connection refused: too many");
            return;
        }
        disconnect(silent->first);
    }
    int fd = socket.get();
    Client client;
    client.pid = peer_pid(fd);
    client.socket = std::move(socket);
    clients_[fd] = std::move(client);
    nic_.loop().watch(fd, [this, fd] { receive(fd); });
}

void
UioDevice::receive(int fd)
{
    std::array<std::byte, 256> buffer;
    std::vector<UniqueFd> fds;
    ssize_t size = receive_with_fds(fd, buffer, fds);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size <= 0) {
        disconnect(fd);
        return;
    }
    Bytes message = Bytes(buffer).first(static_cast<size_t>(size));
    if (!handle(clients_[fd], message, fds)) {
        nic_.count_protocol_error();
        log("connection closed: it broke the socket protocol");
        disconnect(fd);
    }
}

bool
UioDevice::handle(Client &client, Bytes message, std::vector<UniqueFd> &fds)
{
    if (message.size() < sizeof(uint32_t)) {
        return false;
    }
    auto type = load<uint32_t>(message);
    if (type == uio::kHello && !client.user) {
        return handle_hello(client, message);
    }
    if (!client.user) {
        return false;
    }
    if (type == uio::kIrqControl &&
        message.size() == sizeof(uio::IrqControl)) {
        handle_irq_control(message);
        return true;
    }
    if (type == uio::kDmaRegion && message.size() == sizeof(uio::DmaRegion) &&
        fds.size() == 1) {
        auto region = load<uio::DmaRegion>(message);
        return dma_.add(std::move(fds[0]), region.first_page, region.pages);
    }
    return false;
}

bool
UioDevice::handle_hello(Client &client, Bytes message)
{
    if (message.size() < sizeof(uio::Hello)) {
        return false;
    }
    auto hello = load<uio::Hello>(message);
    uio::HelloReply reply{};
    reply.type = uio::kHelloReply;
    reply.magic = uio::kMagic;
    reply.version = uio::kVersion;
    reply.size = sizeof reply;
    if (hello.magic != uio::kMagic || hello.version != uio::kVersion) {
        reply.error = EPROTO;
        send(client.socket.get(), &reply, sizeof reply,
             MSG_DONTWAIT | MSG_NOSIGNAL);
        return false;
    }

    const SharedMemory *maps[wire::kUioMaps];
    maps[wire::kUioMapRings] = &rings_;
    maps[wire::kUioMapInterruptPage] = &pages_.interrupt_page();
    maps[wire::kUioMapMonitorPage] = &pages_.monitor_page();
    maps[wire::kUioMapReceiveBuffer] = &receive_buffer_;
    maps[wire::kUioMapSendBuffer] = &send_buffer_;
    std::array<int, wire::kUioMaps> fds;
    reply.maps = wire::kUioMaps;
    for (unsigned i = 0; i < wire::kUioMaps; i++) {
        fds[i] = maps[i]->fd();
        reply.map_size[i] = maps[i]->bytes().size();
    }
    /* A guest that closed and opens again wants a new session, as from a
     * kernel: its hang-up may still wait behind this message. */
    drop_gone(client);
    client.user = true;
    /* The channel is open before the client knows it. */
    if (users_++ == 0) {
        process_.attach(client.pid);
        log("opened by process " + std::to_string(client.pid));
        /* The kernel formats both rings when it opens a channel. */
        RingMemory(to_host_ring()).format();
        RingMemory(to_guest_ring()).format();
        nic_.open(*this, *this, info_);
        opened_(true);
    }
    return send_with_fds(client.socket.get(), bytes_of(reply), fds);
}

void
UioDevice::handle_irq_control(Bytes message)
{
    /* What the kernel does for a 4-byte write(): it does not look at the
     * ring, and signals the host only where there is no monitor (C.4). */
    bool unmask = load<uio::IrqControl>(message).value != 0;
    signalled_ |= unmask && !trigger_;
    RingMemory(to_guest_ring()).interrupt_mask().store(unmask ? 0 : 1);
    for (auto &subchannel : subchannels_) {
        subchannel->irq_control(unmask);
    }
    nic_.trace_irq_control(unmask);
}

void
UioDevice::drop_gone(const Client &but)
{
    std::vector<int> gone;
    for (const auto &[fd, client] : clients_) {
        pollfd state = {fd, POLLRDHUP, 0};
        if (&client != &but && poll(&state, 1, 0) == 1 &&
            (state.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
            gone.push_back(fd);
        }
    }
    for (int fd : gone) {
        disconnect(fd);
    }
}

void
UioDevice::disconnect(int fd)
{
    bool user = clients_[fd].user;
    nic_.loop().forget(fd);
    clients_.erase(fd);
    if (user && --users_ == 0) {
        close_session(SessionEnd::kClosed);
    }
}

void
UioDevice::close_session(SessionEnd reason)
{
    nic_.close(reason);
    if (!subchannels_.empty()) {
        subchannels_.clear();
        show_channels();
    }
    dma_.clear();
    opened_(false);
}

void
UioDevice::log(const std::string &text) const
{
    log_guest(nic_.config().guid, text);
}

} // namespace netvsc::host

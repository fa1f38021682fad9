#include "tests/bench/contender_floor.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "driver/kernel/guid.h"
#include "driver/kernel/sysfs.h"
#include "driver/negotiation.h"
#include "driver/session.h"
#include "tests/bench/floor.h"
#include "tests/bench/netvsc_packets.h"
#include "wire/oid.h"

namespace netvsc::bench {

namespace {

/* Packets as OVS's pool of ours has them: one in each 4 KiB, the data of
 * neighbours in eight different places (lib/netdev-netvsc-pool.c). */
constexpr size_t kPacketMemory = 4096;
constexpr size_t kHeadroom = 1024, kStagger = 64, kStaggers = 8;

template <typename T>
T
value_of(Result<T> result)
{
    if (!result) {
        throw std::runtime_error(result.error().message);
    }
    return std::move(*result);
}

class FloorContender : public Contender {
public:
    explicit FloorContender(const std::string &guid)
        : info_(value_of(check_device(*Guid::parse(guid)))),
          session_(attach()),
          memory_(static_cast<uint8_t *>(std::aligned_alloc(
                      kPacketMemory, 2 * kBurst * kPacketMemory)),
                  std::free),
          floor_(channel())
    {
        for (unsigned i = 0; i < kBurst; i++) {
            received_[i].data = packet(i);
            sent_[i] = {packet(kBurst + i), 0};
        }
    }
    ~FloorContender() override
    {
        /* The rings are not where the driver left them, so it cannot say
         * goodbye: the host sees a guest that is gone. */
        session_->close();
    }

    unsigned
    receive() override
    {
        return floor_.receive(received_);
    }
    unsigned
    receive(const ShowFrame &show) override
    {
        unsigned n = receive();
        for (const FloorPacket &packet : std::span(received_).first(n)) {
            show({packet.data, packet.size});
        }
        return n;
    }
    void
    prepare(std::span<const netvsc_tx_frame> frames) override
    {
        n_prepared_ = static_cast<unsigned>(frames.size());
        for (unsigned i = 0; i < n_prepared_; i++) {
            std::memcpy(packet(kBurst + i), frames[i].data, frames[i].size);
            sent_[i].size = frames[i].size;
        }
    }
    unsigned
    send() override
    {
        floor_.send(std::span(sent_).first(n_prepared_));
        (void) floor_.receive({}); /* Completions of the burst before. */
        return n_prepared_;
    }

private:
    std::shared_ptr<Session>
    attach()
    {
        uio_ = value_of(open_uio(info_));
        auto session = value_of(Session::attach(uio_, info_, {}, &cancelled_));
        Status set = set_packet_filter(&session->control(),
                                       wire::oid::kFilterPromiscuous);
        if (!set) {
            throw std::runtime_error(set.error().message);
        }
        return session;
    }
    Floor::Channel
    channel()
    {
        const Negotiated &agreed = session_->negotiated();
        auto rings = uio_->map(wire::kUioMapRings);
        return {.to_guest = rings.subspan(rings.size() / 2),
                .to_host = rings.first(rings.size() / 2),
                .receive_buffer = uio_->map(wire::kUioMapReceiveBuffer),
                .send_buffer = uio_->map(wire::kUioMapSendBuffer),
                .section_size = agreed.send_section_size,
                .frames_per_message = agreed.max_packets_per_message,
                .alignment = agreed.packet_alignment};
    }
    uint8_t *
    packet(size_t i)
    {
        return memory_.get() + i * kPacketMemory + kHeadroom +
               kStagger * (i % kStaggers);
    }

    DeviceInfo info_;
    std::shared_ptr<Uio> uio_;
    std::atomic<bool> cancelled_{false};
    std::shared_ptr<Session> session_;
    std::unique_ptr<uint8_t, void (*)(void *)> memory_;
    Floor floor_;

protected:
    std::array<FloorPacket, kBurst> received_{};
    std::array<netvsc_tx_frame, kBurst> sent_{};
    unsigned n_prepared_ = 0;
};

/* The same frames in packets of Open vSwitch. */
class FloorWithPackets final : public FloorContender {
public:
    explicit FloorWithPackets(const std::string &guid)
        : FloorContender(guid), pool_(bench_pool_create())
    {
    }
    ~FloorWithPackets() override { bench_pool_destroy(pool_); }

    unsigned
    receive() override
    {
        std::array<uint8_t *, kBurst> data;
        bench_take_packets(pool_, data.data());
        for (unsigned i = 0; i < kBurst; i++) {
            received_[i].data = data[i];
        }
        unsigned n = FloorContender::receive();
        std::array<netvsc_rx_frame, kBurst> frames;
        for (unsigned i = 0; i < n; i++) {
            frames[i].size = received_[i].size;
            frames[i].rss_hash = received_[i].rss_hash;
        }
        bench_delete_packets(frames.data(), n);
        return n;
    }
    unsigned
    receive(const ShowFrame &show) override
    {
        unsigned n = receive();
        for (const FloorPacket &packet : std::span(received_).first(n)) {
            show({packet.data, packet.size}); /* Deleted, not overwritten. */
        }
        return n;
    }
    void
    prepare(std::span<const netvsc_tx_frame> frames) override
    {
        bench_prepare(pool_, frames.data(),
                      static_cast<unsigned>(frames.size()));
    }
    unsigned
    send() override
    {
        n_prepared_ = bench_prepared(sent_.data());
        FloorContender::send();
        bench_delete_prepared();
        return n_prepared_;
    }

private:
    netvsc_pool *pool_;
};

} // namespace

std::unique_ptr<Contender>
make_floor(const std::string &guid, bool packets)
{
    if (packets) {
        return std::make_unique<FloorWithPackets>(guid);
    }
    return std::make_unique<FloorContender>(guid);
}

} // namespace netvsc::bench

/* Driver and host in one process, the decoder looking on: what the tests of
 * sessions and of devices have in common.
 *
 * Two NICs of an emulated machine are wired to each other; the driver opens
 * both.  What goes in at one comes out at the other, whatever the host does
 * meanwhile. */

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "driver/device.h"
#include "driver/session.h"
#include "host/uio/machine.h"

namespace netvsc::test {

using Clock = std::chrono::steady_clock;
using Frame = std::vector<uint8_t>;

inline constexpr char kLeft[] = "11111111-2222-3333-4444-000000000001";
inline constexpr char kRight[] = "11111111-2222-3333-4444-000000000002";
/* Far more than anything here takes, also under a sanitizer. */
inline constexpr std::chrono::seconds kPatience{30};

inline std::filesystem::path
scratch()
{
    static const std::filesystem::path path = [] {
        std::string name =
            std::filesystem::temp_directory_path() / "netvsc-session-XXXXXX";
        if (!::mkdtemp(name.data())) {
            std::abort();
        }
        return name;
    }();
    return path;
}

/* A port: owns a device, polls its queue with a thread of its own. */
class Port final : public DeviceObserver {
public:
    Port(const char *guid, const char *name, uint32_t mtu = 1500)
    {
        request_.mtu = mtu;
        auto claimed = Device::claim(*Guid::parse(guid), name, request_, this);
        if (!claimed) {
            ADD_FAILURE() << claimed.error().message;
            return;
        }
        device_ = *claimed;
        poller_ = std::thread([this] { poll(); });
    }
    ~Port() override
    {
        if (device_) {
            stop_ = true;
            poller_.join();
            session_.reset();
            device_->disown();
        }
    }

    Device &
    device()
    {
        return *device_;
    }
    unsigned
    n_txq()
    {
        std::lock_guard lock(session_lock_);
        return session_ ? session_->n_txq() : 0;
    }

    void
    set_mtu(uint32_t mtu)
    {
        request_.mtu = mtu;
        device_->request(request_);
    }

    void
    set_up(bool up)
    {
        request_.up = up;
        device_->request(request_);
    }

    template <typename Condition>
    bool
    wait(Condition condition)
    {
        std::unique_lock lock(lock_);
        /* Some conditions change without a callback: look now and then. */
        auto deadline = Clock::now() + kPatience;
        while (!condition()) {
            if (Clock::now() > deadline) {
                return false;
            }
            changed_.wait_for(lock, std::chrono::milliseconds(5));
        }
        return true;
    }
    bool
    wait_carrier(bool up)
    {
        return wait(
            [&] { return device_->status().link_up == up && adopted_ == up; });
    }

    /* Sends all, waiting for room. */
    bool
    send(const std::vector<Frame> &frames)
    {
        std::vector<netvsc_tx_frame> views;
        for (const Frame &frame : frames) {
            views.push_back(
                {frame.data(), static_cast<uint32_t>(frame.size())});
        }
        size_t sent = 0;
        auto deadline = Clock::now() + kPatience;
        while (sent < views.size() && Clock::now() < deadline) {
            std::lock_guard lock(session_lock_);
            if (session_) {
                sent += session_->txq(0).send(std::span(views).subspan(sent));
            }
        }
        return sent == views.size();
    }

    std::deque<Frame>
    received()
    {
        std::lock_guard lock(lock_);
        return received_;
    }
    bool
    wait_received(size_t n)
    {
        return wait([&] { return received_.size() >= n; });
    }

    /* How often it was told that something is new. */
    unsigned
    told() const
    {
        return told_;
    }

    void
    status_changed() noexcept override
    {
        told_++;
        changed_.notify_all();
    }
    void
    session_changed() noexcept override
    {
        adopt_ = true;
    }

private:
    /* PMD thread and main thread in one: reconfigures between polls. */
    void
    poll()
    {
        while (!stop_) {
            if (adopt_.exchange(false)) {
                std::lock_guard lock(session_lock_);
                session_ = device_->adopt_session(2);
                adopted_ = session_ != nullptr;
                changed_.notify_all();
            }
            if (!session_) {
                std::this_thread::yield();
                continue;
            }
            std::array<netvsc_rx_frame, kMaxBurst> frames;
            unsigned n = session_->rxq(0).poll(frames);
            if (n > 0) {
                std::lock_guard lock(lock_);
                for (unsigned i = 0; i < n; i++) {
                    received_.push_back(copy(frames[i]));
                }
                changed_.notify_all();
            }
            session_->rxq(0).release();
        }
    }

    /* As the glue does: the tag goes back in. */
    static Frame
    copy(const netvsc_rx_frame &frame)
    {
        const netvsc_fragment &data = frame.fragments[0];
        Frame to(data.data, data.data + data.size);
        if (frame.flags & NETVSC_RX_VLAN) {
            uint8_t tag[] = {0x81, 0x00,
                             static_cast<uint8_t>(frame.vlan_tci >> 8),
                             static_cast<uint8_t>(frame.vlan_tci)};
            to.insert(to.begin() + 12, tag, tag + 4);
        }
        return to;
    }

    DeviceRequest request_;
    std::shared_ptr<Device> device_;
    std::thread poller_;
    std::atomic<bool> stop_{false}, adopt_{false}, adopted_{false};
    std::atomic<unsigned> told_{0};
    std::mutex session_lock_; /* Senders against reconfiguration. */
    std::shared_ptr<Session> session_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<Frame> received_;
};

/* Frame number `n` with `size` bytes, of which all depend on both. */
inline Frame
make_frame(unsigned n, size_t size)
{
    Frame frame(size);
    for (size_t i = 0; i < size; i++) {
        frame[i] = static_cast<uint8_t>(n * 31 + i * 7);
    }
    uint8_t header[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    std::memcpy(frame.data(), header, sizeof header);
    return frame;
}

class Sessions : public testing::Test {
protected:
    void
    SetUp() override
    {
        trace_path_ = scratch() / "trace";
        start_host();
    }
    void
    TearDown() override
    {
        EXPECT_TRUE(Device::wait_closed(kPatience));
        machine_.reset();
        trace_.reset();
    }

    void
    start_host()
    {
        trace_ = std::make_unique<host::TraceFile>(trace_path_, UINT32_MAX);
        machine_ = std::make_unique<host::Machine>(
            scratch(), host::GpaMode::kDma, trace_.get());
        std::string more = extra_.empty() ? "" : "," + extra_;
        machine_->add(host::parse_nic(std::string("guid=") + kLeft +
                                      ",peer=" + kRight + more));
        machine_->add(host::parse_nic(std::string("guid=") + kRight +
                                      ",peer=" + kLeft + more));
    }
    void
    stop_host()
    {
        machine_.reset();
        trace_.reset();
    }

    /* The independent judge accepts all that went over the rings. */
    void
    decode(const char *options)
    {
        ASSERT_TRUE(Device::wait_closed(kPatience));
        ASSERT_TRUE(wait_sessions_closed());
        stop_host();
        std::string command = std::string(NETVSC_SOURCE_DIR) +
                              "/tests/wire/decode.py " + options + " " +
                              trace_path_ + " >" + trace_path_ + ".txt 2>&1";
        int status = std::system(command.c_str());
        std::ifstream said(trace_path_ + ".txt");
        EXPECT_EQ(status, 0) << said.rdbuf();
    }
    /* The host notices a hang-up in its own time. */
    bool
    wait_sessions_closed()
    {
        auto deadline = Clock::now() + kPatience;
        for (;;) {
            auto all = machine_->stats();
            bool open = false;
            for (const auto &nic : all.items()) {
                open |= nic.value()["state"] != "closed";
            }
            if (!open || Clock::now() > deadline) {
                return !open;
            }
            std::this_thread::yield();
        }
    }

    std::string extra_; /* More keys for both NICs. */
    std::string trace_path_;
    std::unique_ptr<host::TraceFile> trace_;
    std::unique_ptr<host::Machine> machine_;
};

/* Sends frames of every kind of size one way; they come in order, whole.  A
 * window keeps the wire between the NICs from dropping. */
inline void
exchange(Port &from, Port &to, unsigned n)
{
    constexpr unsigned kWindow = 128;
    size_t before = to.received().size();
    std::vector<Frame> sent;
    for (unsigned i = 0; i < n; i++) {
        sent.push_back(make_frame(i, 14 + i * 37 % 1501));
    }
    for (unsigned i = 0; i < n; i += kWindow) {
        unsigned end = std::min(i + kWindow, n);
        ASSERT_TRUE(from.send({sent.begin() + i, sent.begin() + end}));
        ASSERT_TRUE(to.wait_received(before + end))
            << to.received().size() - before << " of " << end << " came";
    }
    auto received = to.received();
    for (unsigned i = 0; i < n; i++) {
        ASSERT_EQ(received[before + i], sent[i]) << "frame " << i;
    }
}

} // namespace netvsc::test

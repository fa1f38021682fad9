/* One attached life of a device, from OPENCHANNEL to close: its queues. */

#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "driver/cache_line.h"
#include "driver/control_mailbox.h"
#include "driver/host_requests.h"
#include "driver/kernel/uio.h"
#include "driver/negotiated.h"
#include "driver/net_channel.h"
#include "driver/send_sections.h"
#include "driver/session_context.h"
#include "driver/session_fault.h"
#include "driver/tx_queue.h"

namespace netvsc {

class Session {
public:
    struct Options {
        uint32_t mtu = 1500; /* L3. */
        uint16_t generation = 1;
        std::chrono::milliseconds reply_deadline = kReplyDeadline;
        /* Where the control thread tells of answers that take long: see
         * HostRequests. */
        std::chrono::milliseconds overdue_after = kReplyOverdue;
        HostRequests::Overdue overdue;
    };

    /* Negotiates on an open device; waits for the host, up to the deadline
     * for each reply.  `cancelled` may be set by another thread that then
     * calls uio->wake(), and must live as long as the session.  The packet
     * filter stays 0. */
    static Result<std::shared_ptr<Session>>
    attach(std::shared_ptr<Uio> uio, const DeviceInfo &info,
           const Options &options, const std::atomic<bool> *cancelled);

    /* --- Data path --- */

    unsigned
    n_rxq() const noexcept
    {
        return static_cast<unsigned>(channels_.size());
    }
    unsigned
    n_txq() const noexcept
    {
        return static_cast<unsigned>(txqs_.size());
    }
    RxQueue &
    rxq(unsigned i) noexcept
    {
        return channels_[i]->rxq;
    }
    TxQueue &
    txq(unsigned i) noexcept
    {
        return *txqs_[i];
    }

    /* Makes `n` transmit queues, or as many as there are send sections, and
     * divides these among them: queue q uses channel q mod n_rxq().  No thread
     * may be in any of them. */
    void set_txqs(unsigned n);

    /* Limits what is sent from now on, also while it is being sent: at most
     * carried_mtu().  Not at the same time as set_txqs(). */
    void set_mtu(uint32_t mtu);

    /* --- Control thread --- */

    HostRequests &
    requests() noexcept
    {
        return requests_;
    }
    ControlMailbox &
    mailbox() noexcept
    {
        return mailbox_;
    }
    Uio &
    uio() noexcept
    {
        return *uio_;
    }
    const Negotiated &
    negotiated() const noexcept
    {
        return negotiated_;
    }

    /* The receive queues have users from now on, or none any more. */
    void readers_arrived();
    void readers_left();

    /* Filter 0, HALT, revokes.  No thread may be in the queues. */
    Status detach();

    /* Unmaps and closes, for which the kernel waits for the host.  Whoever
     * still holds the session may only ask for its statistics. */
    void
    close()
    {
        uio_.reset();
    }

    /* --- Any thread --- */

    [[nodiscard]] Statistics statistics() const;
    /* Of one channel and the transmit queues that use it. */
    [[nodiscard]] Statistics channel_statistics(unsigned channel) const;
    /* In the buffer, the control messages' included. */
    uint32_t send_sections() const noexcept;
    uint32_t send_sections_in_use() const noexcept;
    /* Messages that the host has completed (as far as is known; never more
     * than it has) and that it still has. */
    struct SendProgress {
        uint64_t completed;
        uint32_t outstanding;
    };
    [[nodiscard]] SendProgress send_progress() const;

    /* L3: what is in force; what this session can carry; and what another
     * one could, with the same adapter, host and sections. */
    uint32_t
    mtu() const noexcept
    {
        return mtu_;
    }
    uint32_t
    carried_mtu() const noexcept
    {
        return negotiated_.mtu;
    }
    uint32_t max_mtu() const noexcept;

private:
    Session(std::shared_ptr<Uio> uio, const Options &options,
            const std::atomic<bool> *cancelled);
    Status negotiate(const DeviceInfo &info, const Options &options);
    void make_channels(const DeviceInfo &info, SectionBuffer send,
                       const ReceiveBuffer &receive);
    uint32_t section_mtu() const noexcept;

    std::shared_ptr<Uio> uio_;
    SessionFault fault_;
    ControlMailbox mailbox_;
    const SessionContext context_;
    ControlSection control_section_;
    HostRequests requests_;
    Negotiated negotiated_;
    uint32_t mtu_ = 0;
    /* Read for each burst. */
    alignas(kCacheLine) NetChannels channels_;
    LineVector<std::unique_ptr<TxQueue>> txqs_;

    /* Transmit queues come and go; what they counted stays, by channel. */
    alignas(kCacheLine) mutable std::mutex statistics_lock_;
    std::vector<Statistics> past_;
};

} // namespace netvsc

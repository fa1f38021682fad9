/* The one implementation of Device: what the port's threads and the control
 * thread share.  device.cc is the port's side, device_thread.cc the other. */

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "driver/device.h"
#include "driver/retry_pause.h"
#include "driver/send_watchdog.h"
#include "driver/session.h"

namespace netvsc {

class DeviceImpl final : public Device,
                         public std::enable_shared_from_this<DeviceImpl> {
public:
    /* `leave`: the control thread is about to end; called with no lock held,
     * returns false if somebody has claimed the device meanwhile. */
    DeviceImpl(const Guid &guid, std::function<bool(DeviceImpl *)> leave)
        : guid_(guid), leave_(std::move(leave))
    {
    }

    Status take(const std::string &owner, const DeviceRequest &request,
                int numa_node, DeviceObserver *observer);
    Status start();

    void disown() override;
    void request(const DeviceRequest &request) override;
    std::shared_ptr<Session> adopt_session(unsigned n_txq) override;
    DeviceStatus status() const override;
    Statistics statistics() const override;
    const Guid &
    guid() const override
    {
        return guid_;
    }
    bool
    owned() const
    {
        std::lock_guard lock(lock_);
        return !owner_.empty();
    }
    void
    set_closed()
    {
        std::lock_guard lock(lock_);
        status_.state = DeviceState::kClosed;
    }

private:
    using Clock = Uio::Clock;

    /* How an attempt ended that got no session. */
    enum class Failure {
        kAbsent, /* sysfs says no: nothing was opened. */
        kInUse,  /* By another process. */
        kHost,   /* The host was reached, or its channel. */
    };

    /* --- Control thread --- */

    void run() noexcept;
    Status serve();
    Result<std::shared_ptr<Session>> open_session(const DeviceInfo &info);
    void describe(const DeviceInfo &info,
                  const std::shared_ptr<Session> &session);
    Status run_session(Session *session);
    Status apply_filter(Session *session, uint32_t wanted);
    void apply_mtu(Session *session);
    Status watch_sends(Session *session, SendWatchdog *watchdog);
    bool handle_indication(const Indication &indication);
    void set_overdue(const std::string &sentence);
    void end_session(std::shared_ptr<Session> session,
                     const Status &outcome) noexcept;
    uint32_t wanted_filter(const Session *session) const;
    bool must_stop(const Session *session) const;
    void wait_before_retry(const Error &error) noexcept;
    void notify(bool session) noexcept;

    /* --- lock_ is held --- */

    /* The claim that is served ended: what is learned of the device from now
     * on is nobody's business. */
    bool
    stale() const
    {
        return owner_.empty() || serving_ != epoch_;
    }
    void update_link();
    /* What is wrong now comes before what was refused. */
    void
    update_error()
    {
        status_.error = overdue_.empty() ? refused_ : overdue_;
    }
    /* Makes the control thread look at what changed. */
    void
    kick()
    {
        kicked_.store(true, std::memory_order_release);
        changed_.notify_all();
        if (uio_) {
            uio_->wake();
        }
    }

    const Guid guid_;
    const std::function<bool(DeviceImpl *)> leave_;

    mutable std::mutex lock_;
    std::condition_variable changed_;
    std::string owner_;    /* Port; empty: no claim. */
    uint64_t epoch_ = 0;   /* Claims so far. */
    uint64_t serving_ = 0; /* The claim that the control thread serves. */
    DeviceRequest request_;
    DeviceStatus status_;
    std::string refused_;      /* What the host refused of the request. */
    std::string overdue_;      /* What it has not answered for a while. */
    std::shared_ptr<Uio> uio_; /* Of the session, for kick(). */
    std::shared_ptr<Session> prepared_; /* For adopt_session(). */
    std::shared_ptr<Session> adopted_;  /* In the data path. */
    std::shared_ptr<Session> counting_; /* Statistics not yet in past_. */
    Statistics past_;
    RetryPause retry_;
    bool media_up_ = false;  /* As the host says. */
    bool receiving_ = false; /* The packet filter lets frames in. */

    std::atomic<bool> kicked_{false};
    /* Ends the waits of an attach or a session whose claim ended; the next
     * serve() starts with it clear. */
    std::atomic<bool> cancelled_{false};

    /* Held during a callback: disown() waits for it.  Taken before lock_. */
    std::mutex observer_lock_;
    DeviceObserver *observer_ = nullptr;

    /* Control thread alone. */
    uint16_t generation_ = 0;
    Failure failure_ = Failure::kAbsent;
    Clock::duration lived_{}; /* The session that failed. */
};

} // namespace netvsc

/* Waiting for descriptors, and work from other threads. */

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "host/base/unique_fd.h"

namespace netvsc::host {

class EventLoop {
public:
    static constexpr uint64_t kForever = UINT64_MAX;

    EventLoop();

    enum class Ready { kToRead, kToWrite };
    /* Calls `handler` while `fd` is ready or hung up.  A handler may watch and
     * forget anything, itself included. */
    void watch(int fd, std::function<void()> handler,
               Ready ready = Ready::kToRead);
    void forget(int fd);
    /* Suspends or resumes a watched descriptor. */
    void enable(int fd, bool enabled);

    /* Waits for events and handles what came. */
    void wait(uint64_t timeout_ns);

    /* Any other thread: runs `work` in wait() and returns when it is done.
     * What it throws is thrown here. */
    void call(std::function<void()> work);
    /* The same for any thread, without waiting; `work` must not throw. */
    void post(std::function<void()> work);

private:
    std::future<void> enqueue(std::function<void()> work);
    void run_calls();

    struct Watch {
        std::function<void()> handler;
        uint32_t events; /* Of epoll. */
        bool enabled = true;
    };

    UniqueFd epoll_;
    UniqueFd wakeup_;
    std::map<int, std::shared_ptr<Watch>> watches_;
    std::mutex mutex_;
    std::vector<std::packaged_task<void()>> calls_;
};

} // namespace netvsc::host

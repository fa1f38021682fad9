#include "host/base/event_loop.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "host/base/error.h"

namespace netvsc::host {

namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr int kEventsPerWait = 16;

} // namespace

EventLoop::EventLoop()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wakeup_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))
{
    if (!epoll_ || !wakeup_) {
        throw_errno("Cannot create an event loop");
    }
    watch(wakeup_.get(), [this] { run_calls(); });
}

void
EventLoop::watch(int fd, std::function<void()> handler, Ready ready)
{
    auto entry = std::make_shared<Watch>();
    entry->handler = std::move(handler);
    entry->events = ready == Ready::kToRead ? EPOLLIN : EPOLLOUT;
    epoll_event event{};
    event.events = entry->events;
    event.data.fd = fd;
    watches_[fd] = std::move(entry);
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) {
        watches_.erase(fd);
        throw_errno("Cannot wait for a descriptor");
    }
}

void
EventLoop::forget(int fd)
{
    if (watches_.erase(fd)) {
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    }
}

void
EventLoop::enable(int fd, bool enabled)
{
    auto found = watches_.find(fd);
    if (found == watches_.end() || found->second->enabled == enabled) {
        return;
    }
    found->second->enabled = enabled;
    epoll_event event{};
    event.events = enabled ? found->second->events : 0;
    event.data.fd = fd;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void
EventLoop::wait(uint64_t timeout_ns)
{
    if (timeout_ns) {
        /* It counts nanoseconds, as epoll_pwait2() does, which is missing
         * before Linux 5.11 and in valgrind 3.19. */
        timespec timeout = {static_cast<time_t>(timeout_ns / kNsPerSecond),
                            static_cast<long>(timeout_ns % kNsPerSecond)};
        pollfd ready = {epoll_.get(), POLLIN, 0};
        ppoll(&ready, 1, timeout_ns == kForever ? nullptr : &timeout, nullptr);
    }
    epoll_event events[kEventsPerWait];
    int count = epoll_wait(epoll_.get(), events, kEventsPerWait, 0);
    for (int i = 0; i < count; i++) {
        /* An earlier handler of this round may have forgotten it; the copy
         * keeps one alive that forgets itself. */
        auto found = watches_.find(events[i].data.fd);
        if (found != watches_.end()) {
            std::shared_ptr<Watch> entry = found->second;
            entry->handler();
        }
    }
}

void
EventLoop::call(std::function<void()> work)
{
    enqueue(std::move(work)).get();
}

void
EventLoop::post(std::function<void()> work)
{
    enqueue(std::move(work));
}

std::future<void>
EventLoop::enqueue(std::function<void()> work)
{
    std::packaged_task<void()> task(std::move(work));
    std::future<void> done = task.get_future();
    {
        std::lock_guard lock(mutex_);
        calls_.push_back(std::move(task));
    }
    eventfd_write(wakeup_.get(), 1);
    return done;
}

void
EventLoop::run_calls()
{
    eventfd_t ignored;
    eventfd_read(wakeup_.get(), &ignored);
    std::vector<std::packaged_task<void()>> calls;
    {
        std::lock_guard lock(mutex_);
        calls.swap(calls_);
    }
    for (auto &task : calls) {
        task();
    }
}

} // namespace netvsc::host

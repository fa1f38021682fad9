/* A host that writes to a message while it is being read.  What it needs luck
 * for is done here between each two accesses in turn: the message lies in a
 * page that cannot be read, every access faults, and is let through alone. */

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

namespace netvsc::test {

/* Elsewhere the trap flag is another one, and ThreadSanitizer delays the
 * signals. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define NETVSC_HAS_INTRUDER 1

class Intruder {
public:
    Intruder()
    {
        page_ = static_cast<uint8_t *>(mmap(
            nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        struct sigaction action = {};
        action.sa_flags = SA_SIGINFO;
        action.sa_sigaction = on_access;
        sigaction(SIGSEGV, &action, &segv_before_);
        action.sa_sigaction = on_step;
        sigaction(SIGTRAP, &action, &trap_before_);
        at_work = this;
    }
    ~Intruder()
    {
        sigaction(SIGSEGV, &segv_before_, nullptr);
        sigaction(SIGTRAP, &trap_before_, nullptr);
        munmap(page_, kPage);
    }

    /* Gives `code` a copy of `message` to read, at the end of the page, and
     * writes `value` to byte `at` of it in front of access `turn`, the first
     * being 0.  False if there are fewer. */
    template <typename Code>
    [[nodiscard]] bool
    visit(std::span<const uint8_t> message, unsigned turn, size_t at,
          uint32_t value, Code code)
    {
        protect(PROT_READ | PROT_WRITE);
        uint8_t *begin = page_ + kPage - message.size();
        std::copy(message.begin(), message.end(), begin);
        left_ = turn;
        at_ = begin + at;
        value_ = value;
        protect(PROT_NONE);
        code(std::span<const uint8_t>(begin, message.size()));
        return !at_;
    }

private:
    static constexpr size_t kPage = 4096;
    static constexpr greg_t kTrapFlag = 0x100;
    static inline Intruder *at_work;

    static greg_t &
    flags(void *context)
    {
        return static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_EFL];
    }
    static void
    on_access(int, siginfo_t *info, void *context)
    {
        auto where = static_cast<uint8_t *>(info->si_addr);
        Intruder *self = at_work;
        if (where < self->page_ || where >= self->page_ + kPage) {
            signal(SIGSEGV, SIG_DFL); /* Not ours: happens again. */
            return;
        }
        self->protect(PROT_READ | PROT_WRITE);
        if (self->left_-- == 0) {
            std::memcpy(self->at_, &self->value_, sizeof self->value_);
            self->at_ = nullptr;
        } else {
            flags(context) |= kTrapFlag;
        }
    }
    static void
    on_step(int, siginfo_t *, void *context)
    {
        flags(context) &= ~kTrapFlag;
        at_work->protect(PROT_NONE);
    }
    void
    protect(int how)
    {
        mprotect(page_, kPage, how);
    }

    uint8_t *page_;
    unsigned left_ = 0;
    uint8_t *at_ = nullptr;
    uint32_t value_ = 0;
    struct sigaction segv_before_, trap_before_;
};

#endif

} // namespace netvsc::test

#include "host/vmm/synic.h"

#include <atomic>

namespace netvsc::host::vmm {

namespace {

/* Bit 0 of SCONTROL, SIEFP and SIMP enables; the rest of the latter two is a
 * page's address. */
constexpr uint64_t kEnabled = 1;
constexpr uint64_t kPageMask = ~uint64_t{0xfff};

/* Each SINT has 256 bytes in both pages. */
constexpr uint64_t kSlotSize = 256;
constexpr uint32_t kFlagsPerSlot = kSlotSize * 8;

/* A message slot (B.1). */
constexpr size_t kTypeAt = 0;
constexpr size_t kSizeAt = 4;
constexpr size_t kFlagsAt = 5;
constexpr size_t kSenderAt = 8;
constexpr size_t kPayloadAt = 16;
constexpr size_t kMaxPayload = kSlotSize - kPayloadAt;

constexpr uint32_t kSlotFree = 0;
constexpr uint32_t kChannelMessage = 1;
constexpr uint8_t kMessagePending = 1;

/* Messages that may wait for one vCPU: the offers of a VM full of NICs and
 * sub-channels, several times over. */
constexpr size_t kMaxWaiting = 1024;

[[nodiscard]] std::atomic_ref<uint32_t>
word(MutableBytes slot, size_t at)
{
    return std::atomic_ref(*reinterpret_cast<uint32_t *>(slot.data() + at));
}

} // namespace

Synic::Synic(GuestRam &ram, unsigned vcpus,
             std::function<void(unsigned)> interrupt)
    : ram_(ram), interrupt_(std::move(interrupt))
{
    for (unsigned i = 0; i < vcpus; i++) {
        vcpus_.push_back(std::make_unique<Vcpu>());
    }
}

/* SINT2's part of a page; empty while the guest has it off or outside of its
 * memory. */
MutableBytes
Synic::slot(const Vcpu &vcpu, uint64_t page)
{
    if (!(vcpu.control & kEnabled) || !(page & kEnabled)) {
        return {};
    }
    uint64_t address = page & kPageMask;
    if (ram_.at(address, 4096).empty()) {
        return {};
    }
    return ram_.at(address + kVmbusSint * kSlotSize, kSlotSize);
}

/* Hands out messages while the slot is free.  The vCPU's lock is held. */
void
Synic::deliver(unsigned number)
{
    Vcpu &vcpu = *vcpus_[number];
    MutableBytes to = slot(vcpu, vcpu.message_page);
    if (to.empty()) {
        return;
    }
    while (!vcpu.messages.empty()) {
        if (word(to, kTypeAt).load() != kSlotFree) {
            /* The guest that sees the flag ends the message with EOM or EOI.
             * It frees the slot before it looks at the flag, so a slot that
             * is still taken after the flag was set will be heard of. */
            std::atomic_ref(*reinterpret_cast<uint8_t *>(&to[kFlagsAt]))
                .fetch_or(kMessagePending);
            if (word(to, kTypeAt).load() != kSlotFree) {
                return;
            }
        }
        const std::vector<std::byte> &message = vcpu.messages.front();
        bool more = vcpu.messages.size() > 1;
        store(to, kSizeAt, static_cast<uint32_t>(message.size()));
        store<uint8_t>(to, kFlagsAt, more ? kMessagePending : 0);
        store<uint64_t>(to, kSenderAt, 0);
        std::memcpy(&to[kPayloadAt], message.data(), message.size());
        /* The type makes it a message. */
        word(to, kTypeAt).store(kChannelMessage);
        vcpu.messages.pop_front();
        interrupt_(number);
    }
}

void
Synic::set_registers(unsigned number, uint64_t control, uint64_t event_page,
                     uint64_t message_page)
{
    if (number >= vcpus_.size()) {
        return;
    }
    Vcpu &vcpu = *vcpus_[number];
    std::lock_guard lock(vcpu.mutex);
    vcpu.control = control;
    vcpu.event_page = event_page;
    vcpu.message_page = message_page;
    deliver(number);
}

void
Synic::acknowledged(unsigned number)
{
    if (number >= vcpus_.size()) {
        return;
    }
    std::lock_guard lock(vcpus_[number]->mutex);
    deliver(number);
}

bool
Synic::post_message(unsigned number, Bytes message)
{
    if (number >= vcpus_.size() || message.size() > kMaxPayload) {
        return false;
    }
    Vcpu &vcpu = *vcpus_[number];
    std::lock_guard lock(vcpu.mutex);
    if (vcpu.messages.size() >= kMaxWaiting) {
        return false;
    }
    vcpu.messages.emplace_back(message.begin(), message.end());
    deliver(number);
    return true;
}

void
Synic::set_event_flag(unsigned number, uint32_t relid)
{
    if (number >= vcpus_.size() || relid >= kFlagsPerSlot) {
        return;
    }
    Vcpu &vcpu = *vcpus_[number];
    std::lock_guard lock(vcpu.mutex);
    MutableBytes flags = slot(vcpu, vcpu.event_page);
    if (flags.empty()) {
        return;
    }
    uint32_t mask = uint32_t{1} << relid % 32;
    if (!(word(flags, relid / 32 * 4).fetch_or(mask) & mask)) {
        interrupt_(number);
    }
}

} // namespace netvsc::host::vmm

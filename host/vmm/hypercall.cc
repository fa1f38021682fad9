#include "host/vmm/hypercall.h"

#include <array>

namespace netvsc::host::vmm {

namespace {

/* Hypercall codes and the bit of the input that says that the parameters are
 * in registers (B.10). */
constexpr uint16_t kPostMessage = 0x5c;
constexpr uint16_t kSignalEvent = 0x5d;
constexpr uint64_t kFast = 1 << 16;
constexpr uint64_t kPage = 4096;

/* HvPostMessage's input in memory. */
constexpr uint64_t kPostInputSize = 256;
constexpr size_t kConnectionAt = 0;
constexpr size_t kTypeAt = 8;
constexpr size_t kSizeAt = 12;
constexpr size_t kPayloadAt = 16;
constexpr size_t kMaxPayload = kPostInputSize - kPayloadAt;

/* On a boundary of 8 and in one page (TLFS, "Hypercall Inputs"); else
 * empty. */
[[nodiscard]] Bytes
input_block(GuestRam &ram, uint64_t address, uint64_t size)
{
    if (address % 8 != 0 || address % kPage + size > kPage) {
        return {};
    }
    return ram.at(address, size);
}

} // namespace

uint16_t
hypercall(GuestRam &ram, HypercallSink &bus, uint64_t input,
          uint64_t parameter)
{
    bool fast = input & kFast;
    switch (static_cast<uint16_t>(input)) {
    case kPostMessage: {
        if (fast) {
            return kStatusInvalidParameter;
        }
        Bytes memory = input_block(ram, parameter, kPostInputSize);
        if (memory.empty()) {
            return kStatusInvalidParameter;
        }
        auto block = load<std::array<std::byte, kPostInputSize>>(memory);
        auto size = load<uint32_t>(block, kSizeAt);
        if (size > kMaxPayload) {
            return kStatusInvalidParameter;
        }
        return bus.message_posted(load<uint32_t>(block, kConnectionAt),
                                  load<uint32_t>(block, kTypeAt),
                                  Bytes(block).subspan(kPayloadAt, size));
    }
    case kSignalEvent:
        /* Linux always passes the parameter in a register; in memory it is
         * the same 8 bytes. */
        if (!fast) {
            Bytes memory = input_block(ram, parameter, sizeof parameter);
            if (memory.empty()) {
                return kStatusInvalidParameter;
            }
            parameter = load<uint64_t>(memory);
        }
        return bus.event_signalled(static_cast<uint32_t>(parameter),
                                   static_cast<uint16_t>(parameter >> 32));
    default:
        return kStatusInvalidHypercallCode;
    }
}

} // namespace netvsc::host::vmm

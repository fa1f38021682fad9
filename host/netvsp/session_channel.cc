#include "host/netvsp/session_channel.h"

#include <utility>

namespace netvsc::host {

namespace nvsp = wire::nvsp;

SessionChannel::SessionChannel(const NicConfig &nic, ReceiveBuffer &buffer,
                               uint32_t index, ChannelLink &link,
                               Counters &counters, const Trace &trace)
    : index_(index), link_(link), counters_(counters),
      trace_(trace.of_channel(static_cast<uint16_t>(index))),
      ring_(link, counters, trace_),
      receive_(nic, buffer, index, ring_, counters, trace_),
      completions_(uint64_t{nic.completion_delay_us} * 1000)
{
}

void
SessionChannel::begin_round()
{
    if (!std::exchange(masked_, true)) {
        ring_.mask();
    }
    lacking_room_ = 0;
}

bool
SessionChannel::need_room(uint32_t bytes)
{
    if (ring_.has_room(bytes)) {
        return true;
    }
    lack_room(bytes);
    return false;
}

unsigned
SessionChannel::flush_completions(uint64_t now_ns)
{
    unsigned count = 0;
    while (!completions_.empty() && completions_.front().due <= now_ns &&
           need_room(kCompletionRoom)) {
        nvsp::SendRndisPacketComplete message{};
        message.type = nvsp::kSendRndisPacketComplete;
        message.status = completions_.front().status;
        ring_.complete(completions_.front().trans_id, bytes_of(message));
        completions_.pop();
        count++;
    }
    counters_.tx.completed += count;
    return count;
}

bool
SessionChannel::prepare_sleep(bool accepts)
{
    masked_ = false;
    bool packets = ring_.unmask();
    if (packets && accepts) {
        return false;
    }
    return !lacking_room_ || ring_.wait_for_room(lacking_room_);
}

uint64_t
SessionChannel::next_due_ns() const
{
    return !lacking_room_ && !completions_.empty() ? completions_.front().due
                                                   : UINT64_MAX;
}

} // namespace netvsc::host

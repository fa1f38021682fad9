/* The sub-channels of a session, from the guest's request to their end
 * (D.7). */

#include "host/netvsp/netvsp.h"

namespace netvsc::host {

namespace nvsp = wire::nvsp;

const char *
NetVsp::handle_subchannel(const RingPacket &packet, uint64_t now_ns)
{
    auto message = message_of<nvsp::SubchannelRequest>(packet);
    if (!message || !wants_completion(packet) ||
        message->operation != nvsp::kSubchannelAllocate) {
        return "malformed SUBCHANNEL request";
    }
    /* As openvmm: no partial grant, once in a session, and not without a
     * sub-allocation for each channel (G.1). */
    uint32_t wanted = message->requested;
    const auto &ledger = receive_buffer_.ledger();
    bool granted = wanted < nic_.max_queues && channels_.size() == 1 &&
                   receive_buffer_.attached() &&
                   ledger->count() - nic_.control_suballocs > wanted;
    nvsp::SubchannelComplete answer{};
    answer.type = nvsp::kSubchannel;
    answer.status = granted ? nvsp::kStatusSuccess : nvsp::kStatusFailure;
    answer.granted = granted ? wanted : 0;
    log("request for " + std::to_string(wanted) + " sub-channels " +
        (granted ? "granted" : "refused"));
    if (granted && wanted) {
        receive_buffer_.ledger()->divide(1 + wanted);
        channels_.resize(1 + wanted);
        laid_out_ = false;
        offers_ = wanted;
        offers_due_ns_ =
            now_ns + uint64_t{nic_.subchannel_delay_ms} * 1'000'000;
    }
    return reply(packet, bytes_of(answer));
}

/* The offers follow the answer: a guest has to wait for them (D.7). */
bool
NetVsp::offer_subchannels(uint64_t now_ns)
{
    if (!offers_ || !replies_.empty() || now_ns < offers_due_ns_) {
        return false;
    }
    front_end_.offer_subchannels(std::exchange(offers_, 0));
    return true;
}

void
NetVsp::open_subchannel(uint32_t index, ChannelLink &link)
{
    if (failed() || index >= channels_.size()) {
        return;
    }
    channels_[index] = std::make_unique<SessionChannel>(
        nic_, receive_buffer_, index, link, counters_, trace_);
    channels_changed();
    log("sub-channel " + std::to_string(index) + " opened");
    if (open_.size() == channels_.size()) {
        announce_table();
    }
}

void
NetVsp::close_subchannel(uint32_t index)
{
    if (index >= channels_.size() || !channels_[index]) {
        return;
    }
    finish(*channels_[index]);
    channels_[index].reset();
    channels_changed();
    log("sub-channel " + std::to_string(index) + " closed");
}

void
NetVsp::channels_changed()
{
    open_.clear();
    for (const auto &channel : channels_) {
        if (channel) {
            open_.push_back(channel.get());
        }
    }
    laid_out_ = false;
}

/* Where a frame for this channel goes: to the primary one until the guest has
 * opened it (F.5). */
SessionChannel &
NetVsp::channel_for(uint32_t index)
{
    return index < channels_.size() && channels_[index] ? *channels_[index]
                                                        : primary();
}

/* Once all channels are open: where the host would like to read which of the
 * guest's flows (G.1). */
void
NetVsp::announce_table()
{
    if (std::exchange(table_sent_, true)) {
        return;
    }
    nvsp::SendIndirectionTable table{};
    table.type = nvsp::kSendIndirectionTable;
    table.count = nvsp::kSendTableEntries;
    table.offset = offsetof(nvsp::SendIndirectionTable, table);
    for (uint32_t i = 0; i < nvsp::kSendTableEntries; i++) {
        table.table[i] = i % static_cast<uint32_t>(channels_.size());
    }
    Bytes bytes = bytes_of(table);
    replies_.push_back({0, {bytes.begin(), bytes.end()}, true});
}

std::vector<ChannelBooks>
NetVsp::channel_books() const
{
    std::vector<ChannelBooks> books;
    for (const SessionChannel *channel : open_) {
        books.push_back(channel->books());
    }
    return books;
}

} // namespace netvsc::host

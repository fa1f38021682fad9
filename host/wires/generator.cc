#include "host/wires/generator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "host/base/ethernet.h"
#include "host/netvsp/message_head.h"
#include "host/wires/test_frame.h"

namespace netvsc::host {

namespace rndis = wire::rndis;

namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

/* The usual mix, of 12 frames: 7 of 64 bytes, 4 of 594 and 1 of 1,514,
 * without the Ethernet checksum, spread evenly. */
constexpr uint32_t kImix[] = {64, 594, 64, 64, 594, 64,
                              64, 594, 64, 64, 594, 1514};

/* A frame that has not come back after so long was dropped: the rest of its
 * window would have come in a hundredth of the time. */
constexpr uint64_t kLostAfterNs = 20'000'000;

/* A generator that is behind its rate by more than this many frames, or a
 * millisecond of them, does not make up for it: a network would not, either.
 */
constexpr uint64_t kMostBehind = 256;

/* At a rate, the frames of 50 us make a transfer at most: as long as a host
 * may wait for more before it tells the guest. */
constexpr uint64_t kGathersPerSecond = 20'000;

/* A generator that was not asked for so long begins anew. */
constexpr uint64_t kForgetNs = 10 * kSecondNs;

/* Another address of Microsoft's: the sender is not the NIC itself. */
constexpr MacAddress kSource = {0x00, 0x15, 0x5d, 0xff, 0xff, 0xfe};

} // namespace

uint32_t
generated_size(const GeneratorConfig &config, uint32_t number)
{
    return config.frame_size == GeneratorConfig::kImix
               ? kImix[number % std::size(kImix)]
               : config.frame_size;
}

Generator::Generator(const NicConfig &nic, const Sink &sink)
    : nic_(nic), sink_(sink), pace_(nic.generator->pace)
{
}

void
Generator::lay_out(ReceiveBuffer &buffer, const Oids &oids, uint32_t channels,
                   const std::function<uint32_t(uint32_t)> &open)
{
    buffer_ = &buffer;
    oids_ = &oids;
    layout_++;
    flows_.assign(channels, {});
    std::array<std::byte, kLeastTestFrame> frame;
    for (uint32_t flow = 0; flow < nic_.generator->flows; flow++) {
        uint32_t channel = 0;
        if (oids.scaling().on()) {
            make_test_frame(frame, {kSource, nic_.mac, 0, flow});
            channel = open(oids.scaling().choose(frame).channel);
        }
        flows_[channel].push_back(flow);
    }
    const SubAllocations &ledger = *buffer.ledger();
    messages_.resize(ledger.count());
    for (uint32_t channel = 0; channel < channels; channel++) {
        uint32_t first = ledger.first(channel);
        for (uint32_t i = 0; feeds(channel) && i < ledger.share(channel);
             i++) {
            if (ledger.is_free(first + i)) {
                write(first + i, channel);
            }
        }
    }
}

void
Generator::write(uint32_t index, uint32_t channel)
{
    const GeneratorConfig &config = *nic_.generator;
    const std::vector<uint32_t> &flows = flows_[channel];
    uint32_t in_turn = index - buffer_->ledger()->first(channel);
    TestFrame about{kSource, nic_.mac, index - nic_.control_suballocs,
                    flows[in_turn % flows.size()]};
    auto max_frame = static_cast<uint32_t>(kEthernetHeader + buffer_->mtu());
    uint32_t size = std::min(generated_size(config, about.number), max_frame);
    /* The guest may write to the buffer at any time: the frame is made where
     * nobody else does, as its checksums and hash are of what is read back. */
    std::vector<std::byte> frame(size);
    make_test_frame(frame, about);
    MutableBytes to = buffer_->suballoc(index);
    std::memcpy(to.data() + kDataAt, frame.data(), size);

    ChecksumVerdict good{};
    good.ip_header = good.udp = true;
    MessageHead head;
    head.add_verdict(oids_->reportable(good, true));
    if (config.elements > 1) {
        auto choice = oids_->scaling().choose(frame);
        head.add_info(rndis::kPpiHashValue,
                      choice.info ? choice.hash : test_flow_hash(about.flow));
        head.add_info(rndis::kPpiHashInfo,
                      choice.info ? choice.info
                                  : rndis::kHashToeplitz | rndis::kHashIpv4);
    }
    head_size_ = head.write(to, size);
    messages_[index] = {{kDataAt + size, buffer_->offset(index)}, layout_};
}

/* --- Pace -------------------------------------------------------------- */

void
Generator::set_pace(const Pace &pace)
{
    pace_ = pace;
    taken_at_ns_ = began_ns_ = sent_ns_ = 0;
    round_trips_.clear();
}

unsigned
Generator::due(uint64_t now_ns, const Room &room)
{
    uint64_t frames = due_by_pace(now_ns, room.outstanding);
    uint64_t whole = transfer_size(room.batch);
    bool waits = pace_.kind == Pace::Kind::kRate;
    if (waits) {
        due_ = frames - frames % whole;
    }
    frames = std::min<uint64_t>({frames, room.free, room.batch});
    /* What is missing to a whole transfer comes with time or with the next
     * completion, unless there is never more than that. */
    if (waits || frames >= whole || room.outstanding) {
        frames -= frames % whole;
    }
    return static_cast<unsigned>(frames);
}

/* Of frames that come slowly each has a transfer of its own. */
uint64_t
Generator::transfer_size(uint64_t batch) const
{
    uint64_t most = std::min<uint64_t>(nic_.ranges, batch);
    return pace_.kind == Pace::Kind::kRate
               ? std::clamp<uint64_t>(pace_.limit / kGathersPerSecond, 1, most)
               : most;
}

uint64_t
Generator::due_by_pace(uint64_t now_ns, uint64_t outstanding)
{
    switch (pace_.kind) {
    case Pace::Kind::kNone:
        return due_ = 0;
    case Pace::Kind::kMax:
        return due_ = UINT64_MAX;
    case Pace::Kind::kWindow:
        due_ = pace_.limit; /* Due, but not yet allowed. */
        return pace_.limit - std::min(pace_.limit, outstanding);
    case Pace::Kind::kLoop:
        due_ = pace_.limit;
        return due_in_loop(now_ns);
    case Pace::Kind::kRate:
        break;
    }
    return due_at_rate(now_ns);
}

uint64_t
Generator::due_in_loop(uint64_t now_ns)
{
    uint64_t taken = sink_.counters().frames;
    if (!taken_at_ns_) {
        loop_put_ = counters_.frames;
        loop_taken_ = taken;
    }
    uint64_t put = counters_.frames - loop_put_;
    uint64_t back = std::min(put, taken - loop_taken_);
    round_ns_ = now_ns;
    if (sent_ns_ && put == back) {
        round_trips_.add(now_ns - std::exchange(sent_ns_, 0));
    }
    if (!taken_at_ns_ || taken != taken_ || put == back) {
        taken_ = taken;
        taken_at_ns_ = now_ns;
    } else if (now_ns - taken_at_ns_ >= kLostAfterNs) {
        counters_.lost += put - back;
        sent_ns_ = 0;
        taken_at_ns_ = 0;
        return pace_.limit;
    }
    return pace_.limit - std::min(pace_.limit, put - back);
}

uint64_t
Generator::due_at_rate(uint64_t now_ns)
{
    /* Nobody wanted frames for a while: that is no reason to hurry. */
    if (now_ns - began_ns_ >= kForgetNs) {
        began_ns_ = now_ns;
        accounted_ = 0;
    }
    /* Second by second: with kForgetNs the product below fits. */
    while (now_ns - began_ns_ >= kSecondNs && accounted_ >= pace_.limit) {
        began_ns_ += kSecondNs;
        accounted_ -= pace_.limit;
    }
    uint64_t due = (now_ns - began_ns_) * pace_.limit / kSecondNs - accounted_;
    uint64_t most = std::max(kMostBehind, pace_.limit / 1000);
    if (due > most) {
        counters_.late += due - most;
        accounted_ += due - most;
        due = most;
    }
    return due;
}

void
Generator::put(uint64_t frames, bool was_empty)
{
    counters_.frames += frames;
    accounted_ += frames;
    if (frames && pace_.kind == Pace::Kind::kLoop && pace_.limit == 1) {
        sent_ns_ = round_ns_;
    }
    if (due_) {
        counters_.rounds++;
        counters_.full_rounds += frames == 0;
        counters_.empty_rounds += was_empty;
    }
}

} // namespace netvsc::host

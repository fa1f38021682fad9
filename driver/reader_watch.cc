#include "driver/reader_watch.h"

namespace netvsc {

void
ReaderWatch::look()
{
    const uint64_t polls = rxq_->polls();
    const auto now = Clock::now();
    if (polls != polls_seen_) {
        polls_seen_ = polls;
        last_poll_ = now;
    }
    const auto pause = now - last_poll_;
    reader_ = pause < kReaderLate   ? Reader::kPolls
              : pause < kReaderGone ? Reader::kLate
                                    : Reader::kGone;
    progress_ = false;
    if (reader_ == Reader::kLate) {
        consumer_->read_control();
    } else if (reader_ == Reader::kGone) {
        progress_ = consumer_->discard();
    }
}

} // namespace netvsc

#include "tests/bench/contender_netvsc.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "tests/bench/netvsc_packets.h"

namespace netvsc::bench {

namespace {

/* An attach takes milliseconds; a busy machine, more. */
constexpr std::chrono::seconds kPatience{20};

/* What stands for OVS's main loop: netvsc_run() is called by whoever waits
 * for the session, and the port asks it to reconfigure. */
std::atomic<bool> reconfigure_wanted;

const netvsc_glue kGlue = {
    .wake = [] {},
    .request_reconfigure = [](void *) { reconfigure_wanted = true; },
    .status_changed = [](void *) {},
    .is_removed = [](void *) { return false; },
    .log = [](void *, netvsc_log_level, const char *, const char *) {},
};

class Netvsc final : public PollingContender {
public:
    explicit Netvsc(const std::string &guid)
    {
        static const bool glued = (netvsc_set_glue(&kGlue), true);
        (void) glued;
        port_ = netvsc_port_create("bench", nullptr);
        netvsc_option option = {"vmbus-device", guid.c_str()};
        char *text = nullptr;
        if (netvsc_port_set_options(port_, &option, 1, &text)) {
            std::string error = text;
            std::free(text);
            netvsc_port_destroy(port_);
            throw std::runtime_error(error);
        }
        wait_for_session();
        pool_ = bench_pool_create();
    }
    ~Netvsc() override
    {
        netvsc_port_close_rxq(port_);
        netvsc_port_destroy(port_);
        bench_pool_destroy(pool_);
    }

    unsigned
    receive() override
    {
        return bench_receive(queue_, pool_);
    }
    unsigned
    receive(const ShowFrame &show) override
    {
        return bench_receive_shown(
            queue_, pool_,
            [](void *aux, const uint8_t *data, uint32_t size) {
                (*static_cast<const ShowFrame *>(aux))({data, size});
            },
            const_cast<ShowFrame *>(&show));
    }
    void
    prepare(std::span<const netvsc_tx_frame> frames) override
    {
        prepared_ = static_cast<unsigned>(frames.size());
        bench_prepare(pool_, frames.data(), prepared_);
    }
    unsigned
    send() override
    {
        return bench_send(port_, queue_, pool_) ? 0 : prepared_;
    }

    unsigned
    forward() override
    {
        return bench_forward(port_, queue_, pool_);
    }
    Books
    books() const override
    {
        netvsc_port_stats stats;
        netvsc_port_get_stats(port_, &stats);
        return {stats.rx_dropped, stats.tx_packets};
    }

private:
    /* Main thread of a switch, until traffic is let in. */
    void
    wait_for_session()
    {
        auto deadline = std::chrono::steady_clock::now() + kPatience;
        netvsc_port_info info = {};
        while (!queue_ || !info.carrier) {
            if (std::chrono::steady_clock::now() > deadline) {
                char *text = netvsc_port_show(port_);
                std::string error =
                    std::string("the port is not up in time:\n") + text;
                std::free(text);
                netvsc_port_destroy(port_);
                throw std::runtime_error(error);
            }
            (void) netvsc_run(0);
            if (reconfigure_wanted.exchange(false) &&
                netvsc_port_reconfigure(port_, 1)) {
                queue_ = netvsc_port_open_rxq(port_, 0);
            }
            netvsc_port_get_info(port_, &info);
            std::this_thread::yield();
        }
    }

    netvsc_port *port_;
    netvsc_rx_queue *queue_ = nullptr;
    netvsc_pool *pool_ = nullptr;
    unsigned prepared_ = 0;
};

} // namespace

std::unique_ptr<PollingContender>
make_netvsc(const std::string &guid)
{
    return std::make_unique<Netvsc>(guid);
}

} // namespace netvsc::bench

#include "host/wires/pcap_backend.h"

#include <cstring>
#include <ctime>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <pcap/pcap.h>
#include <sys/stat.h>

#include "host/base/error.h"
#include "host/base/log.h"
#include "host/base/unique_fd.h"

namespace netvsc::host {

namespace {

/* What a capture says of its longest frame: libpcap's own maximum. */
constexpr int kSnap = 262'144;

struct Close {
    void
    operator()(pcap_t *pcap) const
    {
        pcap_close(pcap);
    }
    void
    operator()(pcap_dumper_t *dumper) const
    {
        pcap_dump_close(dumper);
    }
    void
    operator()(FILE *file) const
    {
        fclose(file);
    }
};

using File = std::unique_ptr<FILE, Close>;

class PcapBackend : public Backend {
public:
    PcapBackend(const PcapConfig &config, const std::string &guid,
                WireCounters &counters)
        : config_(config), guid_(guid), counters_(counters)
    {
        if (!config_.read.empty()) {
            rewind();
        }
        if (!config_.write.empty()) {
            ethernet_.reset(pcap_open_dead_with_tstamp_precision(
                DLT_EN10MB, kSnap, PCAP_TSTAMP_PRECISION_NANO));
            File file = open(config_.write, O_WRONLY | O_CREAT | O_TRUNC, "w",
                             "written");
            out_.reset(pcap_dump_fopen(ethernet_.get(), file.get()));
            if (!out_) {
                fail("written", pcap_geterr(ethernet_.get()));
            }
            (void) file.release();
        }
    }

    [[nodiscard]] std::optional<WireFrame> receive() override;
    [[nodiscard]] bool transmit(Bytes frame, bool checksum_good) override;
    void flush() override;
    [[nodiscard]] int
    event_fd() const override
    {
        return -1;
    }
    [[nodiscard]] bool
    patient() const override
    {
        return true;
    }

private:
    [[noreturn]] void
    fail(const char *what, const std::string &reason) const
    {
        throw HostError("The capture of NIC " + guid_ + " cannot be " + what +
                        ": " + reason + ".");
    }
    [[nodiscard]] File open(const std::string &path, int flags,
                            const char *mode, const char *what) const;
    void rewind();

    PcapConfig config_;
    std::string guid_;
    WireCounters &counters_;
    std::unique_ptr<pcap_t, Close> in_;
    std::unique_ptr<pcap_t, Close> ethernet_;
    std::unique_ptr<pcap_dumper_t, Close> out_;
    std::vector<std::byte> frame_;
    uint64_t lap_ = 0; /* Frames since the file's beginning. */
    bool dirty_ = false;
};

/* A file, at once: the host has other NICs to serve than one whose capture is
 * a pipe that nobody feeds, and its own standard input and output, which
 * libpcap means by "-", are not for captures. */
File
PcapBackend::open(const std::string &path, int flags, const char *mode,
                  const char *what) const
{
    UniqueFd fd(::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC, 0666));
    struct stat status {};
    if (!fd || fstat(fd.get(), &status) < 0) {
        fail(what, path + ": " + std::strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        fail(what, path + " is no regular file");
    }
    File file(fdopen(fd.get(), mode));
    if (!file) {
        fail(what, path + ": " + std::strerror(errno));
    }
    (void) fd.release();
    return file;
}

void
PcapBackend::rewind()
{
    char reason[PCAP_ERRBUF_SIZE];
    lap_ = 0;
    File file = open(config_.read, O_RDONLY, "r", "read");
    in_.reset(pcap_fopen_offline(file.get(), reason));
    if (!in_) {
        fail("read", reason);
    }
    (void) file.release();
    if (pcap_datalink(in_.get()) != DLT_EN10MB) {
        fail("replayed", "its frames are not Ethernet's");
    }
}

std::optional<WireFrame>
PcapBackend::receive()
{
    while (in_) {
        pcap_pkthdr *header = nullptr;
        const u_char *data = nullptr;
        int result = pcap_next_ex(in_.get(), &header, &data);
        if (result == 1) {
            /* What was cut when it was captured is no frame any more. */
            if (header->caplen < header->len) {
                continue;
            }
            auto first = reinterpret_cast<const std::byte *>(data);
            frame_.assign(first, first + header->caplen);
            counters_.read++;
            lap_++;
            return WireFrame{frame_};
        }
        std::string reason =
            result == PCAP_ERROR ? pcap_geterr(in_.get()) : "its end";
        bool again = result != PCAP_ERROR && config_.loop && lap_ != 0;
        in_.reset();
        if (!again) {
            log(guid_, "the capture was read up to " + reason);
            break;
        }
        try {
            rewind();
        } catch (const HostError &error) {
            log(guid_, error.what());
            in_.reset();
        }
    }
    return std::nullopt;
}

bool
PcapBackend::transmit(Bytes frame, bool)
{
    if (config_.write.empty()) {
        counters_.written++;
        return true;
    }
    if (!out_) {
        return false;
    }
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    pcap_pkthdr header{};
    header.ts.tv_sec = now.tv_sec;
    header.ts.tv_usec = now.tv_nsec; /* As the file's precision says. */
    header.len = header.caplen = static_cast<bpf_u_int32>(frame.size());
    pcap_dump(reinterpret_cast<u_char *>(out_.get()), &header,
              reinterpret_cast<const u_char *>(frame.data()));
    counters_.written++;
    dirty_ = true;
    return true;
}

/* Whoever looks at the file sees what `stats` counts. */
void
PcapBackend::flush()
{
    if (std::exchange(dirty_, false) && pcap_dump_flush(out_.get()) != 0) {
        counters_.write_errors++;
        log(guid_, "the capture " + config_.write +
                       " cannot be written; is its disk full?");
        out_.reset();
    }
}

} // namespace

void
use_pcap()
{
    open_pcap = [](const PcapConfig &config, const std::string &guid,
                   WireCounters &counters) -> std::unique_ptr<Backend> {
        return std::make_unique<PcapBackend>(config, guid, counters);
    };
}

} // namespace netvsc::host

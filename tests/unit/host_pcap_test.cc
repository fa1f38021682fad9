/* A capture as the wire of a NIC.  Files are written and read by bytes here,
 * not with libpcap. */

#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/error.h"
#include "host/base/unique_fd.h"
#include "host/wires/pcap_backend.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

constexpr uint32_t kEthernet = 1;

class HostPcap : public testing::Test {
protected:
    HostPcap()
    {
        use_pcap();
        std::string name =
            std::filesystem::temp_directory_path() / "netvsc-pcap-XXXXXX";
        if (!::mkdtemp(name.data())) {
            std::abort();
        }
        directory_ = name;
        config.read = directory_ / "in";
        config.write = directory_ / "out";
    }
    ~HostPcap() override { std::filesystem::remove_all(directory_); }

    /* A classic capture with microseconds; `lost` bytes of each frame were
     * not captured. */
    void
    write_capture(const std::vector<Buffer> &frames,
                  uint32_t link_type = kEthernet, uint32_t lost = 0)
    {
        Message file;
        file.u32(0xa1b2c3d4).u16(2).u16(4).u32(0).u32(0).u32(65535);
        file.u32(link_type);
        for (const Buffer &frame : frames) {
            auto size = static_cast<uint32_t>(frame.size());
            file.u32(1).u32(2).u32(size).u32(size + lost).bytes(frame);
        }
        std::ofstream out(config.read, std::ios::binary);
        out.write(reinterpret_cast<const char *>(file.buffer().data()),
                  static_cast<std::streamsize>(file.buffer().size()));
    }
    Buffer
    written()
    {
        std::ifstream in(config.write, std::ios::binary);
        std::string text(std::istreambuf_iterator<char>(in), {});
        Bytes bytes = std::as_bytes(std::span(text));
        return Buffer(bytes.begin(), bytes.end());
    }
    std::unique_ptr<Backend>
    open()
    {
        return open_pcap(config, "a NIC", counters);
    }

    std::filesystem::path directory_;
    PcapConfig config;
    WireCounters counters;
};

TEST_F(HostPcap, ReplaysOnce)
{
    write_capture({plain_frame(60), plain_frame(1514)});
    std::unique_ptr<Backend> wire = open();
    EXPECT_TRUE(wire->patient());
    EXPECT_EQ(wire->receive()->bytes.size(), 60u);
    std::optional<WireFrame> frame = wire->receive();
    EXPECT_EQ(to_hex(frame->bytes), to_hex(plain_frame(1514)));
    EXPECT_FALSE(wire->receive());
    EXPECT_FALSE(wire->receive());
    EXPECT_EQ(counters.read, 2u);
}

/* `add` comes from the control socket, to the thread that serves all. */
TEST_F(HostPcap, WaitsForNobodyAtTheOtherEndOfAPipe)
{
    std::string pipe = directory_ / "pipe";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    auto reason = [&] {
        try {
            (void) open();
        } catch (const HostError &error) {
            return std::string(error.what());
        }
        return std::string("none");
    };
    config.write.clear();
    config.read = pipe;
    EXPECT_EQ(reason(), "The capture of NIC a NIC cannot be read: " + pipe +
                            " is no regular file.");
    config.read = "/dev/zero";
    EXPECT_EQ(reason(), "The capture of NIC a NIC cannot be read: /dev/zero "
                        "is no regular file.");
    /* libpcap's name for standard input. */
    config.read = "-";
    EXPECT_EQ(reason(), "The capture of NIC a NIC cannot be read: -: No such "
                        "file or directory.");
    config.read.clear();
    config.write = pipe;
    EXPECT_EQ(reason(), "The capture of NIC a NIC cannot be written: " + pipe +
                            ": No such device or address.");
    UniqueFd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    EXPECT_EQ(reason(), "The capture of NIC a NIC cannot be written: " + pipe +
                            " is no regular file.");
}

TEST_F(HostPcap, ReplaysForEver)
{
    config.loop = true;
    write_capture({plain_frame(60), plain_frame(61), plain_frame(62)});
    std::unique_ptr<Backend> wire = open();
    for (unsigned i = 0; i < 100; i++) {
        EXPECT_EQ(wire->receive()->bytes.size(), 60 + i % 3);
    }
    /* A capture without frames is no reason to search for ever. */
    write_capture({});
    EXPECT_FALSE(open()->receive());
}

TEST_F(HostPcap, LeavesOutWhatWasCut)
{
    config.loop = true;
    write_capture({plain_frame(60)}, kEthernet, 4);
    EXPECT_FALSE(open()->receive());
}

TEST_F(HostPcap, RefusesWhatIsNoCaptureOfEthernet)
{
    EXPECT_THROW((void) open(), HostError);
    write_capture({plain_frame(60)}, 101); /* Raw IP. */
    EXPECT_THROW((void) open(), HostError);
    write_capture({});
    config.write = directory_ / "nowhere" / "out";
    EXPECT_THROW((void) open(), HostError);
}

TEST_F(HostPcap, CapturesWhatItIsSent)
{
    config.read.clear();
    std::unique_ptr<Backend> wire = open();
    EXPECT_FALSE(wire->receive());
    EXPECT_TRUE(wire->transmit(plain_frame(60), false));
    EXPECT_TRUE(wire->transmit(plain_frame(61), false));
    wire->flush();
    Buffer file = written();
    ASSERT_EQ(file.size(), 24u + 16 + 60 + 16 + 61);
    EXPECT_EQ(load<uint32_t>(file), 0xa1b23c4du); /* Nanoseconds. */
    EXPECT_EQ(load<uint32_t>(file, 20), kEthernet);
    EXPECT_EQ(load<uint32_t>(file, 24 + 8), 60u);
    EXPECT_EQ(to_hex(Bytes(file).subspan(24 + 16, 60)),
              to_hex(plain_frame(60)));
    EXPECT_EQ(counters.written, 2u);
}

/* A guest that has no room for the frames gets them when it has. */
TEST_F(HostPcap, WaitsForTheGuest)
{
    std::vector<Buffer> frames;
    for (size_t i = 0; i < 200; i++) {
        frames.push_back(plain_frame(60 + i));
    }
    write_capture(frames);
    std::unique_ptr<Backend> wire = open();
    Guest guest("", 8 * 4096);
    guest.session.emplace(guest.config, guest.front_end, guest.front_end,
                          *wire, guest.counters, Trace(), false);
    guest.serve();
    EXPECT_EQ(counters.read, 0u); /* Nobody is there yet. */
    guest.attach();
    EXPECT_EQ(counters.read, 0u); /* The link is down. */
    guest.session->set_link(true);
    guest.serve();
    (void) guest.read(); /* The news of it. */
    size_t received = 0;
    for (unsigned i = 0; i < 20; i++) {
        guest.serve();
        /* 56 of the 72 sub-allocations are for data. */
        std::vector<Buffer> messages = guest.receive();
        EXPECT_LE(messages.size(), 2 * 56u);
        for (const Buffer &message : messages) {
            EXPECT_EQ(message.size(), 256 + 60 + received);
            received++;
        }
    }
    EXPECT_EQ(received, 200u);
    EXPECT_EQ(guest.counters.rx.dropped_no_suballoc, 0u);
}

} // namespace

} // namespace netvsc::host::test

/* The trace file, read with literal offsets. */

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <unistd.h>

#include "host/nic.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

struct Record {
    uint16_t kind;
    uint32_t nic, session, length, original;
    uint64_t time, position;
    Buffer payload;
};

class HostTrace : public testing::Test {
protected:
    void
    SetUp() override
    {
        char name[] = "/tmp/host-trace-XXXXXX";
        int fd = mkstemp(name);
        ASSERT_GE(fd, 0);
        close(fd);
        path = name;
    }
    void
    TearDown() override
    {
        unlink(path.c_str());
    }
    Buffer
    contents()
    {
        std::ifstream in(path, std::ios::binary);
        std::string text((std::istreambuf_iterator<char>(in)), {});
        Bytes bytes = std::as_bytes(std::span(text));
        return {bytes.begin(), bytes.end()};
    }
    std::vector<Record>
    records()
    {
        Buffer bytes = contents();
        std::vector<Record> all;
        for (size_t at = 16; at < bytes.size();) {
            auto size = load<uint32_t>(bytes, at);
            EXPECT_EQ(size % 8, 0u);
            Record record{
                load<uint16_t>(bytes, at + 4),  load<uint32_t>(bytes, at + 8),
                load<uint32_t>(bytes, at + 12), load<uint32_t>(bytes, at + 24),
                load<uint32_t>(bytes, at + 28), load<uint64_t>(bytes, at + 16),
                load<uint64_t>(bytes, at + 32), {}};
            EXPECT_EQ(size, 48 + (record.length + 7) / 8 * 8);
            auto first = bytes.begin() + static_cast<long>(at + 48);
            record.payload.assign(first, first + record.length);
            all.push_back(std::move(record));
            at += size;
        }
        return all;
    }

    std::string path;
};

TEST_F(HostTrace, BeginsWithItsHeader)
{
    TraceFile file(path, 64);
    EXPECT_EQ(to_hex(contents()),
              to_hex(from_hex("4e56534354524331 01000000 40000000")));
}

TEST_F(HostTrace, KeepsRecordsWholeAndPadded)
{
    {
        TraceFile file(path, TraceFile::kSnapAll);
        Trace trace(&file, 3, 9);
        trace.record(TraceKind::kToHost, from_hex("0102030405"), 4088);
        trace.text(TraceKind::kEvent, "{}");
    }
    std::vector<Record> all = records();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].kind, 2u);
    EXPECT_EQ(all[0].nic, 3u);
    EXPECT_EQ(all[0].session, 9u);
    EXPECT_EQ(all[0].length, 5u);
    EXPECT_EQ(all[0].original, 5u);
    EXPECT_EQ(all[0].position, 4088u);
    EXPECT_EQ(to_hex(all[0].payload), to_hex(from_hex("0102030405")));
    EXPECT_EQ(all[1].kind, 8u);
    EXPECT_LE(all[0].time, all[1].time);
}

TEST_F(HostTrace, CutsToPiecesWhenThatIsShorter)
{
    Buffer bytes(200, std::byte{0x11});
    TracePiece pieces[] = {{0, 5}, {100, 8}};
    {
        TraceFile file(path, 8);
        Trace trace(&file, 0, 1);
        trace.record_cut(TraceKind::kReceiveBuffer, bytes, pieces, 1808);
        trace.record_cut(TraceKind::kReceiveBuffer, Bytes(bytes).first(30),
                         std::span(pieces).first(1), 0);
        trace.record_cut(TraceKind::kReceiveBuffer, Bytes(bytes).first(8),
                         std::span(pieces).first(1), 0);
    }
    std::vector<Record> all = records();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].original, 200u);
    EXPECT_EQ(to_hex(all[0].payload),
              to_hex(from_hex("00000000 05000000 1111111111000000"
                              "64000000 08000000 1111111111111111")));
    EXPECT_EQ(all[1].length, 16u);
    EXPECT_EQ(all[2].length, 8u) << "the cut form would be longer";
    EXPECT_EQ(all[2].original, 8u);
}

TEST_F(HostTrace, HasTheBuffersAfterTheirPackets)
{
    {
        TraceFile file(path, TraceFile::kSnapAll);
        Guest guest;
        guest.session.emplace(guest.config, guest.front_end, guest.front_end,
                              guest.backend, guest.counters,
                              Trace(&file, 0, 1), true);
        guest.attach();
        file.flush();
        size_t before = records().size();
        EXPECT_EQ(guest.data(rndis_packet(plain_frame(60))), 1u);
        guest.backend.waiting.push_back(plain_frame(64));
        guest.serve();
        file.flush();

        std::vector<Record> all = records();
        all.erase(all.begin(), all.begin() + static_cast<long>(before));
        ASSERT_EQ(all.size(), 5u);
        EXPECT_EQ(all[0].kind, 2u);
        EXPECT_EQ(all[1].kind, 4u);
        EXPECT_EQ(all[1].position, 6144u);
        EXPECT_EQ(to_hex(all[1].payload),
                  to_hex(rndis_packet(plain_frame(60))));
        EXPECT_EQ(all[2].kind, 3u);
        EXPECT_EQ(all[2].length, 64u) << "with its trailer";
        EXPECT_EQ(all[3].kind, 3u);
        EXPECT_EQ(all[4].kind, 6u);
        EXPECT_EQ(all[4].original, 256u + 64);
        EXPECT_EQ(to_hex(Bytes(all[4].payload).subspan(256)),
                  to_hex(plain_frame(64)));
    }
}

TEST_F(HostTrace, EndsASessionWithItsCloseRecord)
{
    PeerQueues peers;
    TraceFile file(path, TraceFile::kSnapAll);
    for (bool breaks : {false, true}) {
        FakeFrontEnd front_end;
        Nic nic(parse_nic("guid=f8615163-0000-1000-2000-00155d000001"), breaks,
                peers, &file);
        if (breaks) {
            store(front_end.to_host_ring(), 0, uint32_t{4});
        }
        nic.call([&] { nic.open(front_end, front_end, {1, 0, 71, 72}); });
        if (breaks) {
            while (nic.status().state != "failed") {
            }
        }
        nic.call([&] { nic.trace_irq_control(true); });
        nic.set_link(false);
        nic.call([&] { nic.close(SessionEnd::kClosed); });
        nic.call([&] { nic.trace_irq_control(true); });
        nic.set_link(true);
    }
    file.flush();

    std::vector<uint16_t> kinds[2];
    for (const Record &record : records()) {
        kinds[record.nic].push_back(record.kind);
    }
    EXPECT_EQ(kinds[0], (std::vector<uint16_t>{1, 8, 8, 7}));
    EXPECT_EQ(kinds[1], (std::vector<uint16_t>{1, 7}));
}

} // namespace

} // namespace netvsc::host::test

/* The worked examples (J) that the driver emits or reads, byte
 * for byte.  Those of the attach are in driver_attach_test.cc. */

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "driver/ring.h"
#include "driver/rndis_packet.h"
#include "tests/unit/data_path.h"

namespace netvsc {
namespace {

using namespace test;
using testing::ElementsAre;

Bytes
ring_bytes(const FarRing &ring, size_t at, size_t size)
{
    auto bytes = ring.data().subspan(at, size);
    return {bytes.begin(), bytes.end()};
}

class VectorTest : public DataPath {
protected:
    /* A fresh ring whose next byte is at `offset`. */
    RingWriter
    writer_at(uint32_t offset)
    {
        out.start_at(offset);
        return RingWriter(uio.out_ring());
    }
    /* The host puts these bytes, trailer included, at `offset`. */
    RingReader
    reader_of(uint32_t offset, const Bytes &bytes)
    {
        in.set(kReadIndex, offset);
        std::copy(bytes.begin(), bytes.end(),
                  in.data().subspan(offset).begin());
        in.set(kWriteIndex, offset + static_cast<uint32_t>(bytes.size()));
        return RingReader(uio.in_ring());
    }
    static Bytes
    payload(const RingReader &reader, const RingPacket &packet)
    {
        std::vector<uint64_t> words(packet.payload_size() / 8);
        reader.copy(packet, packet.desc.offset8, words);
        Bytes bytes(words.size() * 8);
        std::memcpy(bytes.data(), words.data(), bytes.size());
        return bytes;
    }
};

/* --- J.1 ------------------------------------------------------------------
 */

TEST_F(VectorTest, InitRequestLooksAsInTheReference)
{
    RingWriter writer = writer_at(0);
    ASSERT_TRUE(writer.fits(64, 0));
    auto packet =
        make_nvsp_packet(wire::nvsp::Init{1, 0x60001, 0x60001}, 1, true);
    writer.put(packet);
    EXPECT_TRUE(writer.publish());
    EXPECT_EQ(ring_bytes(out, 0, 64),
              hex("06 00 02 00 07 00 01 00 01 00 00 00 00 00 00 00"
                  "01 00 00 00 01 00 06 00 01 00 06 00 00 00 00 00"
                  "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                  "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"));
    EXPECT_EQ(out.get(kWriteIndex), 0x40u);
}

TEST_F(VectorTest, InitCompleteIsReadAsInTheReference)
{
    RingReader reader =
        reader_of(0, hex("0b 00 02 00 07 00 00 00 01 00 00 00 00 00 00 00"
                         "02 00 00 00 ff ff ff ff 22 00 00 00 01 00 00 00"
                         "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                         "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"));
    RingPacket packet;
    ASSERT_EQ(reader.next(&packet), RingReader::Next::kPacket);
    EXPECT_EQ(packet.desc.type, 11);
    EXPECT_EQ(packet.desc.trans_id, 1u);
    EXPECT_TRUE(packet.header_ok());
    EXPECT_EQ(payload(reader, packet), nvsp_message({2, ~0u, 34, 1}));
    reader.consume(packet);
    EXPECT_EQ(reader.next(&packet), RingReader::Next::kEmpty);
}

TEST_F(VectorTest, ReceiveBufferCompleteIsReadAsInTheReference)
{
    RingReader reader = reader_of(
        0x40, hex("0b 00 02 00 07 00 00 00 02 00 00 00 00 00 00 00"
                  "66 00 00 00 01 00 00 00 01 00 00 00 00 00 00 00"
                  "10 07 00 00 3a 46 00 00 a0 f9 ef 01 00 00 00 00"
                  "00 00 00 00 00 00 00 00 00 00 00 00 40 00 00 00"));
    RingPacket packet;
    ASSERT_EQ(reader.next(&packet), RingReader::Next::kPacket);
    EXPECT_EQ(packet.desc.trans_id, 2u);
    Bytes bytes = payload(reader, packet);
    wire::nvsp::SendReceiveBufferComplete complete;
    std::memcpy(&complete, bytes.data(), sizeof complete);
    EXPECT_EQ(+complete.type, 102u);
    EXPECT_EQ(+complete.status, 1u);
    EXPECT_EQ(+complete.sections, 1u);
    EXPECT_EQ(+complete.section.offset, 0u);
    EXPECT_EQ(+complete.section.suballoc_size, 1808u);
    EXPECT_EQ(+complete.section.suballocs, 17978u);
    EXPECT_EQ(+complete.section.end_offset, 32504224u);
}

TEST_F(VectorTest, EmptyCompletionIsReadAsInTheReference)
{
    RingReader reader =
        reader_of(0x300, hex("0b 00 02 00 02 00 00 00 09 00 00 00 00 00 00 00"
                             "00 00 00 00 00 03 00 00"));
    RingPacket packet;
    ASSERT_EQ(reader.next(&packet), RingReader::Next::kPacket);
    EXPECT_TRUE(packet.header_ok());
    EXPECT_EQ(packet.payload_size(), 0u);
    EXPECT_EQ(packet.desc.trans_id, 9u);
    reader.consume(packet);
    EXPECT_EQ(reader.next(&packet), RingReader::Next::kEmpty);
}

TEST_F(VectorTest, ControlTransferAndItsCompletionLookAsInTheReference)
{
    Bytes message = hex("02 00 00 80 34 00 00 00 01 00 00 00 00 00 00 00"
                        "01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00"
                        "08 00 00 00 ff ff ff ef 03 00 00 00 00 00 00 00"
                        "00 00 00 00");
    store(0, message);
    out.start_at(0x200);
    (void) reader_of(0x80,
                     hex("07 00 04 00 09 00 01 00 00 00 00 00 00 00 00 00"
                         "fe ca 00 00 01 00 00 00 34 00 00 00 00 00 00 00"
                         "6b 00 00 00 01 00 00 00 ff ff ff ff 00 00 00 00"
                         "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                         "00 00 00 00 00 00 00 00 00 00 00 00 80 00 00 00"));
    NetChannel there = make(&fault);
    mailbox.expect_rndis(0x80000002, 1);
    std::array<netvsc_rx_frame, 1> frames;
    EXPECT_EQ(there.rxq.poll(frames), 0u);
    there.rxq.release();
    EXPECT_EQ(mailbox.collect_rndis(), message);
    EXPECT_EQ(in.get(kReadIndex), 0x80u + 80);
    EXPECT_EQ(ring_bytes(out, 0x200, 32),
              hex("0b 00 02 00 03 00 00 00 00 00 00 00 00 00 00 00"
                  "6c 00 00 00 01 00 00 00 00 00 00 00 00 02 00 00"));
    EXPECT_EQ(out.get(kWriteIndex), 0x220u);
}

/* --- J.2, J.3 -------------------------------------------------------------
 */

/* The header of a 66-byte frame with a VLAN and a checksum element. */
const char kPacketHeader[] = "01 00 00 00 8e 00 00 00 44 00 00 00 42 00 00 00"
                             "00 00 00 00 00 00 00 00 00 00 00 00 24 00 00 00"
                             "20 00 00 00 00 00 00 00 00 00 00 00 10 00 00 00"
                             "06 00 00 00 0c 00 00 00 45 06 00 00 10 00 00 00"
                             "00 00 00 00 0c 00 00 00 05 00 22 00";

TEST_F(VectorTest, PacketHeaderIsReadAsInTheReference)
{
    Bytes message = hex(kPacketHeader), frame = make_frame(66);
    ASSERT_EQ(message.size(), 0x4cu);
    message.insert(message.end(), frame.begin(), frame.end());
    ASSERT_EQ(message.size(), 142u);
    netvsc_fragment fragment;
    netvsc_rx_frame view;
    RndisShape shape;
    ASSERT_FALSE(parse_rndis_packet(message, &fragment, &view, &shape));
    EXPECT_EQ(fragment.data, message.data() + 0x4c);
    EXPECT_EQ(fragment.size, 66u);
    /* Priority 5, id 100; read as a receive checksum, bits 0 and 2 say that
     * TCP's and IP's are wrong. */
    EXPECT_EQ(view.vlan_tci, 5u << 13 | 100);
    EXPECT_EQ(view.flags,
              NETVSC_RX_VLAN | NETVSC_RX_L4_BAD | NETVSC_RX_IP_BAD);
}

TEST_F(VectorTest, PacketHeaderWithATagLooksAsInTheReference)
{
    /* The example without its second element: lengths are 16 less. */
    Bytes wanted = hex(kPacketHeader);
    wanted.resize(44 + 16);
    put32(wanted, 4, 142 - 16);
    put32(wanted, 8, 0x44 - 16);
    put32(wanted, 32, 0x20 - 16);
    Bytes frame = make_frame(66, 1);
    wanted.insert(wanted.end(), frame.begin(), frame.end());

    Bytes tagged = make_tagged_frame(66, 5 << 13 | 100, 1);
    netvsc_tx_frame view = {tagged.data(),
                            static_cast<uint32_t>(tagged.size())};
    ASSERT_TRUE(has_vlan_tag(view));
    Bytes message(rndis_packet_size(view.size, true));
    build_tagged_rndis_packet(view, static_cast<uint32_t>(message.size()),
                              message.data());
    EXPECT_EQ(message, wanted);
}

TEST_F(VectorTest, ReceiveChecksumValuesMeanWhatTheReferenceSays)
{
    for (uint32_t value : {0x28u, 0x30u}) {
        Bytes message = rndis_frame(make_frame(60), {{0, value}});
        netvsc_fragment fragment;
        netvsc_rx_frame view;
        RndisShape shape;
        ASSERT_FALSE(parse_rndis_packet(message, &fragment, &view, &shape));
        EXPECT_EQ(view.flags, NETVSC_RX_L4_GOOD | NETVSC_RX_IP_GOOD);
    }
}

} // namespace
} // namespace netvsc

/* KEY=VALUE,... of a NIC. */

#include <gtest/gtest.h>

#include "host/base/error.h"
#include "host/config.h"

namespace netvsc::host::test {

namespace {

constexpr char kGuid[] = "f8615163-0000-1000-2000-00155d000001";

NicConfig
parse(const std::string &rest)
{
    return parse_nic(std::string("guid=") + kGuid + rest);
}

TEST(HostConfig, HasOpenvmmsDefaults)
{
    NicConfig nic = parse("");
    EXPECT_EQ(to_text(nic.mac), "00:15:5d:00:00:01");
    EXPECT_EQ(nic.mtu, 1500u);
    EXPECT_EQ(nic.speed, 10'000'000'000u);
    EXPECT_EQ(nic.driver, DriverBinding::kUioHvGeneric);
    EXPECT_EQ(nic.receive_buffer, 31u << 20);
    EXPECT_EQ(nic.send_buffer, 16u << 20);
    EXPECT_EQ(nic.section_size, 6144u);
    EXPECT_EQ(nic.packets_per_message, 8u);
    EXPECT_EQ(nic.alignment_shift, 3u);
    EXPECT_EQ(nic.ranges, 375u);
    EXPECT_EQ(nic.control_suballocs, 16u);
    EXPECT_EQ(nic.latency_us, 100u);
    EXPECT_EQ(nic.completion_delay_us, 0u);
    EXPECT_TRUE(nic.monitor);
    EXPECT_TRUE(nic.promiscuous);
    EXPECT_EQ(nic.nvsp, 0x00060001u);
    EXPECT_FALSE(nic.generator);
}

TEST(HostConfig, TakesAGenerator)
{
    NicConfig nic = parse(",pace=window:256,generate=128,elements=1,"
                          "suballocs=300,flows=300");
    ASSERT_TRUE(nic.generator);
    EXPECT_EQ(nic.generator->frame_size, 128u);
    EXPECT_EQ(nic.generator->elements, 1u);
    EXPECT_EQ(nic.generator->suballocs, 300u);
    EXPECT_EQ(nic.generator->flows, 300u);
    EXPECT_EQ(to_text(nic.generator->pace), "window:256");
    EXPECT_EQ(parse(",generate=imix").generator->frame_size,
              GeneratorConfig::kImix);
    for (const char *pace : {"none", "max", "loop:1", "rate:1000000000"}) {
        EXPECT_EQ(to_text(parse_pace(pace)), pace);
    }
}

TEST(HostConfig, TakesACapture)
{
    NicConfig nic = parse(",pcap=/tmp/in.pcap,pcap-loop=yes,pcap-write=out");
    ASSERT_TRUE(nic.pcap);
    EXPECT_EQ(nic.pcap->read, "/tmp/in.pcap");
    EXPECT_TRUE(nic.pcap->loop);
    EXPECT_EQ(nic.pcap->write, "out");
    EXPECT_TRUE(parse(",pcap-write=out").pcap);
    EXPECT_THROW((void) parse(",pcap="), HostError);
    EXPECT_THROW((void) parse(",pcap-loop=yes,pcap-write=out"), HostError);
    EXPECT_THROW((void) parse(",pcap=in,generate=64"), HostError);
}

TEST(HostConfig, TakesEveryProperty)
{
    NicConfig nic =
        parse(",mac=02:00:00:00:00:07,mtu=9000,speed=40G,driver=none,tap=tap0,"
              "receive-buffer=16M,send-buffer=1M,section-size=1728,"
              "packets-per-message=1,alignment-shift=0,ranges=1,"
              "control-suballocs=4,latency-us=50,completion-delay-us=200,"
              "monitor=no,promiscuous=no,nvsp=2");
    EXPECT_EQ(to_text(nic.mac), "02:00:00:00:00:07");
    EXPECT_EQ(nic.mtu, 9000u);
    EXPECT_EQ(nic.speed, 40'000'000'000u);
    EXPECT_EQ(nic.driver, DriverBinding::kNone);
    EXPECT_EQ(nic.tap, "tap0");
    EXPECT_EQ(nic.receive_buffer, 16u << 20);
    EXPECT_EQ(nic.section_size, 1728u);
    EXPECT_EQ(nic.ranges, 1u);
    EXPECT_EQ(nic.completion_delay_us, 200u);
    EXPECT_FALSE(nic.monitor);
    EXPECT_FALSE(nic.promiscuous);
    EXPECT_EQ(nic.nvsp, 0x00030002u);
    EXPECT_EQ(parse(",nvsp=6").nvsp, 0x00060000u);
    EXPECT_EQ(parse(",nvsp=5,monitor=yes").nvsp, 0x00050000u);
    EXPECT_EQ(parse(",nvsp=4").nvsp, 0x00040000u);
}

TEST(HostConfig, WritesGuidsAsSysfsDoes)
{
    EXPECT_EQ(parse_guid("{F8615163-0000-1000-2000-00155D000001}"), kGuid);
    EXPECT_THROW((void) parse_guid("f8615163"), HostError);
    EXPECT_THROW((void) parse_guid("{f8615163-0000-1000-2000-00155d000001"),
                 HostError);
    EXPECT_THROW((void) parse_guid("f8615163-0000-1000-2000-00155d00000g"),
                 HostError);
}

TEST(HostConfig, RefusesWhatIsWrongAndNamesIt)
{
    const char *wrong[] = {
        "mac=01:00:5e:00:00:01",
        "mac=1:2:3:4:5",
        "mtu=67",
        "mtu=9203",
        "mtu=1500x",
        "mtu=-1",
        "speed=fast",
        "driver=vfio",
        "receive-buffer=1000",
        "section-size=67",
        "section-size=6146",
        "ranges=0",
        "ranges=571",
        "alignment-shift=8",
        "monitor=maybe",
        "promiscuous=maybe",
        "nvsp=3",
        "nvsp=6.0",
        "mtu",
        "colour=red",
        "packets-per-message",
        "peer=nobody",
        "tap=a-name-that-is-too-long",
        "generate=59",
        "generate=9217",
        "generate=mix",
        "elements=2",
        "flows=0",
        "flows=65537",
        "pace=fast",
        "pace=max:1",
        "pace=window",
        "pace=window:0",
        "pace=rate:1x",
        "pace=rate:1000000001",
    };
    for (const char *item : wrong) {
        std::string text(item);
        try {
            (void) parse("," + text);
            ADD_FAILURE() << text << " was accepted";
        } catch (const HostError &error) {
            std::string key = text.substr(0, text.find('='));
            EXPECT_NE(
                std::string(error.what()).find(key == "peer" ? "nobody" : key),
                std::string::npos)
                << error.what();
        }
    }
}

TEST(HostConfig, TellsAPropertyWithoutValueFromNoProperty)
{
    auto error = [](const std::string &item) -> std::string {
        try {
            (void) parse(item);
        } catch (const HostError &refusal) {
            return refusal.what();
        }
        return "";
    };
    EXPECT_EQ(error(",promiscuous"),
              "A NIC's 'promiscuous' has no value; write promiscuous=VALUE, "
              "as netvsc-host(8) says.");
    EXPECT_EQ(error(",colour=red"),
              "A NIC has no property 'colour'; netvsc-host(8) lists them.");
    EXPECT_EQ(error(",colour"), error(",colour=red"));
}

TEST(HostConfig, RefusesContradictions)
{
    EXPECT_THROW((void) parse_nic("mtu=1500"), HostError);
    EXPECT_THROW((void) parse(",mtu=1500,mtu=1501"), HostError);
    EXPECT_THROW(
        (void) parse(",tap=t,peer=f8615163-0000-1000-2000-00155d000002"),
        HostError);
    EXPECT_THROW((void) parse(std::string(",peer=") + kGuid), HostError);
    EXPECT_THROW((void) parse(",send-buffer=4K"), HostError);
    EXPECT_THROW((void) parse(",generate=64,tap=t"), HostError);
    EXPECT_THROW((void) parse(",pace=max"), HostError);
    EXPECT_THROW((void) parse(",generate=64,suballocs=8,flows=9"), HostError);
}

} // namespace

} // namespace netvsc::host::test

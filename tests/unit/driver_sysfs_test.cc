/* Finding a NIC below the system root (C.2, C.3), and what the
 * operator reads when it is not usable.  driver_main.cc made the root. */

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "driver/device.h"
#include "driver/kernel/sysfs.h"
#include "driver/kernel/uio_chardev.h"

namespace netvsc {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

/* The tree of one NIC, as the kernel shows it, below the system root. */
class SysfsTest : public testing::Test {
protected:
    SysfsTest()
    {
        put("class_id", "{f8615163-df3e-46c5-913f-f2d2f965ed0e}");
        put("device_id", "{" + guid.str() + "}");
        put("id", "15");
        put("monitor_id", "3");
        put("numa_node", "0");
        bind("uio_hv_generic");
        put_map(0, "txrx_rings", "0x0000000000400000");
        put_map(1, "int_page", "0x0000000000001000");
        put_map(2, "monitor_page", "0x0000000000001000");
        put_map(3, "recv:921105", "0x0000000001f00000");
        put_map(4, "send:921106", "0x0000000001000000");
        fs::create_directories(root / "dev");
        std::ofstream(root / "dev/uio7") << "";
    }
    ~SysfsTest() override
    {
        fs::remove_all(root / "dev");
        remove_devices();
    }

    void
    remove_devices()
    {
        fs::remove_all(root / "sys");
    }
    void
    put(const std::string &attribute, const std::string &line)
    {
        fs::path path = device / attribute;
        fs::create_directories(path.parent_path());
        std::ofstream(path) << line << "\n";
    }
    void
    hide(const std::string &attribute)
    {
        ASSERT_TRUE(fs::remove_all(device / attribute));
    }
    void
    put_map(unsigned i, const std::string &name, const std::string &size)
    {
        std::string map = "uio/uio7/maps/map" + std::to_string(i);
        put(map + "/name", name);
        put(map + "/size", size);
        put(map + "/offset", "0x0");
    }
    void
    bind(const std::string &driver)
    {
        fs::create_directories(device);
        fs::remove(device / "driver");
        if (!driver.empty()) {
            fs::create_symlink("../../drivers/" + driver, device / "driver");
        }
    }

    /* The error there must be; its sentence names the device. */
    Error
    error()
    {
        auto info = check_device(guid);
        EXPECT_FALSE(info);
        if (info) {
            return {};
        }
        EXPECT_THAT(
            info.error().message,
            AllOf(HasSubstr(guid.str()), EndsWith("."), HasSubstr(": ")));
        return info.error();
    }

    Guid guid = *Guid::parse("00112233-4455-6677-8899-aabbccddeeff");
    fs::path root = std::getenv("NETVSC_SYSROOT");
    fs::path device = root / "sys/bus/vmbus/devices" / guid.str();
};

TEST_F(SysfsTest, DescribesAUsableDevice)
{
    auto info = check_device(guid);
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(info->uio, 7u);
    EXPECT_EQ(info->relid, 15u);
    EXPECT_EQ(info->monitor_id, 3u);
    EXPECT_EQ(info->numa_node, 0);
    EXPECT_EQ(info->receive_gpadl, 921105u);
    EXPECT_EQ(info->send_gpadl, 921106u);
    EXPECT_EQ(info->maps[0].name, "txrx_rings");
    EXPECT_EQ(info->maps[0].size, 4u << 20);
    EXPECT_EQ(info->maps[1].size, 4096u);
    EXPECT_EQ(info->maps[2].name, "monitor_page");
    EXPECT_EQ(info->maps[3].size, 31u << 20);
    EXPECT_EQ(info->maps[4].size, 16u << 20);
    EXPECT_EQ(info->device_path, root / "dev/uio7");
    EXPECT_EQ(info->sysfs_path, device);
}

TEST_F(SysfsTest, ReadsNumbersInHexAndInDecimal)
{
    put("id", "0x1f");
    put_map(0, "txrx_rings", "4194304");
    put("uio/uio7/maps/map3/offset", "0x200");
    auto info = check_device(guid);
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(info->relid, 31u);
    EXPECT_EQ(info->maps[0].size, 4u << 20);
    EXPECT_EQ(info->maps[3].offset, 0x200u);
    EXPECT_EQ(info->maps[4].offset, 0u);
}

TEST_F(SysfsTest, SaysThatADeviceIsAbsent)
{
    remove_devices();
    Error absent = error();
    EXPECT_EQ(absent.code, ENOENT);
    EXPECT_THAT(absent.message, AllOf(HasSubstr("There is no VMBus device"),
                                      HasSubstr("/sys/bus/vmbus/devices")));
}

TEST_F(SysfsTest, SaysThatADeviceIsNoNic)
{
    /* A synthetic SCSI controller. */
    put("class_id", "{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}");
    Error other = error();
    EXPECT_EQ(other.code, ENODEV);
    EXPECT_THAT(other.message, HasSubstr("not a network adapter"));
    put("class_id", "garbage");
    EXPECT_EQ(error().code, ENODEV);
    hide("class_id");
    EXPECT_EQ(error().code, ENODEV);
}

TEST_F(SysfsTest, AcceptsTheClassInCapitalsAndWithoutBraces)
{
    put("class_id", "F8615163-DF3E-46C5-913F-F2D2F965ED0E");
    EXPECT_TRUE(check_device(guid));
}

TEST_F(SysfsTest, SaysThatADeviceBelongsToTheKernelsDriver)
{
    bind("hv_netvsc");
    Error busy = error();
    EXPECT_EQ(busy.code, EBUSY);
    EXPECT_THAT(busy.message,
                AllOf(HasSubstr("belongs to driver hv_netvsc"),
                      HasSubstr("driverctl -b vmbus set-override " +
                                guid.str() + " uio_hv_generic")));
}

TEST_F(SysfsTest, SaysWhatAMissingMonitorIdMeansForTheDriver)
{
    bind("");
    fs::remove(device / "monitor_id");
    Error refused = error();
    EXPECT_EQ(refused.code, ENODEV);
    EXPECT_THAT(refused.message,
                AllOf(HasSubstr("is bound to no driver"),
                      HasSubstr("without a monitor id"),
                      HasSubstr("Linux 6.10"),
                      HasSubstr("driverctl -b vmbus set-override " +
                                guid.str() + " uio_hv_generic")));
}

TEST_F(SysfsTest, SaysThatADeviceIsBoundToNoDriver)
{
    bind("");
    Error unbound = error();
    EXPECT_EQ(unbound.code, ENODEV);
    EXPECT_THAT(unbound.message,
                AllOf(HasSubstr("is bound to no driver"),
                      HasSubstr("driverctl -b vmbus set-override " +
                                guid.str() + " uio_hv_generic")));
}

TEST_F(SysfsTest, SaysThatADeviceHasNoUioEntry)
{
    hide("uio/uio7");
    Error none = error();
    EXPECT_EQ(none.code, ENODEV);
    EXPECT_THAT(none.message, HasSubstr("has no uio entry"));
    put("uio/uiox/name", "what is this");
    put("uio/event7/name", "what is this");
    EXPECT_EQ(error().code, ENODEV);
    hide("uio");
    EXPECT_EQ(error().code, ENODEV);
}

TEST_F(SysfsTest, RefusesAChannelIdThatMakesNoSense)
{
    for (const char *id : {"", "0", "2048", "65536", "-1", "x", "15x", "1 5",
                           "0x", "0xfg", "99999999999999999999999"}) {
        put("id", id);
        Error bad = error();
        EXPECT_EQ(bad.code, EPROTO) << id;
        EXPECT_THAT(bad.message, HasSubstr("/id has no channel id"));
    }
    hide("id");
    EXPECT_EQ(error().code, EPROTO);
    put("id", "2047");
    EXPECT_TRUE(check_device(guid));
}

TEST_F(SysfsTest, AHiddenMonitorIdIsNotIdZero)
{
    hide("monitor_id");
    auto info = check_device(guid);
    ASSERT_TRUE(info);
    EXPECT_FALSE(info->monitor_id);
    put("monitor_id", "0");
    info = check_device(guid);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->monitor_id, 0u);
    put("monitor_id", "127");
    info = check_device(guid);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->monitor_id, 127u);
}

TEST_F(SysfsTest, AMonitorIdOutsideThePageIsNone)
{
    for (const char *id : {"128", "255", "4294967295", "-1", "none"}) {
        put("monitor_id", id);
        auto info = check_device(guid);
        ASSERT_TRUE(info);
        EXPECT_FALSE(info->monitor_id) << id;
    }
}

TEST_F(SysfsTest, ReadsTheNumaNode)
{
    put("numa_node", "1");
    EXPECT_EQ(check_device(guid)->numa_node, 1);
    put("numa_node", "-1");
    EXPECT_EQ(check_device(guid)->numa_node, -1);
    hide("numa_node");
    EXPECT_EQ(check_device(guid)->numa_node, -1);
}

TEST_F(SysfsTest, ANumaNodeThatNoKernelHasIsUnknown)
{
    for (const char *node : {"1024", "2147483648", "18446744073709551615"}) {
        put("numa_node", node);
        EXPECT_EQ(check_device(guid)->numa_node, -1) << node;
    }
    put("numa_node", "1023");
    EXPECT_EQ(check_device(guid)->numa_node, 1023);
}

/* The main thread of the switch reads it. */
TEST_F(SysfsTest, AnAttributeThatBlocksIsNotWaitedFor)
{
    for (const char *attribute :
         {"numa_node", "id", "class_id", "uio/uio7/maps/map0/name",
          "uio/uio7/maps/map4/size"}) {
        fs::rename(device / attribute, root / "aside");
        ASSERT_EQ(::mkfifo((device / attribute).c_str(), 0600), 0);
        /* With nobody who writes, and with somebody who does not. */
        (void) check_device(guid);
        int writer = ::open((device / attribute).c_str(),
                            O_RDWR | O_NONBLOCK | O_CLOEXEC);
        ASSERT_GE(writer, 0);
        auto info = check_device(guid);
        EXPECT_EQ(bool(info), attribute == std::string("numa_node"));
        ::close(writer);
        fs::rename(root / "aside", device / attribute);
        EXPECT_TRUE(check_device(guid));
    }
}

TEST_F(SysfsTest, AnAttributeWithoutEndIsReadOnce)
{
    /* No line end in sight: a hole of a terabyte. */
    fs::resize_file(device / "numa_node", uint64_t{1} << 40);
    EXPECT_EQ(check_device(guid)->numa_node, 0) << "the first line is there";
    fs::resize_file(device / "numa_node", 0);
    fs::resize_file(device / "numa_node", uint64_t{1} << 40);
    EXPECT_EQ(check_device(guid)->numa_node, -1);
    fs::resize_file(device / "id", 0);
    fs::resize_file(device / "id", uint64_t{1} << 40);
    EXPECT_EQ(error().code, EPROTO);
}

TEST_F(SysfsTest, RefusesAMapThatIsLargerThanAnyHostMakes)
{
    put_map(4, "send:921106", "0x40000000"); /* 1 GiB */
    EXPECT_TRUE(check_device(guid));
    for (unsigned i : {0u, 3u, 4u}) {
        std::string map = "uio/uio7/maps/map" + std::to_string(i);
        for (const char *size : {"0x40002000", "0x10000000000"}) {
            put(map + "/size", size);
            EXPECT_EQ(error().code, EPROTO);
            EXPECT_THAT(error().message, HasSubstr("has an impossible size"));
        }
        put(map + "/size", "0x400000");
    }
}

TEST_F(SysfsTest, RefusesAMapThatBeginsBehindItsFirstPage)
{
    std::string page = std::to_string(::sysconf(_SC_PAGESIZE));
    for (const std::string &offset :
         {page, std::string("0xffffffffffffff00")}) {
        put("uio/uio7/maps/map4/offset", offset);
        EXPECT_EQ(error().code, EPROTO);
        EXPECT_THAT(error().message,
                    HasSubstr("begins outside of its first page"));
    }
    put("uio/uio7/maps/map4/offset", "0xff8");
    EXPECT_TRUE(check_device(guid));
}

TEST_F(SysfsTest, RefusesMapsThatCannotBeRead)
{
    for (unsigned i = 0; i < 5; i++) {
        std::string map = "uio/uio7/maps/map" + std::to_string(i);
        for (const char *attribute : {"/name", "/size"}) {
            std::string was;
            {
                std::ifstream file(device / (map + attribute));
                std::getline(file, was);
            }
            hide(map + attribute);
            Error bad = error();
            EXPECT_EQ(bad.code, EPROTO);
            EXPECT_THAT(bad.message,
                        AllOf(HasSubstr(map), HasSubstr("cannot be read")));
            put(map + attribute, was);
        }
    }
    EXPECT_TRUE(check_device(guid));
}

TEST_F(SysfsTest, RefusesAnImpossibleMapSize)
{
    for (unsigned i = 0; i < 5; i++) {
        std::string size = "uio/uio7/maps/map" + std::to_string(i) + "/size";
        std::string was;
        {
            std::ifstream file(device / size);
            std::getline(file, was);
        }
        for (const char *bad : {"0", "0x0", "1", "4095", "0x1001"}) {
            put(size, bad);
            Error error_ = error();
            EXPECT_EQ(error_.code, EPROTO);
            EXPECT_THAT(error_.message, HasSubstr("has an impossible size"));
        }
        put(size, "many");
        EXPECT_EQ(error().code, EPROTO);
        put(size, was);
    }
}

TEST_F(SysfsTest, RefusesRingsWithoutRoomForTwoControlPagesAndData)
{
    for (const char *bad : {"4096", "8192", "12288", "0x401000"}) {
        put_map(0, "txrx_rings", bad);
        Error error_ = error();
        EXPECT_EQ(error_.code, EPROTO) << bad;
        EXPECT_THAT(error_.message, HasSubstr("has an impossible size"));
    }
    put_map(0, "txrx_rings", "16384");
    EXPECT_TRUE(check_device(guid));
}

TEST_F(SysfsTest, RefusesTheMapsOfAnotherDevice)
{
    put_map(0, "rings", "0x400000");
    EXPECT_EQ(error().code, EPROTO);
    EXPECT_THAT(error().message, HasSubstr("names other maps"));
    put_map(0, "txrx_rings", "0x400000");
    put_map(2, "int_page", "0x1000");
    EXPECT_THAT(error().message, HasSubstr("names other maps"));
}

TEST_F(SysfsTest, RefusesABufferWithoutItsHandle)
{
    for (const char *name :
         {"recv", "recv:", "recv:0", "recv:x", "recv:12x", "recv:-1",
          "recv:4294967296", "send:12", "receive:12", " recv:12"}) {
        put_map(3, name, "0x1f00000");
        EXPECT_THAT(error().message, HasSubstr("lacks the buffer handles"))
            << name;
    }
    put_map(3, "recv:4294967295", "0x1f00000");
    EXPECT_TRUE(check_device(guid));
    put_map(4, "recv:13", "0x1000000");
    EXPECT_THAT(error().message, HasSubstr("lacks the buffer handles"));
    put_map(4, "send:13", "0x1000000");
    EXPECT_EQ(check_device(guid)->send_gpadl, 13u);
}

TEST_F(SysfsTest, SaysThatTheDeviceFileIsMissing)
{
    fs::remove(root / "dev/uio7");
    Error missing = error();
    EXPECT_EQ(missing.code, ENOENT);
    EXPECT_THAT(
        missing.message,
        AllOf(HasSubstr("cannot be opened as " + (root / "dev/uio7").string()),
              HasSubstr("No such file or directory")));
}

TEST_F(SysfsTest, SaysThatTheDeviceFileMayNotBeOpened)
{
    fs::permissions(root / "dev/uio7", fs::perms::owner_read);
    /* root may open everything: ask as nobody, in a process that ends. */
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    pid_t child = ::fork();
    if (child == 0) {
        constexpr uid_t kNobody = 65534;
        if (::geteuid() == 0 && ::setuid(kNobody) != 0) {
            ::_exit(1);
        }
        auto info = check_device(guid);
        std::string text = info ? "usable"
                                : std::to_string(info.error().code) + " " +
                                      info.error().message;
        (void) !::write(fds[1], text.data(), text.size());
        ::_exit(0);
    }
    ::close(fds[1]);
    char text[1024];
    ssize_t n = ::read(fds[0], text, sizeof text);
    ::close(fds[0]);
    int status = -1;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
    ASSERT_GT(n, 0);
    EXPECT_THAT(std::string(text, static_cast<size_t>(n)),
                AllOf(testing::StartsWith(std::to_string(EACCES) + " "),
                      HasSubstr(guid.str()), HasSubstr("Permission denied"),
                      HasSubstr("read and write permission")));
}

/* Below an emulated root a link or a file could lead to anything. */
TEST_F(SysfsTest, OpensNothingButTheSocketOfTheEmulatedHost)
{
    auto info = check_device(guid);
    ASSERT_TRUE(info);
    auto opened = open_uio(*info);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ENODEV);
    EXPECT_THAT(opened.error().message,
                AllOf(HasSubstr(info->device_path),
                      HasSubstr("no socket of netvsc-host")));
    fs::remove(info->device_path);
    fs::create_symlink("/dev/zero", info->device_path);
    opened = open_uio(*info);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().message, HasSubstr("no socket of netvsc-host"));
}

TEST_F(SysfsTest, OpensNothingButACharacterDeviceAsTheKernels)
{
    auto info = check_device(guid);
    ASSERT_TRUE(info);
    auto opened = open_uio_chardev(*info);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ENODEV);
    EXPECT_THAT(
        opened.error().message,
        AllOf(HasSubstr(info->device_path), HasSubstr("no character device")));
    fs::remove(info->device_path);
    fs::create_symlink("/dev/zero", info->device_path);
    opened = open_uio_chardev(*info);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ELOOP);
}

TEST_F(SysfsTest, ListsNicsOfAnyDriverAndNothingElse)
{
    auto add = [&](const char *name, const char *class_id) {
        fs::path folder = root / "sys/bus/vmbus/devices" / name;
        fs::create_directories(folder);
        std::ofstream(folder / "class_id") << class_id << "\n";
    };
    bind("hv_netvsc");
    add("11112222-4455-6677-8899-aabbccddeeff",
        "{f8615163-df3e-46c5-913f-f2d2f965ed0e}");
    add("22223333-4455-6677-8899-aabbccddeeff",
        "{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}");
    add("vmbus_1", "{f8615163-df3e-46c5-913f-f2d2f965ed0e}");
    auto nics = list_nics();
    std::sort(nics.begin(), nics.end());
    ASSERT_EQ(nics.size(), 2u);
    EXPECT_EQ(nics[0], guid);
    EXPECT_EQ(nics[1].str(), "11112222-4455-6677-8899-aabbccddeeff");
}

TEST_F(SysfsTest, ListsNothingWithoutAVmbus)
{
    remove_devices();
    EXPECT_TRUE(list_nics().empty());
}

/* --- What a Device does before it needs a host ----------------------------
 */

TEST_F(SysfsTest, ClaimingAnUnusableDeviceGivesTheSentenceOfTheCheck)
{
    for (const char *driver : {"hv_netvsc", ""}) {
        bind(driver);
        Error wanted = error();
        auto claimed = Device::claim(guid, "eth1", DeviceRequest{}, nullptr);
        ASSERT_FALSE(claimed);
        EXPECT_EQ(claimed.error().code, wanted.code);
        EXPECT_EQ(claimed.error().message, wanted.message);
    }
    remove_devices();
    auto claimed = Device::claim(guid, "eth1", DeviceRequest{}, nullptr);
    ASSERT_FALSE(claimed);
    EXPECT_EQ(claimed.error().code, ENOENT);
}

TEST(DeviceStateTest, EveryStateHasANameOfItsOwn)
{
    std::vector<std::string> names;
    for (DeviceState state :
         {DeviceState::kClosed, DeviceState::kOpening, DeviceState::kAttaching,
          DeviceState::kReady, DeviceState::kDetaching, DeviceState::kFailed,
          DeviceState::kInUse, DeviceState::kRescinded}) {
        names.push_back(device_state_name(state));
    }
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
    EXPECT_THAT(names, Not(testing::Contains("unknown")));
}

} // namespace
} // namespace netvsc

/* The state file: what it looks like, what it survives, who may write. */

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/identity_file.h"

using namespace netvsc;
using namespace netvsc::provider;
namespace fs = std::filesystem;

namespace {

const Guid kFirst = *Guid::parse("11111111-2222-3333-4444-555555555555");
const Guid kSecond = *Guid::parse("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
constexpr MacAddress kMac1 = {0x00, 0x15, 0x5d, 0, 0, 1};
constexpr MacAddress kMac2 = {0x00, 0x15, 0x5d, 0, 0, 2};

const std::string kGood =
    "netvsc-devices 1\n"
    "11111111-2222-3333-4444-555555555555 00:15:5d:00:00:01\n"
    "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee 00:15:5d:00:00:02 eth1 more\n";

/* --- The content --- */

TEST(Identities, ReadsWhatItWrites)
{
    auto identities = Identities::parse(kGood);
    ASSERT_TRUE(identities);
    EXPECT_EQ(identities->damaged, 0u);
    EXPECT_EQ(identities->format(), kGood) << "words of later versions";
    ASSERT_TRUE(identities->find(kSecond));
    EXPECT_EQ(identities->find(kSecond)->mac, kMac2);

    EXPECT_FALSE(identities->set(kSecond, kMac2));
    EXPECT_TRUE(identities->set(kSecond, kMac1));
    EXPECT_EQ(identities->find(kSecond)->rest, "eth1 more");
}

TEST(Identities, LeavesOutWhatMakesNoSense)
{
    auto identities = Identities::parse(
        kGood + "\n# by hand\n" + std::string(1000, 'x') + "\n" +
        std::string("\0\xff\n", 3) +
        "11111111-2222-3333-4444-555555555555 00:15:5d:00:00:0\n"
        "11111111-2222-3333-4444-555555555555 00:15:5d:00:00:01:02\n"
        "11111111-2222-3333-4444-555555555555\n"
        "11111111-2222-3333-4444-555555555555 00:15:5D:00:00:03");
    ASSERT_TRUE(identities);
    EXPECT_EQ(identities->entries.size(), 2u);
    EXPECT_EQ(identities->damaged, 8u);
    EXPECT_EQ(identities->find(kFirst)->mac, kMac1);
}

TEST(Identities, TheLastLineOfADeviceCounts)
{
    auto identities = Identities::parse(
        kGood + "11111111-2222-3333-4444-555555555555 00:15:5d:00:00:02\n");
    ASSERT_TRUE(identities);
    EXPECT_EQ(identities->entries.size(), 2u);
    EXPECT_EQ(identities->find(kFirst)->mac, kMac2);
}

TEST(Identities, OtherFilesAreNotOurs)
{
    for (const char *text : {"", "\n", "netvsc-devices 2\n", "garbage",
                             "netvsc-devices 1 \n", "netvsc-devices"}) {
        EXPECT_FALSE(Identities::parse(text)) << text;
    }
    EXPECT_TRUE(Identities::parse("netvsc-devices 1\n"));
    EXPECT_TRUE(Identities::parse("netvsc-devices 1"));
}

TEST(Identities, TheOldestMakeRoom)
{
    Identities identities;
    for (int i = 0; i < 1000; i++) {
        char guid[40];
        std::snprintf(guid, sizeof guid, "%08x-2222-3333-4444-555555555555",
                      i);
        EXPECT_TRUE(identities.set(*Guid::parse(guid), kMac1));
    }
    EXPECT_EQ(identities.entries.size(), 256u);
    EXPECT_EQ(identities.entries.front().device.str().substr(0, 8),
              "000002e8");
    EXPECT_LT(identities.format().size(), 65536u);
}

/* --- The file --- */

class IdentityFileTest : public testing::Test {
protected:
    IdentityFileTest()
    {
        char path[] = "/tmp/identity-tests.XXXXXX";
        directory_ = ::mkdtemp(path);
        path_ = directory_ / "netvsc-devices";
    }
    ~IdentityFileTest() override
    {
        file_.reset();
        fs::permissions(directory_, fs::perms::owner_all);
        fs::remove_all(directory_);
    }

    void
    write(const std::string &text)
    {
        std::ofstream(path_) << text;
    }
    std::string
    text()
    {
        std::ostringstream all;
        all << std::ifstream(path_).rdbuf();
        return all.str();
    }
    void
    remember(const Guid &device, const MacAddress &mac)
    {
        file_->remember(device, mac);
        file_->wait_written();
    }

    fs::path directory_, path_;
    std::atomic<int> wakes_{0};
    std::unique_ptr<IdentityFile> file_ = std::make_unique<IdentityFile>(
        [this] { return directory_.string(); }, [this] { wakes_++; });
};

TEST_F(IdentityFileTest, IsWrittenAndRead)
{
    EXPECT_FALSE(file_->mac_of(kFirst)) << "no file yet";
    remember(kFirst, kMac1);
    EXPECT_EQ(text(), "netvsc-devices 1\n"
                      "11111111-2222-3333-4444-555555555555 "
                      "00:15:5d:00:00:01\n");
    EXPECT_EQ(file_->mac_of(kFirst), kMac1);
    EXPECT_FALSE(file_->mac_of(kSecond));
    EXPECT_TRUE(file_->take_warnings().empty());
    EXPECT_EQ(wakes_, 0);
    EXPECT_FALSE(fs::exists(directory_ / "netvsc-devices.new"));
}

TEST_F(IdentityFileTest, KeepsWhatOthersWroteMeanwhile)
{
    EXPECT_FALSE(file_->mac_of(kFirst));
    write(kGood);
    remember(kFirst, kMac2);
    EXPECT_NE(text().find("00:15:5d:00:00:02 eth1 more\n"), std::string::npos);
    EXPECT_EQ(file_->mac_of(kFirst), kMac2);
}

TEST_F(IdentityFileTest, WhatIsKnownIsNotWrittenAgain)
{
    write(kGood);
    auto before = fs::last_write_time(path_);
    struct stat was, is;
    ASSERT_EQ(::stat(path_.c_str(), &was), 0);
    remember(kFirst, kMac1);
    ASSERT_EQ(::stat(path_.c_str(), &is), 0);
    EXPECT_EQ(was.st_ino, is.st_ino);
    EXPECT_EQ(fs::last_write_time(path_), before);
}

TEST_F(IdentityFileTest, DamageIsToldOnceAndMended)
{
    write(kGood + "garbage\n");
    EXPECT_EQ(file_->mac_of(kFirst), kMac1);
    EXPECT_EQ(file_->mac_of(kFirst), kMac1);
    auto warnings = file_->take_warnings();
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_EQ(warnings[0], path_.string() +
                               " has 1 line that makes no sense and is "
                               "ignored: remove the file; it is written anew "
                               "when a device is attached.");
    remember(kFirst, kMac2);
    EXPECT_EQ(text().find("garbage"), std::string::npos);
    EXPECT_EQ(file_->mac_of(kFirst), kMac2);
    EXPECT_TRUE(file_->take_warnings().empty());
}

/* A file that is not ours is left alone, and blocks nobody. */
TEST_F(IdentityFileTest, WhatIsNotOursIsLeftAlone)
{
    const std::string other = "netvsc-devices 2\nanything\n";
    write(other);
    EXPECT_FALSE(file_->mac_of(kFirst));
    remember(kFirst, kMac1);
    remember(kFirst, kMac1);
    EXPECT_EQ(text(), other);
    EXPECT_EQ(file_->take_warnings().size(), 2u) << "reading and writing";

    write(std::string(100'000, 'x'));
    EXPECT_FALSE(file_->mac_of(kFirst));
    EXPECT_NE(file_->take_warnings().at(0).find("too large"),
              std::string::npos);

    fs::remove(path_);
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    EXPECT_FALSE(file_->mac_of(kFirst));
    remember(kFirst, kMac1);
    EXPECT_NE(file_->take_warnings().at(0).find("is no file"),
              std::string::npos);
}

TEST_F(IdentityFileTest, ADirectoryThatIsNotThereIsToldOnce)
{
    fs::path missing = directory_ / "missing";
    file_ = std::make_unique<IdentityFile>([&] { return missing.string(); },
                                           [this] { wakes_++; });
    EXPECT_FALSE(file_->mac_of(kFirst));
    remember(kFirst, kMac1);
    remember(kSecond, kMac2);
    auto warnings = file_->take_warnings();
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_TRUE(warnings[0].starts_with(
        missing.string() + "/netvsc-devices cannot be written (No "
                           "such file or directory): "))
        << warnings[0];
    EXPECT_GT(wakes_, 0) << "nobody fetches the warning";

    fs::create_directory(missing);
    remember(kFirst, kMac1);
    EXPECT_EQ(file_->mac_of(kFirst), kMac1);
}

TEST_F(IdentityFileTest, WaitsForTheLock)
{
    int lock =
        ::open((path_.string() + ".lock").c_str(), O_RDWR | O_CREAT, 0600);
    ASSERT_GE(lock, 0);
    ASSERT_EQ(::flock(lock, LOCK_EX), 0);
    file_->remember(kFirst, kMac1); /* Does not block. */
    EXPECT_FALSE(fs::exists(path_));
    EXPECT_EQ(file_->mac_of(kSecond), std::nullopt);
    ::close(lock);
    file_->wait_written();
    EXPECT_EQ(file_->mac_of(kFirst), kMac1);
}

TEST_F(IdentityFileTest, NoDirectoryNoFile)
{
    file_ = std::make_unique<IdentityFile>([] { return std::string(); },
                                           [this] { wakes_++; });
    remember(kFirst, kMac1);
    EXPECT_FALSE(file_->mac_of(kFirst));
    EXPECT_TRUE(file_->take_warnings().empty());
}

} // namespace

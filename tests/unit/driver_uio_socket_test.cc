/* The emulated UIO device from the driver's side: a host of a few lines that
 * does what no netvsc-host would. */

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "driver/kernel/uio_mapping.h"
#include "driver/kernel/uio_socket.h"
#include "wire/uio_socket.h"

namespace netvsc {
namespace {

using namespace wire::uio_socket;

constexpr uint64_t kMapSize = 2 * wire::kPageSize;

class UioSocketTest : public testing::Test {
protected:
    UioSocketTest()
        : path_(std::string(std::getenv("NETVSC_SYSROOT")) + "/uio-socket"),
          listener_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0))
    {
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(::bind(listener_.get(),
                         reinterpret_cast<const sockaddr *>(&address),
                         sizeof address),
                  0);
        EXPECT_EQ(::listen(listener_.get(), 1), 0);
        info_.device_path = path_;
        for (UioMap &map : info_.maps) {
            map = {"map", kMapSize, 0};
        }
    }
    ~UioSocketTest() override { std::filesystem::remove(path_); }

    /* Opens the device, on a host that answers the hello with its memory and
     * these descriptors. */
    Result<std::unique_ptr<Uio>>
    open(std::initializer_list<int> more = {})
    {
        std::thread host([&] { answer_hello(more); });
        auto uio = open_uio_socket(info_);
        host.join();
        return uio;
    }
    bool
    send(uint32_t type)
    {
        return ::send(host_.get(), &type, sizeof type,
                      MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof type;
    }
    static Uio::Event
    look(Uio &uio)
    {
        return uio.wait(Uio::Clock::now());
    }

    DeviceInfo info_;
    FileDescriptor host_;

private:
    void
    answer_hello(std::initializer_list<int> more)
    {
        host_ = FileDescriptor(
            ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        Hello hello;
        EXPECT_EQ(::recv(host_.get(), &hello, sizeof hello, 0),
                  static_cast<ssize_t>(sizeof hello));
        HelloReply reply = {};
        reply.type = kHelloReply;
        reply.magic = kMagic;
        reply.version = kVersion;
        reply.size = sizeof reply;
        reply.maps = wire::kUioMaps;
        std::vector<int> fds;
        std::array<FileDescriptor, wire::kUioMaps> maps;
        for (unsigned i = 0; i < wire::kUioMaps; i++) {
            maps[i] = FileDescriptor(
                ::memfd_create("map", MFD_CLOEXEC | MFD_ALLOW_SEALING));
            EXPECT_EQ(::ftruncate(maps[i].get(), kMapSize), 0);
            EXPECT_EQ(::fcntl(maps[i].get(), F_ADD_SEALS, kSeals), 0);
            reply.map_size[i] = kMapSize;
            fds.push_back(maps[i].get());
        }
        fds.insert(fds.end(), more);

        iovec iov = {&reply, sizeof reply};
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
        msghdr message = {};
        message.msg_iov = &iov;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
        cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
        std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
        EXPECT_EQ(::sendmsg(host_.get(), &message, MSG_NOSIGNAL),
                  static_cast<ssize_t>(sizeof reply));
    }

    std::string path_;
    FileDescriptor listener_;
};

TEST_F(UioSocketTest, AnInterruptIsAMessage)
{
    auto uio = open();
    ASSERT_TRUE(uio) << uio.error().message;
    EXPECT_EQ(look(**uio), Uio::Event::kTimeout);
    EXPECT_TRUE(send(kInterrupt));
    EXPECT_EQ(look(**uio), Uio::Event::kInterrupt);
    EXPECT_EQ(look(**uio), Uio::Event::kTimeout);
}

/* An eventfd of the host's has one O_NONBLOCK and one count for both: the
 * host could have the control thread wait in read() for ever. */
TEST_F(UioSocketTest, ADescriptorThatIsNotAMapIsRefused)
{
    FileDescriptor event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    auto uio = open({event.get()});
    ASSERT_FALSE(uio);
    EXPECT_EQ(uio.error().code, EPROTO);
    EXPECT_NE(uio.error().message.find("wrong number of maps"),
              std::string::npos)
        << uio.error().message;
}

/* Interrupts without end neither keep wait() nor hide a wake or the end. */
TEST_F(UioSocketTest, AFloodOfInterruptsHidesNothing)
{
    auto uio = open();
    ASSERT_TRUE(uio) << uio.error().message;
    unsigned sent = 0;
    while (send(kInterrupt)) {
        sent++;
    }
    ASSERT_GT(sent, 100u);
    (*uio)->wake();
    EXPECT_EQ(look(**uio), Uio::Event::kWoken);
    host_ = FileDescriptor();
    unsigned looks = 1;
    while (look(**uio) == Uio::Event::kInterrupt) {
        looks++;
    }
    EXPECT_GT(looks, 1u) << "one wait() read all " << sent;
    EXPECT_LT(looks, sent / 8) << "each one took a wait() of its own";
    EXPECT_EQ(look(**uio), Uio::Event::kRemoved);
}

TEST_F(UioSocketTest, ARescindAndAnythingUnknownIsRemoval)
{
    for (uint32_t type : {kRescind, kHelloReply, 0u}) {
        auto uio = open();
        ASSERT_TRUE(uio) << uio.error().message;
        EXPECT_TRUE(send(kInterrupt));
        EXPECT_TRUE(send(type));
        EXPECT_EQ(look(**uio), Uio::Event::kRemoved);
        EXPECT_EQ(look(**uio), Uio::Event::kRemoved);
    }
}

} // namespace
} // namespace netvsc

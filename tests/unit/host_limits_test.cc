/* What a guest, or a client of the control socket, must not be able to use up
 * or to hold up: the log, descriptors, the host's time. */

#include <algorithm>
#include <filesystem>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "host/base/log.h"
#include "host/base/unix_socket.h"
#include "host/control.h"
#include "host/wires/generator.h"
#include "tests/unit/host_guest.h"
#include "tests/unit/intruder.h"

namespace netvsc::host::test {

namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr int kPatienceMs = 10'000;

/* --- The log ----------------------------------------------------------- */

TEST(HostLogAllowance, SaysHowManyLinesWereLeftOut)
{
    LogAllowance allowance;
    uint64_t now = 1000 * kSecondNs;
    for (uint64_t i = 0; i < LogAllowance::kAtOnce; i++) {
        ASSERT_EQ(allowance.take(now), 0u) << i;
    }
    EXPECT_FALSE(allowance.take(now));
    EXPECT_FALSE(allowance.take(now + kSecondNs / 1000));
    now += kSecondNs;
    EXPECT_EQ(allowance.take(now), 2u);
    for (uint64_t i = 1; i < LogAllowance::kPerSecond; i++) {
        EXPECT_EQ(allowance.take(now), 0u) << i;
    }
    EXPECT_FALSE(allowance.take(now));
    /* A long silence earns no more than there was at first. */
    now += 1'000'000 * kSecondNs;
    EXPECT_EQ(allowance.take(now), 1u);
    for (uint64_t i = 1; i < LogAllowance::kAtOnce; i++) {
        EXPECT_EQ(allowance.take(now), 0u) << i;
    }
    EXPECT_FALSE(allowance.take(now));
}

TEST(HostLog, IsNotFilledByAGuestThatAsksForEver)
{
    constexpr unsigned kQuestions = 3000;
    Guest guest;
    /* Its allowance is its own: other tests log, too. */
    guest.config.guid = "f8615163-0000-1000-2000-00155d00aaaa";
    guest.attach();
    testing::internal::CaptureStderr();
    for (unsigned i = 0; i < kQuestions; i++) {
        (void) guest.control(rndis_query(i, 0x00010106));
        (void) guest.control(rndis_set(i, 0x0001010e, Message().u32(0x20)));
    }
    std::string log = testing::internal::GetCapturedStderr();
    auto lines = std::count(log.begin(), log.end(), '\n');
    EXPECT_GT(lines, 100) << "nothing of it was logged";
    EXPECT_LT(lines, kQuestions);
}

/* --- Sockets ----------------------------------------------------------- */

/* A host whose answer to `list` is as long as a test needs. */
class FakeCommands : public Commands {
public:
    explicit FakeCommands(std::string path) : path_(std::move(path)) {}
    void
    add(const NicConfig &) override
    {
    }
    void
    remove(const std::string &) override
    {
    }
    void
    reoffer(const std::string &) override
    {
    }
    void
    set_link(const std::string &, bool) override
    {
    }
    void
    set_pace(const std::string &, const Pace &) override
    {
    }
    void
    bind(const std::string &, DriverBinding) override
    {
    }
    Json
    list() override
    {
        return answer;
    }
    Json
    stats(const std::string &) override
    {
        return {};
    }
    Json
    stats() override
    {
        return {};
    }
    std::string
    control_path() const override
    {
        return path_;
    }

    std::string answer = "short";

private:
    std::string path_;
};

class HostSockets : public testing::Test {
protected:
    HostSockets()
    {
        std::string name =
            std::filesystem::temp_directory_path() / "netvsc-limits-XXXXXX";
        EXPECT_TRUE(::mkdtemp(name.data()));
        directory_ = name;
    }
    ~HostSockets() override { std::filesystem::remove_all(directory_); }

    std::string
    path() const
    {
        return directory_ / "socket";
    }
    static bool
    readable(int fd, int timeout_ms = 0)
    {
        pollfd state = {fd, POLLIN, 0};
        return poll(&state, 1, timeout_ms) == 1;
    }
    static void
    ask(int fd)
    {
        constexpr std::string_view kQuestion = "[\"list\"]\n";
        EXPECT_EQ(send(fd, kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(kQuestion.size()));
    }
    /* What the server, whose loop runs here, answers on `fd`. */
    static std::string
    answer(EventLoop &loop, int fd)
    {
        std::string text;
        auto deadline = std::chrono::steady_clock::now() +
                        std::chrono::milliseconds(kPatienceMs);
        while (std::chrono::steady_clock::now() < deadline) {
            loop.wait(0);
            char buffer[4096];
            ssize_t size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (size == 0) {
                return text;
            }
            if (size > 0) {
                text.append(buffer, static_cast<size_t>(size));
            }
        }
        ADD_FAILURE() << "no whole answer";
        return text;
    }

private:
    std::filesystem::path directory_;
};

TEST_F(HostSockets, AreTheirOwnersAlone)
{
    mode_t before = umask(0);
    Listener listener(path(), SOCK_STREAM);
    umask(before);
    struct stat status {};
    ASSERT_EQ(stat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(HostSockets, HangUpWhenThereIsNoDescriptorInsteadOfSpinning)
{
    Listener listener(path(), SOCK_STREAM);
    UniqueFd client = connect_to(path(), SOCK_STREAM);
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    std::vector<UniqueFd> rest;
    rlimit few = before;
    few.rlim_cur = static_cast<rlim_t>(client.get()) + 8;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int fd; (fd = dup(client.get())) >= 0;) {
        rest.emplace_back(fd);
    }
    EXPECT_TRUE(readable(listener.fd()));
    EXPECT_FALSE(listener.accept());
    EXPECT_FALSE(readable(listener.fd())) << "the loop would spin";
    char end;
    EXPECT_EQ(recv(client.get(), &end, 1, MSG_DONTWAIT), 0) << "not hung up";
    rest.clear();
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    UniqueFd next = connect_to(path(), SOCK_STREAM);
    EXPECT_TRUE(listener.accept());
}

TEST_F(HostSockets, KeepAFewIdleClientsAndAnswerTheRest)
{
    constexpr size_t kClients = 200;
    FakeCommands host(path());
    EventLoop loop;
    ControlServer server(loop, host);
    std::vector<UniqueFd> clients;
    for (size_t i = 0; i < kClients; i++) {
        clients.push_back(connect_to(path(), SOCK_STREAM));
        loop.wait(0);
    }
    auto kept =
        std::count_if(clients.begin(), clients.end(),
                      [](auto &client) { return !readable(client.get()); });
    EXPECT_EQ(kept, 64);
    UniqueFd operators = connect_to(path(), SOCK_STREAM);
    ask(operators.get());
    EXPECT_EQ(answer(loop, operators.get()), "{\"result\":\"short\"}\n");
    /* The last of them still can. */
    ask(clients.back().get());
    EXPECT_EQ(answer(loop, clients.back().get()), "{\"result\":\"short\"}\n");
}

TEST_F(HostSockets, WaitForNoClientThatDoesNotReadItsAnswer)
{
    FakeCommands host(path());
    host.answer.assign(8 << 20, 'x'); /* No socket holds it. */
    EventLoop loop;
    ControlServer server(loop, host);
    UniqueFd deaf = connect_to(path(), SOCK_STREAM);
    UniqueFd slow = connect_to(path(), SOCK_STREAM);
    ask(deaf.get());
    ask(slow.get());
    /* Would never return. */
    while (!readable(deaf.get()) || !readable(slow.get())) {
        loop.wait(0);
    }
    host.answer = "short";
    UniqueFd other = connect_to(path(), SOCK_STREAM);
    ask(other.get());
    EXPECT_EQ(answer(loop, other.get()), "{\"result\":\"short\"}\n");
    /* Whole, when it does read. */
    EXPECT_EQ(answer(loop, slow.get()).size(),
              (8u << 20) + std::string_view("{\"result\":\"\"}\n").size());
}

/* --- The generator ----------------------------------------------------- */

#ifdef NETVSC_HAS_INTRUDER
/* Whenever the guest writes to the receive buffer, the host neither dies nor
 * believes it: nothing of the buffer is read. */
TEST(HostGenerator, DoesNotReadWhatTheGuestWrites)
{
    constexpr uint32_t kMtu = 1500;
    const size_t suballoc = ReceiveBuffer::suballoc_size_for(kMtu);
    /* In the second sub-allocation, the first one for data. */
    const size_t ip_version_at = suballoc + 256 + 14;
    NicConfig nic = parse_nic("guid=f8615163-0000-1000-2000-00155d00aaab,"
                              "generate=60,control-suballocs=1");
    Agreement agreement;
    agreement.mtu = kMtu;
    Oids oids(nic, agreement, true);
    Sink sink;

    Buffer empty(2 * suballoc);
    auto bytes = std::span(reinterpret_cast<const uint8_t *>(empty.data()),
                           empty.size());
    netvsc::test::Intruder intruder;
    unsigned accesses = 0;
    while (intruder.visit(
        bytes, accesses, ip_version_at, 0xffffffff, [&](auto memory) {
            auto *first = const_cast<uint8_t *>(memory.data());
            Generator generator(nic, sink);
            ReceiveBuffer buffer(nic);
            ASSERT_TRUE(buffer.attach(
                {reinterpret_cast<std::byte *>(first), memory.size()}, kMtu));
            generator.lay_out(buffer, oids, 1, [](uint32_t) { return 0; });
        })) {
        accesses++;
    }
    EXPECT_GT(accesses, 3u);
}
#endif

} // namespace

} // namespace netvsc::host::test

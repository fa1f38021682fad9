/* Attach: every way in which a host can spoil it, and the sentence that the
 * operator reads then. */

#include <functional>
#include <future>
#include <thread>

#include <errno.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/attach.h"

namespace netvsc {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

/* A reply that takes this long is missing; a busy machine must not. */
constexpr std::chrono::milliseconds kMissing{150};

/* --- Missing replies ------------------------------------------------------
 */

/* Runs attaches at the same time: each waits for its deadline. */
std::vector<Error>
attach_all(const std::vector<std::string> &names,
           const std::function<void(Attach *, Reply *)> &spoil)
{
    std::vector<std::future<Error>> running;
    for (const std::string &name : names) {
        running.push_back(std::async(std::launch::async, [&, name] {
            Attach attach;
            attach.deadline = kMissing;
            attach.host.edit = [&](const std::string &request, Reply *reply) {
                if (request == name) {
                    spoil(&attach, reply);
                }
            };
            return attach.run() ? Error{} : attach.error;
        }));
    }
    std::vector<Error> errors;
    for (auto &result : running) {
        errors.push_back(result.get());
    }
    return errors;
}

/* Every request (or every RNDIS one) times out, and the sentence names it. */
void
expect_time_outs(const std::function<void(Attach *, Reply *)> &spoil,
                 bool rndis_only = false)
{
    std::vector<std::string> names, sentences;
    for (const auto &[name, sentence] : kReplies) {
        if (!rndis_only || is_rndis(name)) {
            names.push_back(name);
            sentences.push_back(sentence);
        }
    }
    auto errors = attach_all(names, spoil);
    for (size_t i = 0; i < names.size(); i++) {
        EXPECT_EQ(errors[i].code, ETIMEDOUT) << names[i];
        EXPECT_THAT(errors[i].message,
                    StartsWith("The host did not answer " + sentences[i] +
                               " within 0.15 s: "));
    }
}

TEST(AttachDeadlineTest, EndsTheWaitForEachMissingReply)
{
    expect_time_outs([](Attach *, Reply *reply) {
        reply->completion.clear();
        reply->message.clear();
    });
}

TEST(AttachDeadlineTest, EndsTheWaitForEachMissingRndisAnswer)
{
    expect_time_outs([](Attach *, Reply *reply) { reply->message.clear(); },
                     true);
}

TEST(AttachDeadlineTest, EndsTheWaitForAnAnswerWithAnotherRequestId)
{
    expect_time_outs(
        [](Attach *, Reply *reply) {
            put32(reply->message, 8, get32(reply->message, 8) - 1);
        },
        true);
}

TEST(AttachDeadlineTest, EndsTheWaitForAnAnswerOfAnotherType)
{
    expect_time_outs(
        [](Attach *, Reply *reply) { put32(reply->message, 0, 0x80000008); },
        true);
}

TEST(AttachDeadlineTest, EndsTheWaitForAReplyWithAnotherId)
{
    auto errors = attach_all({"INIT 0x00060001", "RECV_BUF", "SEND_BUF"},
                             [](Attach *, Reply *reply) { reply->id += 1; });
    for (const Error &error : errors) {
        EXPECT_EQ(error.code, ETIMEDOUT);
    }
}

TEST(AttachDeadlineTest, EndsTheWaitForAReplyOfAnEarlierSession)
{
    auto errors =
        attach_all({"INIT 0x00060001", "RECV_BUF", "SEND_BUF"},
                   [](Attach *, Reply *reply) { reply->id -= 1ull << 48; });
    for (const Error &error : errors) {
        EXPECT_EQ(error.code, ETIMEDOUT);
    }
}

TEST(AttachDeadlineTest, AnInbandMessageIsNoReply)
{
    auto errors =
        attach_all({"INIT 0x00060001", "RECV_BUF", "SEND_BUF"},
                   [](Attach *, Reply *reply) { reply->inband = true; });
    for (const Error &error : errors) {
        EXPECT_EQ(error.code, ETIMEDOUT);
    }
}

TEST(AttachDeadlineTest, AControlSectionThatNeverComesBackStopsTheNext)
{
    /* The answer came, the 108 did not: the next message has no section. */
    auto errors =
        attach_all({"INITIALIZE", "QUERY 0x00010106"},
                   [](Attach *, Reply *reply) { reply->completion.clear(); });
    EXPECT_EQ(errors[0].code, ETIMEDOUT);
    EXPECT_THAT(errors[0].message, HasSubstr("QUERY of OID 0x00010106"));
    EXPECT_EQ(errors[1].code, ETIMEDOUT);
    EXPECT_THAT(errors[1].message, HasSubstr("QUERY of OID 0x01010101"));
}

/* Long before the deadline somebody wants to know what is going on. */
TEST(AttachDeadlineTest, AnAnswerThatIsOverdueIsSaidUntilItComes)
{
    Attach attach;
    attach.overdue_after = std::chrono::milliseconds(5);
    std::vector<std::string> said;
    attach.overdue = [&](const std::string &sentence) {
        said.push_back(sentence);
    };
    /* Deaf until it was said, to the first request. */
    attach.uio->set_host([&] {
        if (!said.empty()) {
            attach.host.run();
        }
    });
    ASSERT_TRUE(attach.run()) << attach.error.message;
    ASSERT_GE(said.size(), 2u);
    EXPECT_THAT(said[0],
                AllOf(HasSubstr("has not answered NVSP INIT for 0.005 s: "),
                      HasSubstr("opened anew after 30 s")));
    EXPECT_EQ(said[1], "");
    attach.expect_clean();
}

TEST(AttachDeadlineTest, AHostThatReadsNothingIsNotWaitedForLonger)
{
    Attach attach;
    attach.deadline = std::chrono::milliseconds(20);
    attach.uio->set_host(nullptr);
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, ETIMEDOUT);
    EXPECT_THAT(attach.error.message, HasSubstr("NVSP INIT within 0.02 s"));
}

TEST(AttachDeadlineTest, AHostThatNeverStopsTalkingDoesNotHoldTheThread)
{
    Attach attach;
    attach.deadline = std::chrono::milliseconds(50);
    attach.uio->set_host([&] {
        while (attach.host.in.used() < 8000) {
            attach.host.in.write(inband_packet(nvsp_message({128, 0, 0})));
        }
        attach.uio->interrupt();
    });
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, ETIMEDOUT);
}

/* --- Late and repeated replies --------------------------------------------
 */

TEST(AttachTest, RepeatedRepliesAreCountedAndDoNoHarm)
{
    Attach attach;
    attach.host.edit = [](const std::string &, Reply *reply) {
        reply->completions = 2;
        reply->messages = 2;
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.host.log, kAttach);
    /* Three NVSP replies and eight answers too many; eight 108s. */
    EXPECT_EQ(attach.malformed(Malformed::kReply), 11u);
    EXPECT_EQ(attach.malformed(Malformed::kTransactionId), 8u);
    EXPECT_EQ(attach.malformed(), 19u);
    attach.host.run();
    EXPECT_EQ(attach.host.returned.size(), attach.host.issued);
    EXPECT_EQ(attach.session->send_sections_in_use(), 0u);
    EXPECT_EQ(attach.session->negotiated().mtu, 1500u);
}

TEST(AttachTest, TheAnswerMayComeBeforeTheCompletion)
{
    Attach attach;
    attach.host.edit = [](const std::string &, Reply *reply) {
        reply->message_first = true;
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.host.log, kAttach);
    attach.expect_clean();
}

TEST(AttachTest, AReplyToAnEarlierRequestIsNotTakenForThisOne)
{
    Attach attach;
    Bytes earlier;
    attach.host.edit = [&](const std::string &name, Reply *reply) {
        if (!is_rndis(name)) {
            return;
        }
        if (!earlier.empty()) {
            attach.host.send(earlier, kControl);
        }
        earlier = reply->message;
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.malformed(Malformed::kReply), 7u);
    EXPECT_EQ(attach.session->negotiated().max_rx_queues, 8u);
    attach.host.run();
    EXPECT_EQ(attach.host.returned.size(), attach.host.issued);
}

/* --- Wrong replies --------------------------------------------------------
 */

/* Attaches with one reply changed; the error. */
Error
attach_with(const std::string &name, const std::function<void(Reply *)> &spoil)
{
    Attach attach;
    attach.host.edit = [&](const std::string &request, Reply *reply) {
        if (request == name) {
            spoil(reply);
        }
    };
    if (attach.run()) {
        EXPECT_THAT(attach.host.errors, IsEmpty());
        return {};
    }
    EXPECT_EQ(attach.host.log.back(), name) << "goes on after the refusal";
    return attach.error;
}

TEST(AttachReplyTest, OfAnotherTypeIsRefused)
{
    for (const char *name : {"INIT 0x00060001", "RECV_BUF", "SEND_BUF"}) {
        for (uint32_t type : {0u, 1u, 108u, 133u, ~0u}) {
            Error error = attach_with(name, [&](Reply *reply) {
                put32(reply->completion, 0, type);
            });
            EXPECT_EQ(error.code, EPROTO) << name << " " << type;
            EXPECT_THAT(error.message, StartsWith("The host answered "));
        }
    }
}

TEST(AttachReplyTest, ThatIsEmptyIsRefused)
{
    for (const char *name : {"INIT 0x00060001", "RECV_BUF", "SEND_BUF"}) {
        Error error = attach_with(
            name, [](Reply *reply) { reply->completion.resize(8, 0); });
        /* Eight bytes: the status is missing, or says nothing. */
        if (std::string(name) == "RECV_BUF") {
            EXPECT_THAT(error.message, HasSubstr("sections outside"));
        } else if (std::string(name) == "SEND_BUF") {
            EXPECT_THAT(error.message, HasSubstr("section size"));
        }
    }
}

TEST(AttachReplyTest, WithABadStatusIsRefused)
{
    for (uint32_t status : {0u, 2u, 3u, 6u, ~0u}) {
        for (const char *name : {"RECV_BUF", "SEND_BUF"}) {
            Error error = attach_with(name, [&](Reply *reply) {
                put32(reply->completion, 4, status);
            });
            EXPECT_EQ(error.code, EPROTO);
            EXPECT_THAT(error.message, HasSubstr("with a refusal"));
        }
        Error error = attach_with("INITIALIZE", [&](Reply *reply) {
            put32(reply->message, 12, status ? status : 1);
        });
        EXPECT_EQ(error.code, EPROTO);
        EXPECT_THAT(error.message, HasSubstr("refused RNDIS INITIALIZE"));
    }
}

struct Sections {
    uint32_t sections, offset, size, count;
};

TEST(AttachReplyTest, WithImpossibleReceiveSectionsIsRefused)
{
    for (const Sections &bad :
         std::vector<Sections>{{0, 0, 2048, 100},
                               {2, 0, 2048, 100},
                               {~0u, 0, 2048, 100},
                               {1, 8, 2048, 100},
                               {1, 0, 2048, 0},
                               {1, 0, 2048, 513},
                               {1, 0, (1 << 20) + 1, 1},
                               {1, 0, ~0u, 1},
                               {1, 0, 2048, ~0u},
                               /* Products that are 0 and 2048 in 32 bits. */
                               {1, 0, 0x10000, 0x10000},
                               {1, 0, 2048, 0x200001}}) {
        Error error = attach_with("RECV_BUF", [&](Reply *reply) {
            reply->completion = nvsp_message(
                {102, 1, bad.sections, bad.offset, bad.size, bad.count, 0});
        });
        EXPECT_EQ(error.code, EPROTO) << bad.size << " x " << bad.count;
        EXPECT_THAT(error.message, HasSubstr("sections outside the buffer"));
    }
}

TEST(AttachReplyTest, WithReceiveSectionsTooSmallForRepliesIsRefused)
{
    for (uint32_t size : {0u, 67u, 68u, 255u}) {
        Error error = attach_with("RECV_BUF", [&](Reply *reply) {
            reply->completion = nvsp_message({102, 1, 1, 0, size, 100, 0});
        });
        EXPECT_EQ(error.code, EPROTO) << size;
        EXPECT_THAT(error.message,
                    HasSubstr("sections of " + std::to_string(size) +
                              " bytes, too small"));
    }
}

TEST(AttachReplyTest, WithReceiveSectionsThatJustFitIsTaken)
{
    for (auto [size, count] : std::vector<std::pair<uint32_t, uint32_t>>{
             {2048, 512}, {256, 4096}, {1 << 20, 1}}) {
        Attach attach;
        attach.host.suballoc_size = size;
        attach.host.suballocs = count;
        EXPECT_TRUE(attach.run()) << attach.error.message;
        EXPECT_EQ(attach.session->negotiated().receive_suballocs, count);
    }
}

TEST(AttachReplyTest, WithAnImpossibleSendSectionIsRefused)
{
    for (uint32_t size : {0u, 4u, 68u, 248u, 257u, 6146u, (1u << 19) + 8,
                          1u << 20, 0x80000000u, 0xfffffff8u, ~0u}) {
        Error error = attach_with("SEND_BUF", [&](Reply *reply) {
            put32(reply->completion, 8, size);
        });
        EXPECT_EQ(error.code, EPROTO) << size;
        EXPECT_THAT(error.message, HasSubstr("impossible section size"));
    }
}

TEST(AttachReplyTest, WithAnySendSectionThatWorksIsTaken)
{
    for (uint32_t size : {256u, 1728u, 6144u, 6152u, 1u << 19}) {
        Attach attach;
        attach.host.section_size = size;
        attach.host.values[0x00010106] = u32(9000);
        ASSERT_TRUE(attach.run()) << attach.error.message;
        EXPECT_EQ(attach.session->send_sections(), (1u << 20) / size);
        /* What is too long for a section cannot be sent, nor what is too
         * long for any host. */
        EXPECT_EQ(attach.session->max_mtu(),
                  std::min(9216u - 14, size - 64 - 14));
        EXPECT_EQ(attach.session->mtu(), std::min(1500u, size - 64 - 14));
        attach.expect_clean();
    }
}

TEST(AttachReplyTest, WithMoreSendSectionsThanAnyHostHasIsRefused)
{
    Attach attach({.receive = 1 << 20, .send = size_t{512} << 20});
    attach.host.section_size = 256;
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, EPROTO);
    EXPECT_THAT(attach.error.message, HasSubstr("impossible section size"));
}

TEST(AttachReplyTest, WithAnImpossibleInitializeIsRefused)
{
    /* Byte 36: transfer size; 40: alignment shift. */
    for (auto [at, value] : std::vector<std::pair<size_t, uint32_t>>{
             {36, 0}, {36, 255}, {40, 13}, {40, 32}, {40, 255}, {40, ~0u}}) {
        Error error =
            attach_with("INITIALIZE", [at = at, value = value](Reply *reply) {
                put32(reply->message, at, value);
            });
        EXPECT_EQ(error.code, EPROTO) << at << " " << value;
    }
}

TEST(AttachReplyTest, WithFewPacketsAndSmallTransfersIsTaken)
{
    Attach attach;
    attach.host.edit = [](const std::string &name, Reply *reply) {
        if (name == "INITIALIZE") {
            put32(reply->message, 32, 0);
            put32(reply->message, 36, 256);
            put32(reply->message, 40, 12);
        }
    };
    ASSERT_TRUE(attach.run());
    const Negotiated &n = attach.session->negotiated();
    EXPECT_EQ(n.max_packets_per_message, 1u);
    EXPECT_EQ(n.packet_alignment, 4096u);
    EXPECT_EQ(n.mtu, 256u - 64 - 14);
}

TEST(AttachReplyTest, ThatIsTooShortIsRefused)
{
    for (const auto &[name, sentence] : kReplies) {
        if (!is_rndis(name)) {
            continue;
        }
        size_t least = name == "INITIALIZE"        ? 52
                       : name.starts_with("QUERY") ? 24
                                                   : 16;
        for (size_t size : {size_t{12}, least - 4}) {
            Error error = attach_with(name, [&](Reply *reply) {
                reply->message.resize(size);
                put32(reply->message, 4, static_cast<uint32_t>(size));
            });
            EXPECT_EQ(error.code, EPROTO) << name;
            EXPECT_THAT(error.message,
                        AllOf(HasSubstr(sentence), HasSubstr("too short")));
        }
    }
}

TEST(AttachReplyTest, WithAValueOutsideItsMessageIsRefused)
{
    for (const auto &[name, sentence] : kReplies) {
        if (!name.starts_with("QUERY")) {
            continue;
        }
        /* Byte 16: length; 20: offset from byte 8. */
        for (auto [length, offset] :
             std::vector<std::pair<uint32_t, uint32_t>>{
                 {4, 0},
                 {4, 15},
                 {1000, 16},
                 {4, 1000},
                 {~0u, 16},
                 {4, ~0u},
                 {0xffffffe8, 16}, /* 24 + length is 0 in 32 bits. */
                 {8, 0xfffffff8}}) {
            Error error = attach_with(
                name, [length = length, offset = offset](Reply *reply) {
                    put32(reply->message, 16, length);
                    put32(reply->message, 20, offset);
                });
            EXPECT_EQ(error.code, EPROTO)
                << name << " " << length << " " << offset;
            EXPECT_THAT(error.message,
                        AllOf(HasSubstr(sentence),
                              HasSubstr("a value outside its message")));
        }
    }
}

TEST(AttachReplyTest, WithoutAMacAddressIsRefused)
{
    for (const Bytes &value : {Bytes(), Bytes(5), Bytes(7), Bytes(12)}) {
        Attach attach;
        attach.host.values[0x01010101] = value;
        ASSERT_FALSE(attach.run());
        EXPECT_EQ(attach.error.code, EPROTO);
        EXPECT_THAT(attach.error.message, HasSubstr("MAC address"));
    }
    Attach attach;
    attach.host.values.erase(0x01010101);
    ASSERT_FALSE(attach.run());
    EXPECT_THAT(attach.error.message, HasSubstr("MAC address"));
}

TEST(AttachReplyTest, WithAnAddressOfNoStationIsRefused)
{
    for (const auto &[value, text] :
         std::vector<std::pair<Bytes, std::string>>{
             {{0, 0, 0, 0, 0, 0}, "00:00:00:00:00:00"},
             {{1, 0, 0x5e, 0, 0, 1}, "01:00:5e:00:00:01"},
             {{255, 255, 255, 255, 255, 255}, "ff:ff:ff:ff:ff:ff"}}) {
        Attach attach;
        attach.host.values[0x01010101] = value;
        ASSERT_FALSE(attach.run());
        EXPECT_EQ(attach.error.code, EPROTO);
        EXPECT_THAT(attach.error.message,
                    AllOf(HasSubstr("MAC address " + text),
                          HasSubstr("give the adapter another one")));
    }
}

TEST(AttachReplyTest, ThatRefusesTheOffloadsIsToldWithItsStatus)
{
    Error error = attach_with("SET 0xfc01020c", [](Reply *reply) {
        put32(reply->message, 12, 0xc0010015);
    });
    EXPECT_EQ(error.code, EPERM);
    EXPECT_THAT(error.message,
                AllOf(HasSubstr("refused RNDIS SET of OID 0xfc01020c"),
                      HasSubstr("status 0xc0010015")));
}

/* --- The end in the middle ------------------------------------------------
 */

TEST(AttachEndTest, RemovalAtAnyStepEndsTheAttach)
{
    for (const auto &reply_to : kReplies) {
        const std::string &name = reply_to.first;
        Attach attach;
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
                attach.uio->remove();
            }
        };
        ASSERT_FALSE(attach.run()) << name;
        EXPECT_EQ(attach.error.code, ENODEV);
        EXPECT_EQ(attach.error.message, "The host took the device away.");
        EXPECT_EQ(attach.host.log.back(), name);
    }
}

TEST(AttachEndTest, CancellationAtAnyStepEndsTheAttach)
{
    for (const auto &reply_to : kReplies) {
        const std::string &name = reply_to.first;
        Attach attach;
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
                attach.cancelled = true;
                attach.uio->wake();
            }
        };
        ASSERT_FALSE(attach.run()) << name;
        EXPECT_EQ(attach.error.code, ECANCELED);
        EXPECT_EQ(attach.host.log.back(), name);
    }
}

TEST(AttachEndTest, CancellationFromAnotherThreadEndsTheWait)
{
    Attach attach;
    attach.uio->set_host(nullptr);
    std::thread thread([&] {
        attach.cancelled = true;
        attach.uio->wake();
    });
    EXPECT_FALSE(attach.run());
    thread.join();
    EXPECT_EQ(attach.error.code, ECANCELED);
}

TEST(AttachEndTest, ABrokenReceiveRingAtAnyStepEndsTheAttach)
{
    for (const auto &reply_to : kReplies) {
        const std::string &name = reply_to.first;
        Attach attach;
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
                attach.host.in.set(kWriteIndex, 0xffffffff);
                attach.uio->interrupt();
            }
        };
        ASSERT_FALSE(attach.run()) << name;
        EXPECT_EQ(attach.error.code, EIO);
        EXPECT_THAT(attach.error.message,
                    AllOf(StartsWith("The host wrote an impossible index"),
                          HasSubstr("receive ring")));
        EXPECT_EQ(attach.host.log.back(), name);
    }
}

TEST(AttachEndTest, ABrokenSendRingEndsTheAttach)
{
    Attach attach;
    attach.host.edit = [&](const std::string &request, Reply *reply) {
        if (request == "RECV_BUF") {
            reply->completion.clear();
            attach.uio->interrupt();
        }
    };
    attach.uio->set_host([&] {
        attach.host.run();
        if (attach.host.log.back() == "RECV_BUF") {
            attach.host.out.set(kReadIndex, 0xffffffff);
        }
    });
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, EIO);
    EXPECT_THAT(attach.error.message, HasSubstr("send ring"));
}

} // namespace
} // namespace netvsc

/* A device, a scripted host and the session between them: what the tests of
 * attach, detach and a whole session start from.
 *
 * Mostly the host runs on the driver's thread, whenever the driver waits, so
 * a test takes no time unless it is about a deadline. */

#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "driver/session.h"
#include "tests/unit/scripted_host.h"

namespace netvsc::test {

/* Of the sessions. */
inline constexpr uint16_t kAttachGeneration = 3;

/* What an attach sends, in order (D.4, F.2). */
inline const std::vector<std::string> kAttach = {
    "INIT 0x00060001",  "NDIS_CONFIG",      "NDIS_VERSION",
    "RECV_BUF",         "SEND_BUF",         "INITIALIZE",
    "QUERY 0x00010106", "QUERY 0x01010101", "QUERY 0xfc01020d",
    "SET 0xfc01020c",   "QUERY 0x00010114", "QUERY 0x00010107",
    "QUERY 0x00010203"};

/* Those of them that have a reply, and what the driver calls them. */
inline const std::vector<std::pair<std::string, std::string>> kReplies = {
    {"INIT 0x00060001", "NVSP INIT"},
    {"RECV_BUF", "SEND_RECV_BUF"},
    {"SEND_BUF", "SEND_SEND_BUF"},
    {"INITIALIZE", "RNDIS INITIALIZE"},
    {"QUERY 0x00010106", "RNDIS QUERY of OID 0x00010106"},
    {"QUERY 0x01010101", "RNDIS QUERY of OID 0x01010101"},
    {"QUERY 0xfc01020d", "RNDIS QUERY of OID 0xfc01020d"},
    {"SET 0xfc01020c", "RNDIS SET of OID 0xfc01020c"},
    {"QUERY 0x00010114", "RNDIS QUERY of OID 0x00010114"},
    {"QUERY 0x00010107", "RNDIS QUERY of OID 0x00010107"},
    {"QUERY 0x00010203", "RNDIS QUERY of OID 0x00010203"}};

inline bool
is_rndis(const std::string &name)
{
    return name == "INITIALIZE" || name.starts_with("QUERY") ||
           name.starts_with("SET");
}

/* A device, its host, and the session that is attached to it. */
class Attach {
public:
    explicit Attach(const MapSizes &sizes = {.receive = 1 << 20,
                                             .send = 1 << 20},
                    std::optional<uint32_t> monitor_id = 35)
        : uio(std::make_shared<FakeUio>(sizes)), host(uio.get(), monitor_id)
    {
        info.relid = 21;
        info.monitor_id = monitor_id;
        for (unsigned i = 0; i < wire::kUioMaps; i++) {
            info.maps[i].size = uio->map(i).size();
        }
        info.receive_gpadl = 0xe1e11;
        info.send_gpadl = 0xe1e12;
        uio->set_host([this] { host.run(); });
    }

    bool
    run(uint32_t mtu = 1500)
    {
        Session::Options options;
        options.mtu = mtu;
        options.generation = kAttachGeneration;
        options.reply_deadline = deadline;
        options.overdue_after = overdue_after;
        options.overdue = overdue;
        auto attached = Session::attach(uio, info, options, &cancelled);
        if (attached) {
            session = *attached;
            return true;
        }
        error = attached.error();
        return false;
    }
    /* All is well: nothing lent, nothing refused. */
    void
    expect_clean()
    {
        host.run(); /* Takes the last completion. */
        EXPECT_THAT(host.errors, testing::IsEmpty());
        EXPECT_EQ(host.returned.size(), host.issued);
        EXPECT_EQ(session->send_sections_in_use(), 0u);
        EXPECT_EQ(malformed(), 0u);
    }
    uint64_t
    malformed()
    {
        return session->statistics().all_malformed();
    }
    uint64_t
    malformed(Malformed cause)
    {
        return session->statistics().malformed[static_cast<unsigned>(cause)];
    }
    /* The bytes of the request of this name. */
    Bytes
    request(const std::string &name)
    {
        for (size_t i = 0; i < host.log.size(); i++) {
            if (host.log[i] == name) {
                return host.requests[i];
            }
        }
        ADD_FAILURE() << "no " << name;
        return Bytes(64);
    }

    std::shared_ptr<FakeUio> uio;
    ScriptedHost host;
    DeviceInfo info;
    std::chrono::milliseconds deadline{30000};
    std::chrono::milliseconds overdue_after{30000};
    HostRequests::Overdue overdue;
    std::atomic<bool> cancelled{false};
    std::shared_ptr<Session> session;
    Error error;
};

} // namespace netvsc::test

/* A host by the book for the attach of one session, which a test can make
 * deviate at any request.  Written from the reference's offsets alone. */

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/unit/fake_uio.h"
#include "tests/unit/far_ring.h"

namespace netvsc::test {

/* What the host says to one request. */
struct Reply {
    uint64_t id = 0;  /* Of the request's packet. */
    Bytes completion; /* NVSP reply; 108 for an RNDIS message. */
    unsigned completions = 1;
    bool inband = false; /* Wrongly not a completion packet. */
    Bytes message;       /* RNDIS answer, if any. */
    unsigned messages = 1;
    bool message_first = false;
};

class ScriptedHost {
public:
    /* `monitor_id`: how the guest signals; nothing: by irq_control. */
    ScriptedHost(FakeUio *uio, std::optional<uint32_t> monitor_id);

    /* Handles what the guest sent, if it signalled. */
    void run();

    /* --- Script --- */

    uint32_t newest_version = 0x60001;
    uint32_t suballoc_size = 2048, suballocs = 100;
    uint32_t section_size = 4096;
    unsigned data_delay = 0; /* Runs before a data message is completed. */
    /* Answers to queries; other OIDs are not supported. */
    std::map<uint32_t, Bytes> values;
    /* Changes the reply to the request of this name, as in `log`. */
    std::function<void(const std::string &, Reply *)> edit;

    /* --- What happened --- */

    /* Names of the requests in order: "INIT 0x00060001", "RECV_BUF",
     * "QUERY 0x00010106", "HALT" and so on. */
    std::vector<std::string> log;
    /* The bytes: NVSP payloads, and for RNDIS the message itself. */
    std::vector<Bytes> requests;
    /* Data messages: the bytes in their section; completed after data_delay.
     */
    std::vector<Bytes> data;
    std::vector<uint64_t> returned;  /* Receive completions: ids. */
    std::vector<uint64_t> ids;       /* Of the packets with a completion. */
    std::vector<std::string> errors; /* What no guest may do. */
    unsigned issued = 0;             /* Transfer packets. */

    /* Puts an RNDIS message in the receive buffer and sends it. */
    void send(const Bytes &message, uint32_t channel_type);

    FarRing out, in;

private:
    bool signalled();
    void handle(const Bytes &packet);
    void handle_rndis(uint64_t id, const Bytes &payload);
    void answer(const std::string &name, const Bytes &request, Reply reply);
    Bytes rndis_answer(const Bytes &message);
    void expect(bool condition, const std::string &what);

    FakeUio *uio_;
    std::optional<uint32_t> monitor_id_;
    unsigned next_suballoc_ = 0;
    struct Late {
        uint64_t id;
        unsigned runs;
    };
    std::vector<Late> late_;
};

/* A 32-bit answer. */
Bytes u32(uint32_t value);

} // namespace netvsc::test

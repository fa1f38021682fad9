/* A guest for the host's unit tests: the other end of a channel, written from
 * literal offsets of the reference and sharing no code with host/ or wire/.
 *
 * Everything runs on one thread: the test writes what a guest would write,
 * lets the session serve, and looks at what came back. */

#pragma once

#include <cstring>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "host/netvsp/netvsp.h"
#include "host/wires/generator_backend.h"

namespace netvsc::host::test {

using Buffer = std::vector<std::byte>;

/* Bytes from text: hexadecimal, blanks ignored. */
Buffer from_hex(const std::string &text);
std::string to_hex(Bytes bytes);

/* A message that grows field by field. */
class Message {
public:
    Message &
    u8(uint8_t value)
    {
        return put(&value, sizeof value);
    }
    Message &
    u16(uint16_t value)
    {
        return put(&value, sizeof value);
    }
    Message &
    u32(uint32_t value)
    {
        return put(&value, sizeof value);
    }
    Message &
    u64(uint64_t value)
    {
        return put(&value, sizeof value);
    }
    Message &
    bytes(Bytes value)
    {
        return put(value.data(), value.size());
    }
    Message &
    zeros(size_t count)
    {
        bytes_.resize(bytes_.size() + count);
        return *this;
    }
    operator Bytes() const { return bytes_; }
    const Buffer &
    buffer() const
    {
        return bytes_;
    }

private:
    Message &
    put(const void *data, size_t size)
    {
        auto first = static_cast<const std::byte *>(data);
        bytes_.insert(bytes_.end(), first, first + size);
        return *this;
    }
    Buffer bytes_;
};

/* What the RNDIS layer of a test sends. */
Message rndis_initialize(uint32_t id);
Message rndis_query(uint32_t id, uint32_t oid, Bytes input = {});
Message rndis_set(uint32_t id, uint32_t oid, Bytes input);
Message rndis_halt(uint32_t id);
/* A PACKET with its per-packet info, padded by `padding` bytes. */
Message rndis_packet(Bytes frame, Bytes info = {}, uint32_t padding = 0);
/* A per-packet info element with four bytes of data. */
Message info_element(uint32_t type, uint32_t value);

/* A frame of `size` bytes that the filter 0x20 lets through. */
Buffer plain_frame(size_t size, uint8_t fill = 0x5a);

/* A packet that the host wrote, trailer included. */
struct HostPacket {
    Buffer bytes;
    uint32_t position = 0;
    uint16_t type = 0;
    uint64_t trans_id = 0;
    Buffer payload;
};

/* The guest's ends of rings in shared memory: `header` is what a packet's type
 * has between descriptor and payload. */
void write_packet(MutableBytes ring, uint16_t type, uint64_t trans_id,
                  uint16_t flags, Bytes header, Bytes payload);
std::optional<HostPacket> read_packet(MutableBytes ring);

/* Memory of a guest whose page numbers index it. */
class ArrayMemory : public GuestMemory {
public:
    Buffer bytes = Buffer(64 * 1024);
    bool read(std::span<const GpaPiece> pieces, MutableBytes to) override;
};

/* A channel on plain memory, as the kernel leaves one that it opens. */
class FakeLink : public ChannelLink {
public:
    explicit FakeLink(size_t ring_data = 8 * 4096);

    MutableBytes
    to_host_ring() override
    {
        return {to_host_.get(), ring_size_};
    }
    MutableBytes
    to_guest_ring() override
    {
        return {to_guest_.get(), ring_size_};
    }
    void
    interrupt() override
    {
        interrupts++;
    }
    bool
    take_signal() override
    {
        return false;
    }
    uint64_t
    signal_interval_ns() override
    {
        return 1000;
    }

    unsigned interrupts = 0;

private:
    size_t ring_size_;
    std::unique_ptr<std::byte[]> to_host_;
    std::unique_ptr<std::byte[]> to_guest_;
};

/* The seam to the host, and the primary channel. */
class FakeFrontEnd : public FrontEnd, public FakeLink {
public:
    using FakeLink::FakeLink;

    MutableBytes gpadl(uint32_t handle) override;
    GuestMemory &
    memory() override
    {
        return gpa;
    }
    void
    offer_subchannels(uint32_t count) override
    {
        offered += count;
    }

    ArrayMemory gpa;
    uint32_t offered = 0;
    Buffer receive = Buffer(128 * 1024);
    Buffer send = Buffer(8 * 6144);

    static constexpr uint32_t kReceiveGpadl = 71;
    static constexpr uint32_t kSendGpadl = 72;
};

/* A wire whose frames the test puts in and takes out. */
class FakeBackend : public Backend {
public:
    std::optional<WireFrame> receive() override;
    bool transmit(Bytes frame, bool checksum_good) override;
    int
    event_fd() const override
    {
        return -1;
    }

    std::deque<Buffer> waiting;
    bool waiting_are_good = false;
    bool refuses = false;
    std::vector<Buffer> sent;
    std::vector<bool> sent_good;

private:
    Buffer current_;
};

/* One session and its guest. */
class Guest {
public:
    explicit Guest(const std::string &config = "",
                   size_t ring_data = 8 * 4096);

    /* --- The guest's end of the rings --- */

    void
    write(uint16_t type, uint64_t trans_id, uint16_t flags, Bytes header,
          Bytes payload)
    {
        write_packet(front_end.to_host_ring(), type, trans_id, flags, header,
                     payload);
    }
    void
    inband(uint64_t trans_id, Bytes payload, bool completion = true)
    {
        write(6, trans_id, completion ? 1 : 0, {}, payload);
    }
    std::optional<HostPacket>
    read()
    {
        return read_packet(front_end.to_guest_ring());
    }
    /* Serves until nothing is left to do. */
    void serve();
    /* The reply to a request: its payload, or empty. */
    Buffer request(uint64_t trans_id, Bytes payload);

    uint32_t &to_host_word(size_t at);
    uint32_t &to_guest_word(size_t at);

    /* --- Whole steps --- */

    void init(uint32_t version = 0x00060001);
    void ndis(uint32_t mtu = 1514);
    Buffer receive_buffer();
    Buffer send_buffer();
    /* All of the above, RNDIS INITIALIZE and the filter. */
    void attach(uint32_t filter = 0x20);
    /* Sends a control message in section 0 and returns the RNDIS answer after
     * its completion; takes and completes everything that comes. */
    Buffer control(Bytes message);
    /* Sends a data message in section `section` and returns the status. */
    uint32_t data(Bytes message, uint32_t section = 1);
    /* RNDIS messages of all transfer packets that wait, completed. */
    std::vector<Buffer> receive();
    void complete_transfer(uint64_t trans_id);

    NicConfig config;
    FakeFrontEnd front_end;
    FakeBackend backend;
    Counters counters;
    /* Instead of `backend`, with generate= in the options. */
    std::optional<GeneratorBackend> generator;
    std::optional<NetVsp> session;
    uint64_t now_ns = 1; /* The host's clock. */

private:
    uint64_t next_id_ = 100;
};

} // namespace netvsc::host::test

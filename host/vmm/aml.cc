#include "host/vmm/aml.h"

#include <cassert>

namespace netvsc::host::vmm::aml {

namespace {

/* Opcodes; Device has a prefix. */
constexpr uint8_t kZero = 0x00;
constexpr uint8_t kOne = 0x01;
constexpr uint8_t kName = 0x08;
constexpr uint8_t kByte = 0x0a;
constexpr uint8_t kWord = 0x0b;
constexpr uint8_t kDword = 0x0c;
constexpr uint8_t kString = 0x0d;
constexpr uint8_t kScope = 0x10;
constexpr uint8_t kBuffer = 0x11;
constexpr uint8_t kPackage = 0x12;
constexpr uint8_t kExtended = 0x5b;
constexpr uint8_t kDevice = 0x82;

/* Resource descriptors: small ones have their length in the tag. */
constexpr uint8_t kIrqTag = 0x22;
constexpr uint8_t kIoTag = 0x47;
constexpr uint8_t kEndTag = 0x79;
constexpr uint8_t kDwordSpaceTag = 0x87;

void
put(Term &to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to.push_back(static_cast<std::byte>(value >> 8 * i));
    }
}

void
put(Term &to, std::string_view text)
{
    for (char c : text) {
        to.push_back(static_cast<std::byte>(c));
    }
}

void
put(Term &to, const Term &term)
{
    to.insert(to.end(), term.begin(), term.end());
}

/* A term that starts with its length, which counts itself: one byte up to 63,
 * else the top two bits of the first say how many bytes follow it and its
 * low four are the lowest of the length. */
Term
with_length(const Term &body)
{
    Term term;
    size_t size = body.size() + 1;
    if (size < 64) {
        put(term, size, 1);
    } else {
        size = body.size() + 2;
        assert(size < 4096);
        put(term, (size & 0xf) | 1 << 6, 1);
        put(term, size >> 4, 1);
    }
    put(term, body);
    return term;
}

Term
named_block(std::string_view segment, std::initializer_list<Term> terms)
{
    Term body;
    put(body, segment);
    put(body, concat(terms));
    return with_length(body);
}

} // namespace

Term
concat(std::initializer_list<Term> terms)
{
    Term all;
    for (const Term &term : terms) {
        put(all, term);
    }
    return all;
}

Term
integer(uint32_t value)
{
    Term term;
    if (value <= 1) {
        put(term, value ? kOne : kZero, 1);
    } else if (value <= 0xff) {
        put(term, kByte, 1);
        put(term, value, 1);
    } else if (value <= 0xffff) {
        put(term, kWord, 1);
        put(term, value, 2);
    } else {
        put(term, kDword, 1);
        put(term, value, 4);
    }
    return term;
}

Term
string(std::string_view text)
{
    Term term;
    put(term, kString, 1);
    put(term, text);
    put(term, 0, 1);
    return term;
}

Term
eisa_id(std::string_view id)
{
    assert(id.size() == 7);
    auto letter = [&](size_t at) { return (id[at] - 'A' + 1) & 0x1f; };
    auto digit = [&](size_t at) {
        return id[at] <= '9' ? id[at] - '0' : id[at] - 'A' + 10;
    };
    /* Three letters of five bits and four digits, most significant first in
     * memory. */
    int vendor = letter(0) << 10 | letter(1) << 5 | letter(2);
    Term term;
    put(term, kDword, 1);
    put(term, static_cast<uint64_t>(vendor) >> 8, 1);
    put(term, static_cast<uint64_t>(vendor), 1);
    put(term, static_cast<uint64_t>(digit(3) << 4 | digit(4)), 1);
    put(term, static_cast<uint64_t>(digit(5) << 4 | digit(6)), 1);
    return term;
}

Term
package(std::initializer_list<Term> elements)
{
    Term body;
    put(body, elements.size(), 1);
    put(body, concat(elements));
    Term term;
    put(term, kPackage, 1);
    put(term, with_length(body));
    return term;
}

Term
name(std::string_view segment, const Term &value)
{
    Term term;
    put(term, kName, 1);
    put(term, segment);
    put(term, value);
    return term;
}

Term
scope(std::string_view segment, std::initializer_list<Term> terms)
{
    Term term;
    put(term, kScope, 1);
    put(term, named_block(segment, terms));
    return term;
}

Term
device(std::string_view segment, std::initializer_list<Term> terms)
{
    Term term;
    put(term, kExtended, 1);
    put(term, kDevice, 1);
    put(term, named_block(segment, terms));
    return term;
}

Term
io_ports(uint16_t first, uint8_t count)
{
    Term term;
    put(term, kIoTag, 1);
    put(term, 1, 1); /* Decodes 16 bits. */
    put(term, first, 2);
    put(term, first, 2);
    put(term, 1, 1); /* Alignment. */
    put(term, count, 1);
    return term;
}

Term
irq(unsigned line)
{
    Term term;
    put(term, kIrqTag, 1);
    put(term, 1u << line, 2);
    return term;
}

Term
memory_window(uint32_t first, uint32_t last)
{
    Term term;
    put(term, kDwordSpaceTag, 1);
    put(term, 23, 2);  /* Bytes that follow. */
    put(term, 0, 1);   /* Memory. */
    put(term, 0xc, 1); /* Produced for children, both ends fixed. */
    put(term, 0x3, 1); /* Cacheable, writable. */
    put(term, 0, 4);   /* Granularity. */
    put(term, first, 4);
    put(term, last, 4);
    put(term, 0, 4); /* No translation. */
    put(term, uint64_t{last} - first + 1, 4);
    return term;
}

Term
resources(std::initializer_list<Term> descriptors)
{
    Term bytes = concat(descriptors);
    put(bytes, kEndTag, 1);
    put(bytes, 0, 1); /* No checksum. */

    Term body = integer(static_cast<uint32_t>(bytes.size()));
    put(body, bytes);
    Term term;
    put(term, kBuffer, 1);
    put(term, with_length(body));
    return term;
}

} // namespace netvsc::host::vmm::aml

/* Checks that every wire structure has exactly the published layout.
 *
 * A wire header states each size and offset twice: once by the members, once
 * by the literal of the reference.  The compiler compares them. */

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/* All of VMBus, NVSP and RNDIS is little-endian; both supported machines
 * (amd64, arm64) are, so wire structures are used as they are. */
static_assert(std::endian::native == std::endian::little,
              "wire structures are little-endian");

#define NETVSC_WIRE_SIZE(TYPE, SIZE)                                          \
    static_assert(sizeof(TYPE) == (SIZE), #TYPE " must be " #SIZE " bytes");  \
    static_assert(std::is_trivially_copyable_v<TYPE>)

#define NETVSC_WIRE_AT(TYPE, MEMBER, OFFSET)                                  \
    static_assert(offsetof(TYPE, MEMBER) == (OFFSET),                         \
                  #TYPE "." #MEMBER " must be at " #OFFSET)

/* Copies of frames: for short ones, which are most of them where the packet
 * rate matters, a call of memcpy() costs more than the copy. */

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "driver/range.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A vector that every x86-64 has. */
typedef uint64_t netvsc_vector __attribute__((vector_size(16)));

/* Copies `size` bytes if they are 32 to 64, in four vectors of which the last
 * two end with the frame; false otherwise. */
static inline bool
netvsc_copy_short(uint8_t *to, const uint8_t *from, uint32_t size)
{
    enum { N = sizeof(netvsc_vector) };
    netvsc_vector v[4];

    if (!netvsc_in_range(size, 2 * N, 2 * N + 1)) {
        return false;
    }
    memcpy(&v[0], from, N);
    memcpy(&v[1], from + N, N);
    memcpy(&v[2], from + size - 2 * N, N);
    memcpy(&v[3], from + size - N, N);
    memcpy(to, &v[0], N);
    memcpy(to + N, &v[1], N);
    memcpy(to + size - 2 * N, &v[2], N);
    memcpy(to + size - N, &v[3], N);
    return true;
}

#ifdef __cplusplus
}
#endif

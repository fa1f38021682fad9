/* A number between two limits, with one comparison. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether `value` is one of the `count` numbers from `first` on.  What is
 * below `first` wraps around and is refused as well. */
static inline bool
netvsc_in_range(uint32_t value, uint32_t first, uint32_t count)
{
    return value - first < count;
}

#ifdef __cplusplus
}
#endif

/* What type=netvsc does in OVS's datapath for a burst: the glue of lib/ and
 * OVS's packets (C), for the bench (C++). */

#pragma once

#include <stdint.h>

#include "lib/netvsc-abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct netvsc_pool;

struct netvsc_pool *bench_pool_create(void);
void bench_pool_destroy(struct netvsc_pool *);

/* Receives a burst and deletes its packets, as rxq_recv() and the datapath
 * do.  Returns how many. */
unsigned bench_receive(struct netvsc_rx_queue *, struct netvsc_pool *);

/* The same; `show` sees each packet before. */
unsigned bench_receive_shown(struct netvsc_rx_queue *, struct netvsc_pool *,
                             void (*show)(void *aux, const uint8_t *data,
                                          uint32_t size),
                             void *aux);

/* Packets with these bytes, for bench_send(). */
void bench_prepare(struct netvsc_pool *, const struct netvsc_tx_frame *,
                   unsigned n);

/* Sends and deletes the prepared packets, as the send() of the netdev does,
 * then polls the receive queue, where completions are.  Returns 0 or why not
 * all were taken. */
int bench_send(struct netvsc_port *, struct netvsc_rx_queue *,
               struct netvsc_pool *);

/* Receives a burst, sends its packets and deletes them, as a datapath with one
 * port does.  Returns how many came. */
unsigned bench_forward(struct netvsc_port *, struct netvsc_rx_queue *,
                       struct netvsc_pool *);

#ifdef __cplusplus
}
#endif

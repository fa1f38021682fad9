/* What the packet tests (C++) need to know of OVS's packets (C). */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dp_packet;
struct netvsc_pool;
struct netvsc_port;
struct netvsc_rx_queue;

struct netvsc_pool *probe_pool_create(void);
/* The kinds of pools, best first, by number. */
size_t probe_n_pool_kinds(void);
const char *probe_pool_kind_name(size_t kind);
struct netvsc_pool *probe_pool_create_kind(size_t kind);
void probe_pool_retire(struct netvsc_pool *);
size_t probe_pool_sweep(void);
struct dp_packet *probe_new_packet(struct netvsc_pool *, size_t size);

bool probe_from_pool(const struct dp_packet *);
uint8_t *probe_data(const struct dp_packet *);
size_t probe_size(const struct dp_packet *);
size_t probe_headroom(const struct dp_packet *);
size_t probe_tailroom(const struct dp_packet *);
void probe_put(struct dp_packet *, const void *data, size_t size);
void probe_push_zeros(struct dp_packet *, size_t size);
/* Every member that a packet's user may change is something else. */
void probe_soil(struct dp_packet *);
/* Whether the packet of a pool, but for its metadata, is as OVS makes one. */
bool probe_is_new(const struct dp_packet *);
void probe_make_ip(struct dp_packet *); /* No Ethernet header. */
bool probe_rss(const struct dp_packet *, uint32_t *hash);
bool probe_ip_checksum_is_good(const struct dp_packet *);
bool probe_l4_checksum_is_good(const struct dp_packet *);
bool probe_l4_checksum_is_bad(const struct dp_packet *);

/* Deletes by dp_packet_delete(), or all in one call of our own. */
void probe_delete(struct dp_packet *);
void probe_delete_all(struct dp_packet *const *packets, size_t n);

/* netvsc_receive() into `packets`, an array of 32; returns how many. */
size_t probe_receive(struct netvsc_rx_queue *, struct netvsc_pool *,
                     struct dp_packet **packets);

/* netvsc_send(); the packets stay the caller's. */
int probe_send(struct netvsc_port *, int queue,
               struct dp_packet *const *packets, size_t n);

#ifdef __cplusplus
}
#endif

#include <config.h>

#include "tests/bench/netvsc_packets.h"

#include "lib/netdev-netvsc-packets.h"
#include "lib/netdev-netvsc-pool.h"

#include "dp-packet.h"

/* One thread uses all of this. */
static struct dp_packet_batch prepared;

struct netvsc_pool *
bench_pool_create(void)
{
    return netvsc_pool_create();
}

void
bench_pool_destroy(struct netvsc_pool *pool)
{
    netvsc_pool_retire(pool);
    netvsc_pool_sweep();
}

unsigned
bench_receive(struct netvsc_rx_queue *queue, struct netvsc_pool *pool)
{
    struct dp_packet_batch batch;
    unsigned n;

    dp_packet_batch_init(&batch);
    if (netvsc_receive(queue, pool, &batch)) {
        return 0;
    }
    n = dp_packet_batch_size(&batch);
    netvsc_packets_delete(&batch);
    return n;
}

unsigned
bench_receive_shown(struct netvsc_rx_queue *queue, struct netvsc_pool *pool,
                    void (*show)(void *aux, const uint8_t *data,
                                 uint32_t size),
                    void *aux)
{
    struct dp_packet_batch batch;
    struct dp_packet *packet;
    unsigned n;

    dp_packet_batch_init(&batch);
    if (netvsc_receive(queue, pool, &batch)) {
        return 0;
    }
    DP_PACKET_BATCH_FOR_EACH (i, packet, &batch) {
        show(aux, dp_packet_data(packet), dp_packet_size(packet));
    }
    n = dp_packet_batch_size(&batch);
    netvsc_packets_delete(&batch);
    return n;
}

void
bench_prepare(struct netvsc_pool *pool, const struct netvsc_tx_frame *frames,
              unsigned n)
{
    dp_packet_batch_init(&prepared);
    for (unsigned i = 0; i < n; i++) {
        struct dp_packet *packet =
            netvsc_pool_new_packet(pool, frames[i].size);

        dp_packet_put(packet, frames[i].data, frames[i].size);
        dp_packet_batch_add(&prepared, packet);
    }
}

int
bench_send(struct netvsc_port *port, struct netvsc_rx_queue *queue,
           struct netvsc_pool *pool)
{
    struct dp_packet_batch batch;
    int error = netvsc_send(port, 0, &prepared);

    netvsc_packets_delete(&prepared);
    dp_packet_batch_init(&batch);
    if (!netvsc_receive(queue, pool, &batch)) {
        netvsc_packets_delete(&batch);
    }
    return error;
}

unsigned
bench_forward(struct netvsc_port *port, struct netvsc_rx_queue *queue,
              struct netvsc_pool *pool)
{
    struct dp_packet_batch batch;
    unsigned n;

    dp_packet_batch_init(&batch);
    if (netvsc_receive(queue, pool, &batch)) {
        return 0;
    }
    n = dp_packet_batch_size(&batch);
    /* What was not taken is counted by the port. */
    (void) netvsc_send(port, 0, &batch);
    netvsc_packets_delete(&batch);
    return n;
}

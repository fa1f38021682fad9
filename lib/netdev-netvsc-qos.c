#include <config.h>

#include "lib/netdev-netvsc-qos.h"

#include <errno.h>
#include <limits.h>

#include "dp-packet.h"
#include "openvswitch/thread.h"
#include "openvswitch/token-bucket.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "sat-math.h"
#include "smap.h"
#include "sset.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(netdev_netvsc_qos);

#define EGRESS_POLICER "egress-policer"

/* Bursts that ovs-vswitchd.conf.db(5) promises when none is configured. */
#define DEFAULT_KBITS_BURST 8000
#define DEFAULT_KPKTS_BURST 16

/* OVS's buckets are filled once a millisecond.  One that holds less than two
 * such fillings would spill part of them. */
#define LEAST_BURST_MS 2

/* More than any link carries, and free of overflows below. */
#define MOST_BYTES (UINT64_MAX / 2000)

/* One direction's limit, immutable but for the buckets. */
struct netvsc_policer {
    /* As configured; a rate of 0 does not limit. */
    uint64_t bytes_rate, bytes_burst; /* Bytes a second, bytes. */
    uint32_t kpkts_rate, kpkts_burst; /* Packets a ms, thousands. */

    unsigned int scale; /* Tokens in a byte. */

    /* Queues share the buckets.  What is done under the lock is short. */
    struct ovs_spin lock;
    struct token_bucket bytes OVS_GUARDED;
    struct token_bucket packets OVS_GUARDED;
};

/* Tokens are counted in 32 bits.  Thousandths of a byte make every rate
 * exact; bits are exact for rates in kbit/s and hold 512 MiB. */
static unsigned int
netvsc_token_scale(uint64_t bytes)
{
    return bytes <= UINT_MAX / 1000 ? 1000 : 8;
}

/* What the bucket holds, in bytes. */
static uint64_t
netvsc_burst(const struct netvsc_policer *policer)
{
    return MAX(policer->bytes_burst,
               policer->bytes_rate / 1000 * LEAST_BURST_MS);
}

static struct netvsc_policer *
netvsc_policer_create(uint64_t bytes_rate, uint64_t bytes_burst,
                      uint32_t kpkts_rate, uint32_t kpkts_burst)
{
    struct netvsc_policer *policer = xzalloc(sizeof *policer);
    uint64_t burst;

    policer->bytes_rate = MIN(bytes_rate, MOST_BYTES);
    policer->bytes_burst = MIN(bytes_burst, MOST_BYTES);
    policer->kpkts_rate = kpkts_rate;
    policer->kpkts_burst = kpkts_burst;
    burst = netvsc_burst(policer);
    policer->scale = netvsc_token_scale(burst);
    ovs_spin_init(&policer->lock);
    token_bucket_init(
        &policer->bytes,
        MIN(UINT_MAX, policer->bytes_rate * policer->scale / 1000),
        MIN(UINT_MAX, burst * policer->scale));
    token_bucket_init(
        &policer->packets, kpkts_rate,
        MAX(sat_mul(kpkts_burst, 1000), sat_mul(kpkts_rate, LEAST_BURST_MS)));
    return policer;
}

static void
netvsc_policer_destroy(struct netvsc_policer *policer)
{
    ovs_spin_destroy(&policer->lock);
    free(policer);
}

static struct netvsc_policer *
netvsc_policer_in(const netvsc_policer_slot *slot)
{
    return ovsrcu_get_protected(struct netvsc_policer *, slot);
}

/* PMD threads may go on with the old one for a moment. */
static void
netvsc_policer_replace(netvsc_policer_slot *slot, struct netvsc_policer *next)
{
    struct netvsc_policer *old = netvsc_policer_in(slot);

    ovsrcu_set(slot, next);
    if (old) {
        ovsrcu_postpone(netvsc_policer_destroy, old);
    }
}

void
netvsc_limits_destroy(struct netvsc_limits *limits)
{
    netvsc_policer_replace(&limits->ingress, NULL);
    netvsc_policer_replace(&limits->egress, NULL);
    free(limits->told_of_ingress);
    free(limits->told_of_qos);
    free(limits->told_of_queues);
}

/* Warns with `text` (NULL: there is nothing to say), which it frees in the
 * end, unless that is what was said last. */
static void
netvsc_tell(char **told, const char *name, char *text)
{
    if (text && !nullable_string_is_equal(*told, text)) {
        VLOG_WARN("%s: %s", name, text);
    }
    free(*told);
    *told = text;
}

/* Why full-sized packets never pass a bucket, or NULL when they do.  `setting`
 * is what makes it larger, `unit` its number of bytes. */
static char *
netvsc_small_burst(const struct netvsc_policer *policer, const char *setting,
                   unsigned int unit)
{
    uint64_t burst = netvsc_burst(policer);

    if (!policer->bytes_rate || burst >= ETH_PAYLOAD_MAX) {
        return NULL;
    }
    return xasprintf("Packets of more than %" PRIu64 " bytes never pass the "
                     "configured rate limit: raise %s to half of what the "
                     "rate lets through in a second, and to %d at least.",
                     burst, setting, DIV_ROUND_UP(ETH_PAYLOAD_MAX, unit));
}

/* --- Data path ------------------------------------------------------------
 */

static bool
netvsc_policer_passes(struct netvsc_policer *policer, uint32_t frame_size)
    OVS_REQUIRES(policer->lock)
{
    uint32_t size = frame_size - MIN(frame_size, ETH_HEADER_LEN);

    if (policer->kpkts_rate && !token_bucket_withdraw(&policer->packets, 1)) {
        return false;
    }
    if (policer->bytes_rate &&
        !token_bucket_withdraw(&policer->bytes, size * policer->scale)) {
        policer->packets.tokens += policer->kpkts_rate != 0;
        return false;
    }
    return true;
}

void
netvsc_police(struct netvsc_policer *policer, struct dp_packet_batch *batch,
              uint64_t *n_packets, uint64_t *n_bytes)
{
    const size_t size = dp_packet_batch_size(batch);
    struct dp_packet *packet;
    size_t i;

    *n_packets = *n_bytes = 0;
    ovs_spin_lock(&policer->lock);
    DP_PACKET_BATCH_REFILL_FOR_EACH(i, size, packet, batch)
    {
        if (netvsc_policer_passes(policer, dp_packet_size(packet))) {
            dp_packet_batch_refill(batch, packet, i);
        } else {
            ++*n_packets;
            *n_bytes += dp_packet_size(packet);
            dp_packet_delete(packet);
        }
    }
    ovs_spin_unlock(&policer->lock);
}

/* --- Ingress policing -----------------------------------------------------
 */

void
netvsc_set_policing(struct netvsc_limits *limits, const char *name,
                    uint32_t kbits_rate, uint32_t kbits_burst,
                    uint32_t kpkts_rate, uint32_t kpkts_burst)
{
    const struct netvsc_policer *old = netvsc_policer_in(&limits->ingress);
    struct netvsc_policer *new = NULL;
    uint64_t bytes_rate = kbits_rate * UINT64_C(1000) / 8;
    uint64_t bytes_burst = 0;

    if (kbits_rate) {
        kbits_burst = kbits_burst ? kbits_burst : DEFAULT_KBITS_BURST;
        bytes_burst = kbits_burst * UINT64_C(1000) / 8;
    }
    if (kpkts_rate) {
        kpkts_burst = kpkts_burst ? kpkts_burst : DEFAULT_KPKTS_BURST;
    } else {
        kpkts_burst = 0;
    }
    if (old ? old->bytes_rate == bytes_rate &&
                  old->bytes_burst == bytes_burst &&
                  old->kpkts_rate == kpkts_rate &&
                  old->kpkts_burst == kpkts_burst
            : !kbits_rate && !kpkts_rate) {
        /* The bridge calls with every change anywhere: a bucket that were
         * made anew would be full again. */
        return;
    }
    if (kbits_rate || kpkts_rate) {
        new = netvsc_policer_create(bytes_rate, bytes_burst, kpkts_rate,
                                    kpkts_burst);
    }
    netvsc_policer_replace(&limits->ingress, new);
    netvsc_tell(&limits->told_of_ingress, name,
                new ? netvsc_small_burst(new, "ingress_policing_burst (kbit)",
                                         1000 / 8)
                    : NULL);
}

/* --- QoS ------------------------------------------------------------------
 */

int
netvsc_get_qos_types(struct sset *types)
{
    sset_add(types, EGRESS_POLICER);
    return 0;
}

int
netvsc_get_qos(const struct netvsc_limits *limits, const char **typep,
               struct smap *details)
{
    const struct netvsc_policer *policer = netvsc_policer_in(&limits->egress);

    if (policer) {
        *typep = EGRESS_POLICER;
        smap_add_format(details, "cir", "%" PRIu64, policer->bytes_rate);
        smap_add_format(details, "cbs", "%" PRIu64, policer->bytes_burst);
    } else {
        *typep = "";
    }
    return 0;
}

int
netvsc_set_qos(struct netvsc_limits *limits, const char *name,
               const char *type, const struct smap *details)
{
    const struct netvsc_policer *old = netvsc_policer_in(&limits->egress);
    struct netvsc_policer *new = NULL;
    char *problem = NULL;
    int error = 0;

    if (!strcmp(type, EGRESS_POLICER)) {
        uint64_t cir = smap_get_ullong(details, "cir", 0);
        uint64_t cbs = smap_get_ullong(details, "cbs", 0);

        if (old && old->bytes_rate == cir && old->bytes_burst == cbs) {
            return 0;
        }
        if (cir && cbs) {
            new = netvsc_policer_create(cir, cbs, 0, 0);
            problem = netvsc_small_burst(new, "other_config:cbs (bytes)", 1);
        } else {
            error = EINVAL;
            problem = xstrdup("QoS " EGRESS_POLICER " is without effect: give "
                              "it both other_config:cir, bytes a second, and "
                              "other_config:cbs, bytes of a burst.");
        }
    } else if (type[0]) {
        error = EOPNOTSUPP;
        problem =
            xasprintf("QoS of type %s is without effect: ports of type "
                      "netvsc have no other type than " EGRESS_POLICER ".",
                      type);
    }
    if (new != old) {
        netvsc_policer_replace(&limits->egress, new);
    }
    netvsc_tell(&limits->told_of_qos, name, problem);
    if (!type[0]) {
        netvsc_tell(&limits->told_of_queues, name, NULL);
    }
    return error;
}

/* The bridge configures queue 0 of every QoS, whether or not there is one. */
int
netvsc_set_queue(struct netvsc_limits *limits, const char *name,
                 uint32_t queue_id, const struct smap *details)
{
    if (queue_id || !smap_is_empty(details)) {
        netvsc_tell(&limits->told_of_queues, name,
                    xstrdup("The queues of the port's QoS are without effect: "
                            "ports of type netvsc have none in their QoS."));
    }
    return EOPNOTSUPP;
}

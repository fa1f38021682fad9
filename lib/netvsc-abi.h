/* Between Open vSwitch's glue (C) and the policy of type=netvsc (C++): plain
 * C types, no OVS type and no protocol.
 *
 * The glue knows netdevs and packets, the policy devices and sessions.
 * Strings that are returned through `char **` or as `char *` are malloc()ed
 * and the caller's to free.  Errors are positive errno values. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/frame.h"

/* No exception leaves a function of this interface: one that is thrown for
 * want of memory ends the process with a core, as OVS's own xmalloc() does. */
#ifdef __cplusplus
#define NETVSC_NOEXCEPT noexcept
extern "C" {
#else
#define NETVSC_NOEXCEPT
#endif

/* OVS's burst and the driver's: frames of one call. */
#define NETVSC_MAX_BURST 32

/* A port that OVS was asked for; lives as long as its netdev. */
struct netvsc_port;
/* A receive queue of the session that a port uses. */
struct netvsc_rx_queue;

enum netvsc_log_level { NETVSC_LOG_INFO, NETVSC_LOG_WARN };

/* What the policy asks of the glue.  Except for wake() and
 * state_directory(), called on OVS's main thread, from within netvsc_run() or
 * another function below. */
struct netvsc_glue {
    /* Makes the main loop call netvsc_run() soon.  Any thread. */
    void (*wake)(void);
    void (*request_reconfigure)(void *netdev);
    /* Status, carrier, MTU, address or flags are not what they were. */
    void (*status_changed)(void *netdev);
    /* OVS has dropped the netdev from its names and only waits for the
     * last reference to it. */
    bool (*is_removed)(void *netdev);
    void (*log)(void *netdev, enum netvsc_log_level, const char *port,
                const char *message);
    /* The directory where what is to outlive the process is kept; empty: it
     * is not kept. */
    const char *(*state_directory)(void);
};

/* --- Process --- */

/* Once, before anything else. */
void netvsc_set_glue(const struct netvsc_glue *) NETVSC_NOEXCEPT;

/* The main thread's regular visit.  `now` is in ms of any steady clock.
 * Returns true if the bridge has to configure itself again. */
bool netvsc_run(long long int now) NETVSC_NOEXCEPT;

/* When netvsc_run() wants to be called at the latest; LLONG_MAX: whenever. */
long long int netvsc_next_run(void) NETVSC_NOEXCEPT;

/* --- A port's life; main thread unless said otherwise --- */

struct netvsc_port *netvsc_port_create(const char *name,
                                       void *netdev) NETVSC_NOEXCEPT;

/* Any thread.  No queue of the port may be in use. */
void netvsc_port_destroy(struct netvsc_port *) NETVSC_NOEXCEPT;

struct netvsc_option {
    const char *key;
    const char *value;
};

/* Takes all options of the port, and the device that they name; an error
 * comes with a sentence for the operator. */
int netvsc_port_set_options(struct netvsc_port *, const struct netvsc_option *,
                            size_t n, char **error) NETVSC_NOEXCEPT;

typedef void netvsc_pair_func(void *aux, const char *key, const char *value);

/* The options as they were accepted.  Any thread. */
void netvsc_port_get_options(const struct netvsc_port *, netvsc_pair_func *,
                             void *aux) NETVSC_NOEXCEPT;

/* EINVAL if no host carries it; the sentence is logged. */
int netvsc_port_set_mtu(struct netvsc_port *, int mtu) NETVSC_NOEXCEPT;

/* For netdev_reconfigure(): swaps in the session that is ready now, if there
 * is one, with `n_txq` transmit queues, or as many as its send sections
 * allow.  Returns how many.  No thread is in the data path. */
unsigned int netvsc_port_reconfigure(struct netvsc_port *,
                                     unsigned int n_txq) NETVSC_NOEXCEPT;
unsigned int netvsc_port_n_rxq(const struct netvsc_port *) NETVSC_NOEXCEPT;

/* NULL while there is no session.  The port counts the open queues: who has
 * some is in a datapath. */
struct netvsc_rx_queue *
netvsc_port_open_rxq(struct netvsc_port *, unsigned int queue) NETVSC_NOEXCEPT;
void netvsc_port_close_rxq(struct netvsc_port *) NETVSC_NOEXCEPT;

/* --- Data path --- */

/* Fills `frames`, an array of NETVSC_MAX_BURST, and returns how many.  The
 * views end at the release, which has to follow also when there were none.
 * One thread at a time. */
unsigned int
netvsc_rx_queue_poll(struct netvsc_rx_queue *,
                     struct netvsc_rx_frame *frames) NETVSC_NOEXCEPT;
void netvsc_rx_queue_release(struct netvsc_rx_queue *) NETVSC_NOEXCEPT;

/* Sends at most NETVSC_MAX_BURST frames, whose memory is free again at the
 * return, and drops and counts what cannot go out.  Returns 0 or why frames
 * were dropped: EAGAIN the host is behind, ENODEV no session, ENETDOWN the
 * port is down.  One thread at a time for each `queue`. */
int netvsc_port_send(struct netvsc_port *, unsigned int queue,
                     const struct netvsc_tx_frame *frames,
                     unsigned int n) NETVSC_NOEXCEPT;

/* Counts packets that are no Ethernet frames and were not sent. */
void netvsc_port_count_not_ethernet(struct netvsc_port *,
                                    unsigned int n) NETVSC_NOEXCEPT;

/* Counts frames that the port's rate limits took away: such as had been
 * received, with their bytes, and such as were to be sent.  Any thread. */
void netvsc_port_count_rx_policed(struct netvsc_port *, uint64_t n_packets,
                                  uint64_t n_bytes) NETVSC_NOEXCEPT;
void netvsc_port_count_tx_policed(struct netvsc_port *,
                                  uint64_t n_packets) NETVSC_NOEXCEPT;

/* --- What netdevs are asked; any thread --- */

enum netvsc_flags {
    NETVSC_UP = 1 << 0,
    NETVSC_PROMISC = 1 << 1,
};

/* Returns the flags as they were.  Async-signal-safe: records the change,
 * netvsc_run() acts on it. */
unsigned int netvsc_port_update_flags(struct netvsc_port *, unsigned int off,
                                      unsigned int on) NETVSC_NOEXCEPT;

struct netvsc_port_info {
    /* The host's answer, or until there is one, what it said in an earlier
     * life of the switch. */
    bool has_mac;
    uint8_t mac[6];
    bool carrier;
    unsigned int carrier_resets;
    uint64_t link_speed; /* bit/s; 0: unknown, or no session. */
    int mtu;             /* In force, or asked for when there is no session. */
    int numa_node;       /* -1: unknown. */
};
void netvsc_port_get_info(const struct netvsc_port *,
                          struct netvsc_port_info *) NETVSC_NOEXCEPT;

/* OVS's bins of packet sizes: 1_to_64 to 1523_to_max. */
#define NETVSC_SIZE_BINS 7

/* OVS's standard columns; lib/port_report.h says what each consists of.  Logs
 * what the operator should know of them. */
struct netvsc_port_stats {
    uint64_t rx_packets, rx_bytes, rx_dropped, rx_errors, rx_multicast;
    uint64_t tx_packets, tx_bytes, tx_dropped, tx_errors;
    uint64_t rx_bins[NETVSC_SIZE_BINS], tx_bins[NETVSC_SIZE_BINS];
};
void netvsc_port_get_stats(struct netvsc_port *,
                           struct netvsc_port_stats *) NETVSC_NOEXCEPT;

typedef void netvsc_counter_func(void *aux, const char *name, uint64_t value);

/* What has no standard column. */
void netvsc_port_get_counters(const struct netvsc_port *,
                              netvsc_counter_func *,
                              void *aux) NETVSC_NOEXCEPT;

/* For the Interface's status column. */
void netvsc_port_get_status(const struct netvsc_port *, netvsc_pair_func *,
                            void *aux) NETVSC_NOEXCEPT;

/* Everything about the port, as lines of at most 80 columns. */
char *netvsc_port_show(const struct netvsc_port *) NETVSC_NOEXCEPT;

#ifdef __cplusplus
}
#endif

/* Preloaded into testpmd: what it asks before it forwards.
 *
 * From 22.11.2 on, testpmd leaves out every queue whose information does not
 * say "started", and the netvsc PMD of 22.11 never says it (23.11 does): so
 * testpmd would forward nothing, without a word.  A PMD that cannot tell is
 * taken at testpmd's own record, which is right; so nothing can tell here. */

#include <errno.h>
#include <stdint.h>

int rte_eth_rx_queue_info_get(uint16_t port, uint16_t queue, void *info);
int rte_eth_tx_queue_info_get(uint16_t port, uint16_t queue, void *info);

int
rte_eth_rx_queue_info_get(uint16_t port, uint16_t queue, void *info)
{
    (void) port;
    (void) queue;
    (void) info;
    return -ENOTSUP;
}

int
rte_eth_tx_queue_info_get(uint16_t port, uint16_t queue, void *info)
{
    return rte_eth_rx_queue_info_get(port, queue, info);
}

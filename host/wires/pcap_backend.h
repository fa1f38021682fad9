/* The wire of a NIC that is a capture file, read with libpcap.
 *
 * A library of its own: netvsc-vmm is a static program, and Debian's libpcap
 * is not made for one. */

#pragma once

#include "host/wires/backend.h"

namespace netvsc::host {

using OpenPcap = std::unique_ptr<Backend> (*)(const PcapConfig &config,
                                              const std::string &guid,
                                              WireCounters &counters);

/* Throws HostError when a file cannot be opened.  Null in a program that is
 * built without libpcap: one that has it calls use_pcap() first. */
extern OpenPcap open_pcap;
void use_pcap();

} // namespace netvsc::host

"""What the tests that are programs are made of: the emulated host, Open
vSwitch, DPDK's testpmd, network namespaces and frames.

All of it is meant for the inside of tests/private, which takes everything away
when it ends.

    tools    commands, waiting, the one exception
    host     netvsc-host
    switch   ovsdb-server and ovs-vswitchd
    lab      two namespaces, a host and a switch between them
    pinned   a host and a switch with a core each
    testpmd  DPDK between two NICs of a host
    frames   frames of every size and kind, and their way from tap to tap
"""

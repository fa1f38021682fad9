# What the driver costs.  -O2 and no more, as in packages.
check_PROGRAMS += tests/bench/instructions-probe
tests_bench_instructions_probe_SOURCES = \
	tests/bench/instructions_probe.cc \
	tests/unit/fake_uio.h \
	tests/unit/far_ring.cc \
	tests/unit/far_ring.h
tests_bench_instructions_probe_LDADD = driver/libnetvsc.la

EXTRA_DIST += \
	tests/bench/README.md \
	tests/bench/bounds.json \
	tests/bench/callgrind.py \
	tests/bench/contenders.py \
	tests/bench/cost.py \
	tests/bench/counting.py \
	tests/bench/figures.py \
	tests/bench/goodput.py \
	tests/bench/instructions \
	tests/bench/report.py \
	tests/bench/selftest \
	tests/bench/run \
	tests/bench/section.py \
	tests/bench/switch.py \
	tests/bench/veth_sender.py

# Everything that the bench runs, without running it.  What is only asked for
# is BENCH_FLAGS='--section switch'.
BENCH_TARGETS = host/netvsc-host tests/bench/instructions-probe \
	tests/peer/uio_shim.so
if WITH_OVS
BENCH_TARGETS += lib/ovs-vswitchd
endif
.PHONY: bench bench-quick bench-programs
bench-programs: $(BENCH_TARGETS)
# The Python is the system's: the packaged library for the picture is its.
RUN_BENCH = OVS_SRC='$(OVS_SRC)' OVS_BUILD='$(OVS_BUILD)' \
	$(srcdir)/tests/bench/run $(abs_top_builddir)
bench: bench-programs
	@$(RUN_BENCH) $(BENCH_FLAGS)
bench-quick: bench-programs
	@$(RUN_BENCH) --quick $(BENCH_FLAGS)

# Ours beside DPDK: what a burst costs, and a guest that polls.  Ours is
# measured as OVS calls it, so it takes OVS's packets.
CONTENDER_SOURCES = \
	tests/bench/contender.h \
	tests/bench/contender_netvsc.cc \
	tests/bench/contender_netvsc.h \
	tests/bench/netvsc_packets.c \
	tests/bench/netvsc_packets.h
COST_BENCH_SOURCES = \
	tests/bench/cost_bench.cc \
	tests/bench/cycles.h
EXTRA_DIST += \
	$(CONTENDER_SOURCES) \
	$(COST_BENCH_SOURCES) \
	tests/bench/contender_dpdk.cc \
	tests/bench/contender_dpdk.h \
	tests/bench/poller.cc
if WITH_OVS
if WITH_DPDK
# DPDK's headers want machine flags, which are for this file alone.
EXTRA_LTLIBRARIES = tests/bench/libcontenderdpdk.la
tests_bench_libcontenderdpdk_la_SOURCES = \
	tests/bench/contender.h \
	tests/bench/contender_dpdk.cc \
	tests/bench/contender_dpdk.h
tests_bench_libcontenderdpdk_la_CPPFLAGS = $(AM_CPPFLAGS) $(DPDK_CPPFLAGS)
tests_bench_libcontenderdpdk_la_CXXFLAGS = $(AM_CXXFLAGS) $(DPDK_CXXFLAGS)
EXTRA_PROGRAMS = tests/bench/cost_bench tests/bench/poller
BENCH_TARGETS += $(EXTRA_PROGRAMS)
CLEANFILES += $(EXTRA_PROGRAMS) tests/bench/libcontenderdpdk.la

tests_bench_cost_bench_SOURCES = \
	lib/netdev-netvsc-packets.c \
	lib/netdev-netvsc-packets.h \
	lib/netdev-netvsc-pool.c \
	lib/netdev-netvsc-pool-afxdp.c \
	lib/netdev-netvsc-pool.h \
	$(CONTENDER_SOURCES) \
	$(COST_BENCH_SOURCES) \
	tests/peer/uio_shim.cc
tests_bench_cost_bench_CPPFLAGS = $(AM_CPPFLAGS) $(OVS_CPPFLAGS)
tests_bench_cost_bench_CFLAGS = $(lib_ovs_vswitchd_CFLAGS)
# The drivers that DPDK loads find the shim's open() and mmap() in the program.
tests_bench_cost_bench_LDFLAGS = $(AM_LDFLAGS) -rdynamic
tests_bench_cost_bench_LDADD = \
	tests/bench/libcontenderdpdk.la \
	lib/libnetvscprovider.la \
	driver/libnetvsc.la \
	host/libnetvschost.la \
	$(OVS_BUILD)/lib/libopenvswitch.la \
	-lrte_ethdev -lrte_mbuf -lrte_mempool -lrte_ring -lrte_eal -ldl

tests_bench_poller_SOURCES = \
	lib/netdev-netvsc-packets.c \
	lib/netdev-netvsc-packets.h \
	lib/netdev-netvsc-pool.c \
	lib/netdev-netvsc-pool-afxdp.c \
	lib/netdev-netvsc-pool.h \
	$(CONTENDER_SOURCES) \
	tests/bench/poller.cc \
	tests/peer/uio_shim.cc
tests_bench_poller_CPPFLAGS = $(tests_bench_cost_bench_CPPFLAGS)
tests_bench_poller_CFLAGS = $(tests_bench_cost_bench_CFLAGS)
tests_bench_poller_LDFLAGS = $(tests_bench_cost_bench_LDFLAGS)
tests_bench_poller_LDADD = $(tests_bench_cost_bench_LDADD)
endif
endif

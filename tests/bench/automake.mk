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
	tests/bench/counting.py \
	tests/bench/figures.py \
	tests/bench/instructions \
	tests/bench/report.py \
	tests/bench/run \
	tests/bench/section.py \
	tests/bench/switch.py \
	tests/bench/switch_rig.py \
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

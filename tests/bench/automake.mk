# What the driver costs.  -O2 and no more, as in packages.
check_PROGRAMS += tests/bench/instructions-probe
tests_bench_instructions_probe_SOURCES = \
	tests/bench/instructions_probe.cc \
	tests/unit/fake_uio.h \
	tests/unit/far_ring.cc \
	tests/unit/far_ring.h
tests_bench_instructions_probe_LDADD = driver/libnetvsc.la

EXTRA_DIST += \
	tests/bench/bounds.json \
	tests/bench/instructions

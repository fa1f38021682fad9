EXTRA_DIST += \
	tests/kernel/README.md \
	tests/kernel/bundles.py \
	tests/kernel/common \
	tests/kernel/guest/init \
	tests/kernel/guest/library \
	tests/kernel/host/console \
	tests/kernel/host/direct \
	tests/kernel/host/init \
	tests/kernel/host/library \
	tests/kernel/host/run \
	tests/kernel/host/trial \
	tests/kernel/images.py \
	tests/kernel/machine.py \
	tests/kernel/packages.py \
	tests/kernel/queue_state.c \
	tests/kernel/run \
	tests/kernel/scenario.py \
	tests/kernel/selftest \
	tests/kernel/scenarios

# Preloaded into DPDK's testpmd.  CFLAGS stay out: they may ask for a
# sanitizer, whose run time a program that was built without it cannot load.
tests/kernel/queue_state.so: tests/kernel/queue_state.c
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_CCLD)$(CC) -O2 -g $(WARNING_FLAGS) -shared -fPIC -o $@ \
		$(srcdir)/tests/kernel/queue_state.c

check_SCRIPTS += tests/kernel/queue_state.so
CLEANFILES += tests/kernel/queue_state.so

EXTRA_DIST += \
	tests/autotests \
	tests/check-docs \
	tests/demo \
	tests/fresh.sh \
	tests/identities \
	tests/mutants \
	tests/policing \
	tests/private \
	tests/restart \
	tests/rig \
	tests/run \
	tests/run-selftest \
	tests/tarball \
	tests/versions \
	tests/wire

# The suite of tests/*.at, on the macros of the OVS tree at hand.  Its name
# and version come from a file of ours that hides OVS's.
if WITH_OVS
check_SCRIPTS += tests/netvsc-testsuite
CLEANFILES += tests/netvsc-testsuite tests/package.m4
tests/package.m4: Makefile
	$(AM_V_GEN)printf 'm4_define([AT_PACKAGE_%s], [%s])\n' \
		NAME '$(PACKAGE_NAME)' TARNAME '$(PACKAGE_TARNAME)' \
		VERSION '$(PACKAGE_VERSION)' STRING '$(PACKAGE_STRING)' \
		BUGREPORT '' URL '' >$@
tests/netvsc-testsuite: tests/package.m4 $(srcdir)/tests/netvsc-testsuite.at \
	$(srcdir)/tests/netvsc-macros.at $(srcdir)/tests/netvsc.at \
	$(srcdir)/tests/netvsc-device.at $(srcdir)/tests/netvsc-mtu.at \
	$(srcdir)/tests/netvsc-identity.at $(srcdir)/tests/netvsc-qos.at
	$(AM_V_GEN)$(AUTOM4TE) --language=autotest -I tests \
		-I '$(OVS_SRC)' -I $(srcdir)/tests -o $@ \
		$(srcdir)/tests/netvsc-testsuite.at
endif
clean-local:
	rm -rf tests/autotests.dir tests/log demo steady autom4te.cache

# Everything that the suites run, without running it.
.PHONY: check-programs
check-programs: all-am $(check_PROGRAMS) $(check_SCRIPTS)

# Those of them that are run under ThreadSanitizer.
.PHONY: check-tsan-programs
check-tsan-programs: $(TSAN_TESTS)

# Every object file, for a compiler that is only asked for its opinion.
EVERYTHING = $(bin_PROGRAMS) $(sbin_PROGRAMS) $(pkglibexec_PROGRAMS) \
	$(noinst_PROGRAMS) $(noinst_LTLIBRARIES) $(check_PROGRAMS)
.PHONY: objects
objects: $(filter %.so,$(check_SCRIPTS)) $(foreach each,$(EVERYTHING),\
	$($(subst /,_,$(subst -,_,$(subst .,_,$(each))))_OBJECTS))

# Most unit tests have nothing to gain from the optimizer, which takes longer
# over them than they run.  It does matter for races.
tests/unit/driver_%_test.o tests/unit/host_%_test.o \
tests/unit/vmm_%_test.o: CXXFLAGS += -O0

# `make check` and one target for each group of suites in tests/run.
RUN_TESTS = $(PYTHON3) $(srcdir)/tests/run \
	--source=$(abs_top_srcdir) --build=$(abs_top_builddir) \
	UNIT_TESTS='$(UNIT_TESTS)' OVS_UNIT_TESTS='$(OVS_UNIT_TESTS)' \
	TSAN_TESTS='$(TSAN_TESTS)' \
	OVS_SRC='$(OVS_SRC)' OVS_BUILD='$(OVS_BUILD)' \
	TESTSUITEFLAGS='$(TESTSUITEFLAGS)'

check-local: check-programs
	@$(RUN_TESTS) --group=full

CHECK_GROUPS = check-quick check-unit check-wire check-autotests check-peer \
	check-asan check-tsan check-builds check-instructions check-runner \
	check-mutants check-restart check-steady check-kernel
.PHONY: $(CHECK_GROUPS)
$(CHECK_GROUPS): check-programs
	@$(RUN_TESTS) --group=$(@:check-%=%)

# With every version of Open vSwitch that Debian has: about ten minutes for
# each on two CPUs the first time.
.PHONY: check-versions
check-versions:
	@$(srcdir)/tests/versions

# Constants of wire/, drawn by SEED, are broken, and stock kernels or DPDK have
# to notice: two minutes for the unbroken host, then about one for each on two
# CPUs.
SEED = 1
COUNT = 10
.PHONY: check-mutants-wire
check-mutants-wire:
	@$(PYTHON3) $(srcdir)/tests/mutants/wire --seed=$(SEED) \
		--count=$(COUNT)

EXTRA_DIST += \
	tests/steady/count_allocations.cc \
	tests/steady/run

# Preloaded into ovs-vswitchd; as tests/peer/uio_shim.so without CXXFLAGS.
tests/steady/count_allocations.so: tests/steady/count_allocations.cc
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_CXXLD)$(CXX) -std=c++20 -O2 -g $(WARNING_FLAGS) -shared -fPIC \
		-o $@ $(srcdir)/tests/steady/count_allocations.cc -ldl

check_SCRIPTS += tests/steady/count_allocations.so
CLEANFILES += tests/steady/count_allocations.so

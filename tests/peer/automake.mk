EXTRA_DIST += \
	tests/peer/run \
	tests/peer/uio_shim.cc

# Preloaded into DPDK's testpmd.  CXXFLAGS stay out: they may ask for a
# sanitizer, whose run time a program that was built without it cannot load.
tests/peer/uio_shim.so: tests/peer/uio_shim.cc wire/layout.h wire/ring.h \
		wire/vmbus.h wire/uio_socket.h
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_CXXLD)$(CXX) -O2 -g $(WARNING_FLAGS) -I$(top_srcdir) \
		-shared -fPIC -o $@ $(srcdir)/tests/peer/uio_shim.cc -ldl

check_SCRIPTS += tests/peer/uio_shim.so
CLEANFILES += tests/peer/uio_shim.so

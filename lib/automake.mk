# Policy of type=netvsc: C++, needs no OVS tree.
noinst_LTLIBRARIES += lib/libnetvscprovider.la
lib_libnetvscprovider_la_SOURCES = \
	lib/device_watch.cc \
	lib/device_watch.h \
	lib/identity_file.cc \
	lib/identity_file.h \
	lib/netvsc-abi.cc \
	lib/netvsc-abi.h \
	lib/netdev-netvsc.cc \
	lib/netdev-netvsc.h \
	lib/port_options.cc \
	lib/port_options.h \
	lib/port_report.cc \
	lib/port_report.h
lib_libnetvscprovider_la_LIBADD = driver/libnetvsc.la

check_PROGRAMS += tests/unit/provider-tests
UNIT_TESTS += tests/unit/provider-tests
tests_unit_provider_tests_SOURCES = \
	tests/unit/identity_file_test.cc \
	tests/unit/provider_test.cc
tests_unit_provider_tests_LDADD = \
	lib/libnetvscprovider.la -lgtest -lgtest_main

# Open vSwitch's daemon with our port type.  The file with the constructor is
# named by nothing, so it must not hide in a library.
LIB_OVS_SOURCES = \
	lib/netdev-netvsc-class.c \
	lib/netdev-netvsc-class.h \
	lib/netdev-netvsc-info.c \
	lib/netdev-netvsc-info.h \
	lib/netdev-netvsc-packets.c \
	lib/netdev-netvsc-packets.h \
	lib/netdev-netvsc-pool.c \
	lib/netdev-netvsc-pool-afxdp.c \
	lib/netdev-netvsc-pool.h \
	lib/netdev-netvsc-qos.c \
	lib/netdev-netvsc-qos.h \
	lib/ovs-compat.h
EXTRA_DIST += \
	$(LIB_OVS_SOURCES) \
	tests/carry-frames \
	tests/netvsc-identity.at \
	tests/netvsc-macros.at \
	tests/netvsc-qos.at \
	tests/netvsc-testsuite.at \
	tests/netvsc-device.at \
	tests/netvsc-mtu.at \
	tests/netvsc.at \
	tests/unit/packet_probe.c \
	tests/unit/packet_probe.h \
	tests/unit/packet_test.cc
if WITH_OVS
pkglibexec_PROGRAMS += lib/ovs-vswitchd
lib_ovs_vswitchd_SOURCES = $(LIB_OVS_SOURCES)
# Links with the C++ compiler.
nodist_EXTRA_lib_ovs_vswitchd_SOURCES = dummy.cc
lib_ovs_vswitchd_CPPFLAGS = $(AM_CPPFLAGS) $(OVS_CPPFLAGS)
lib_ovs_vswitchd_CFLAGS = $(AM_CFLAGS) $(OVS_CFLAGS)
lib_ovs_vswitchd_LDADD = lib/libnetvscprovider.la $(OVS_LDADD)

# OVS's packets and ours, with a driver made of four functions.  The builds
# for the sanitizers have no OVS.
check_PROGRAMS += tests/unit/packet-tests
OVS_UNIT_TESTS += tests/unit/packet-tests
tests_unit_packet_tests_SOURCES = \
	lib/netdev-netvsc-packets.c \
	lib/netdev-netvsc-pool.c \
	lib/netdev-netvsc-pool-afxdp.c \
	tests/unit/packet_probe.c \
	tests/unit/packet_test.cc
tests_unit_packet_tests_CPPFLAGS = $(AM_CPPFLAGS) $(OVS_CPPFLAGS)
tests_unit_packet_tests_CFLAGS = $(lib_ovs_vswitchd_CFLAGS)
tests_unit_packet_tests_LDADD = \
	$(OVS_BUILD)/lib/libopenvswitch.la -lgtest -lgtest_main

# All that OVS's headers go into, compiled and not linked.
glue-objects: $(lib_ovs_vswitchd_OBJECTS) $(tests_unit_packet_tests_OBJECTS)
endif
.PHONY: glue-objects

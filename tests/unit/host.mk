# Unit tests of the emulated host.
check_PROGRAMS += tests/unit/host-tests
UNIT_TESTS += tests/unit/host-tests
tests_unit_host_tests_SOURCES = \
	tests/unit/host_channels_test.cc \
	tests/unit/host_checksum_test.cc \
	tests/unit/host_config_test.cc \
	tests/unit/host_data_test.cc \
	tests/unit/host_generator_test.cc \
	tests/unit/host_guest.cc \
	tests/unit/host_guest.h \
	tests/unit/host_ledger_test.cc \
	tests/unit/host_limits_test.cc \
	tests/unit/host_machine_test.cc \
	tests/unit/host_memory_test.cc \
	tests/unit/host_netvsp_test.cc \
	tests/unit/host_oid_test.cc \
	tests/unit/host_pcap_test.cc \
	tests/unit/host_ring_test.cc \
	tests/unit/host_scaling_test.cc \
	tests/unit/host_trace_test.cc \
	tests/unit/intruder.h \
	tests/unit/vmm_acpi_test.cc \
	tests/unit/vmm_boot_test.cc \
	tests/unit/vmm_bus_test.cc \
	tests/unit/vmm_cpuid_test.cc \
	tests/unit/vmm_platform_test.cc \
	tests/unit/vmm_ram.h \
	tests/unit/vmm_synic_test.cc
tests_unit_host_tests_LDADD = \
	host/vmm/libnetvscvmm.la host/libnetvscpcap.la \
	host/libnetvschost.la \
	-lgtest -lgtest_main -lpthread

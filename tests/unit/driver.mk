# The driver alone, against hand-made memory and a scripted host.
check_PROGRAMS += tests/unit/driver-tests
UNIT_TESTS += tests/unit/driver-tests
TSAN_TESTS += tests/unit/driver-tests
tests_unit_driver_tests_SOURCES = \
	tests/unit/attach.h \
	tests/unit/data_path.h \
	tests/unit/driver_attach_failure_test.cc \
	tests/unit/driver_attach_test.cc \
	tests/unit/driver_exclusive_test.cc \
	tests/unit/driver_ledger_test.cc \
	tests/unit/driver_limits_test.cc \
	tests/unit/driver_mailbox_test.cc \
	tests/unit/driver_main.cc \
	tests/unit/driver_ring_test.cc \
	tests/unit/driver_rndis_packet_test.cc \
	tests/unit/driver_rndis_shape_test.cc \
	tests/unit/driver_rx_hostile_test.cc \
	tests/unit/driver_rx_queue_test.cc \
	tests/unit/driver_session_test.cc \
	tests/unit/driver_sysfs_test.cc \
	tests/unit/driver_tx_queue_test.cc \
	tests/unit/driver_uio_mapping_test.cc \
	tests/unit/driver_uio_socket_test.cc \
	tests/unit/driver_vectors_test.cc \
	tests/unit/fake_uio.h \
	tests/unit/far_ring.cc \
	tests/unit/far_ring.h \
	tests/unit/scripted_host.cc \
	tests/unit/scripted_host.h \
	tests/unit/intruder.h
tests_unit_driver_tests_LDADD = \
	driver/libnetvsc.la \
	-lgmock \
	-lgtest \
	-lpthread

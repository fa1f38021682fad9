# Driver and host in one process.
check_PROGRAMS += tests/unit/session-tests tests/unit/wakeup-tests
UNIT_TESTS += tests/unit/session-tests tests/unit/wakeup-tests
TSAN_TESTS += tests/unit/session-tests tests/unit/wakeup-tests

tests_unit_session_tests_SOURCES = \
	tests/unit/device_test.cc \
	tests/unit/session_test.cc \
	tests/unit/sessions.h
tests_unit_session_tests_CPPFLAGS = \
	$(AM_CPPFLAGS) -DNETVSC_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_unit_session_tests_LDADD = \
	driver/libnetvsc.la host/libnetvschost.la -lgtest -lpthread

# The stress of the ring's full barriers.
tests_unit_wakeup_tests_SOURCES = tests/unit/lost_wakeup_test.cc
tests_unit_wakeup_tests_LDADD = \
	driver/libnetvsc.la host/libnetvschost.la \
	-lgtest -lgtest_main -lpthread

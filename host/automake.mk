# netvsc-host: the emulated Hyper-V host.  Its code is a library, so that the
# unit tests can link it.
noinst_LTLIBRARIES += host/libnetvschost.la
host_libnetvschost_la_SOURCES = \
	host/backend.h \
	host/bytes.h \
	host/channel.cc \
	host/channel.h \
	host/checksum.cc \
	host/checksum.h \
	host/command_line.cc \
	host/command_line.h \
	host/commands.cc \
	host/commands.h \
	host/completion_queue.cc \
	host/completion_queue.h \
	host/config.cc \
	host/config.h \
	host/control.cc \
	host/control.h \
	host/counters.h \
	host/error.h \
	host/ethernet.h \
	host/event_loop.cc \
	host/event_loop.h \
	host/front_end.h \
	host/generator.cc \
	host/generator.h \
	host/generator_backend.h \
	host/guest_memory.cc \
	host/guest_memory.h \
	host/log.cc \
	host/log.h \
	host/machine.cc \
	host/machine.h \
	host/message_head.h \
	host/monitor.cc \
	host/monitor.h \
	host/netvsp.cc \
	host/netvsp.h \
	host/netvsp_setup.cc \
	host/nic.cc \
	host/nic.h \
	host/oids.cc \
	host/oids.h \
	host/pace.cc \
	host/pace.h \
	host/pcap_backend.h \
	host/peer.cc \
	host/peer.h \
	host/receive_path.cc \
	host/receive_path.h \
	host/ring.cc \
	host/ring.h \
	host/round_trips.cc \
	host/round_trips.h \
	host/rndis_device.cc \
	host/rndis_device.h \
	host/root_lock.cc \
	host/root_lock.h \
	host/sink.cc \
	host/sink.h \
	host/sub_allocations.cc \
	host/sub_allocations.h \
	host/tap.cc \
	host/tap.h \
	host/test_frame.cc \
	host/test_frame.h \
	host/trace.cc \
	host/trace.h \
	host/transmit_path.cc \
	host/transmit_path.h \
	host/uio/device.cc \
	host/uio/device.h \
	host/uio/pages.cc \
	host/uio/pages.h \
	host/uio/tree.cc \
	host/uio/tree.h \
	host/unique_fd.cc \
	host/unique_fd.h \
	host/unix_socket.cc \
	host/unix_socket.h

noinst_LTLIBRARIES += host/libnetvscpcap.la
host_libnetvscpcap_la_SOURCES = host/pcap_backend.cc
host_libnetvscpcap_la_LIBADD = $(PCAP_LIBS)

sbin_PROGRAMS += host/netvsc-host
host_netvsc_host_SOURCES = host/main.cc
host_netvsc_host_LDADD = host/libnetvscpcap.la host/libnetvschost.la

man_MANS += host/netvsc-host.8
EXTRA_DIST += host/netvsc-host.8

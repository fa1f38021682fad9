# netvsc-host: the emulated Hyper-V host.  Its code is a library, so that the
# unit tests can link it.
noinst_LTLIBRARIES += host/libnetvschost.la
host_libnetvschost_la_SOURCES = \
	host/base/bytes.h \
	host/base/checksum.cc \
	host/base/checksum.h \
	host/base/error.h \
	host/base/ethernet.h \
	host/base/event_loop.cc \
	host/base/event_loop.h \
	host/base/log.cc \
	host/base/log.h \
	host/base/root_lock.cc \
	host/base/root_lock.h \
	host/base/unique_fd.cc \
	host/base/unique_fd.h \
	host/base/unix_socket.cc \
	host/base/unix_socket.h \
	host/command_line.cc \
	host/command_line.h \
	host/commands.cc \
	host/commands.h \
	host/config.cc \
	host/config.h \
	host/control.cc \
	host/control.h \
	host/counters.h \
	host/netvsp/channel.cc \
	host/netvsp/channel.h \
	host/netvsp/completion_queue.cc \
	host/netvsp/completion_queue.h \
	host/netvsp/front_end.h \
	host/netvsp/guest_memory.cc \
	host/netvsp/guest_memory.h \
	host/netvsp/message_head.h \
	host/netvsp/monitor.cc \
	host/netvsp/monitor.h \
	host/netvsp/netvsp.cc \
	host/netvsp/netvsp.h \
	host/netvsp/netvsp_channels.cc \
	host/netvsp/netvsp_setup.cc \
	host/netvsp/oids.cc \
	host/netvsp/oids.h \
	host/netvsp/receive_buffer.cc \
	host/netvsp/receive_buffer.h \
	host/netvsp/receive_path.cc \
	host/netvsp/receive_path.h \
	host/netvsp/receive_scaling.cc \
	host/netvsp/receive_scaling.h \
	host/netvsp/ring.cc \
	host/netvsp/ring.h \
	host/netvsp/rndis_device.cc \
	host/netvsp/rndis_device.h \
	host/netvsp/session_channel.cc \
	host/netvsp/session_channel.h \
	host/netvsp/sub_allocations.cc \
	host/netvsp/sub_allocations.h \
	host/netvsp/trace.cc \
	host/netvsp/trace.h \
	host/netvsp/transmit_path.cc \
	host/netvsp/transmit_path.h \
	host/nic.cc \
	host/nic.h \
	host/uio/channel_numbers.cc \
	host/uio/channel_numbers.h \
	host/uio/device.cc \
	host/uio/device.h \
	host/uio/machine.cc \
	host/uio/machine.h \
	host/uio/pages.cc \
	host/uio/pages.h \
	host/uio/subchannel.cc \
	host/uio/subchannel.h \
	host/uio/tree.cc \
	host/uio/tree.h \
	host/wires/backend.h \
	host/wires/generator.cc \
	host/wires/generator.h \
	host/wires/generator_backend.h \
	host/wires/pace.cc \
	host/wires/pace.h \
	host/wires/pcap_backend.h \
	host/wires/peer.cc \
	host/wires/peer.h \
	host/wires/round_trips.cc \
	host/wires/round_trips.h \
	host/wires/sink.cc \
	host/wires/sink.h \
	host/wires/tap.cc \
	host/wires/tap.h \
	host/wires/test_frame.cc \
	host/wires/test_frame.h

noinst_LTLIBRARIES += host/libnetvscpcap.la
host_libnetvscpcap_la_SOURCES = host/wires/pcap_backend.cc
host_libnetvscpcap_la_LIBADD = $(PCAP_LIBS)

sbin_PROGRAMS += host/netvsc-host
host_netvsc_host_SOURCES = host/main.cc
host_netvsc_host_LDADD = host/libnetvscpcap.la host/libnetvschost.la

man_MANS += host/netvsc-host.8
EXTRA_DIST += host/netvsc-host.8

# What the kernel shows of a NIC: GUIDs, sysfs, UIO and mappings.  A library of
# its own, for tools that need nothing else of the driver.
noinst_LTLIBRARIES += driver/kernel/libnetvsckernel.la
driver_kernel_libnetvsckernel_la_SOURCES = \
	driver/kernel/exclusive.cc \
	driver/kernel/exclusive.h \
	driver/kernel/guid.cc \
	driver/kernel/guid.h \
	driver/kernel/sysfs.cc \
	driver/kernel/sysfs.h \
	driver/kernel/uio.cc \
	driver/kernel/uio.h \
	driver/kernel/uio_chardev.cc \
	driver/kernel/uio_chardev.h \
	driver/kernel/uio_mapping.cc \
	driver/kernel/uio_mapping.h \
	driver/kernel/uio_socket.cc \
	driver/kernel/uio_socket.h

# libnetvsc: the netvsc poll driver.  Needs no OVS tree.
noinst_LTLIBRARIES += driver/libnetvsc.la
driver_libnetvsc_la_SOURCES = \
	driver/attach_nvsp.cc \
	driver/attach_nvsp.h \
	driver/attach_rndis.cc \
	driver/attach_rndis.h \
	driver/cache_line.h \
	driver/channel.cc \
	driver/channel.h \
	driver/control_mailbox.cc \
	driver/control_mailbox.h \
	driver/copy.h \
	driver/counters.h \
	driver/counts.h \
	driver/device.cc \
	driver/device.h \
	driver/device_impl.h \
	driver/device_thread.cc \
	driver/error.h \
	driver/ethernet.h \
	driver/frame.h \
	driver/frame_parser.h \
	driver/host_requests.cc \
	driver/host_requests.h \
	driver/negotiated.h \
	driver/net_channel.h \
	driver/nvsp_packets.h \
	driver/range.h \
	driver/reader_watch.cc \
	driver/reader_watch.h \
	driver/receive_buffer.h \
	driver/retry_pause.h \
	driver/ring.cc \
	driver/ring.h \
	driver/ring_consumer.cc \
	driver/ring_consumer.h \
	driver/rndis_packet.cc \
	driver/rndis_packet.h \
	driver/rndis_shape.cc \
	driver/rndis_shape.h \
	driver/rx_queue.cc \
	driver/rx_queue.h \
	driver/send_sections.cc \
	driver/send_sections.h \
	driver/send_watchdog.h \
	driver/session.cc \
	driver/session.h \
	driver/session_context.h \
	driver/session_fault.h \
	driver/shared_memory.h \
	driver/statistics.cc \
	driver/statistics.h \
	driver/transaction_id.h \
	driver/tx_queue.cc \
	driver/tx_queue.h
driver_libnetvsc_la_LIBADD = \
	driver/kernel/libnetvsckernel.la -lpthread

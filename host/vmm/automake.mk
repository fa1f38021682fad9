# netvsc-vmm: a VM around the NICs of the emulated host, for a stock kernel.
# Its code is a library, so that the unit tests can link it.
noinst_LTLIBRARIES += host/vmm/libnetvscvmm.la
host_vmm_libnetvscvmm_la_SOURCES = \
	host/vmm/acpi.cc \
	host/vmm/acpi.h \
	host/vmm/aml.cc \
	host/vmm/aml.h \
	host/vmm/cpuid.cc \
	host/vmm/cpuid.h \
	host/vmm/gpadls.cc \
	host/vmm/gpadls.h \
	host/vmm/guest_ram.cc \
	host/vmm/guest_ram.h \
	host/vmm/hypercall.cc \
	host/vmm/hypercall.h \
	host/vmm/hypervisor.h \
	host/vmm/kvm.cc \
	host/vmm/kvm.h \
	host/vmm/kvm_api.h \
	host/vmm/kvm_machine.cc \
	host/vmm/kvm_machine.h \
	host/vmm/linux_boot.cc \
	host/vmm/linux_boot.h \
	host/vmm/platform.cc \
	host/vmm/platform.h \
	host/vmm/ports.h \
	host/vmm/synic.cc \
	host/vmm/synic.h \
	host/vmm/uart.cc \
	host/vmm/uart.h \
	host/vmm/vm_machine.cc \
	host/vmm/vm_machine.h \
	host/vmm/vmbus_device.cc \
	host/vmm/vmbus_device.h \
	host/vmm/vmbus_server.cc \
	host/vmm/vmbus_server.h

# Runs where there is nothing else: in an initramfs.
noinst_PROGRAMS += host/vmm/netvsc-vmm
host_vmm_netvsc_vmm_SOURCES = host/vmm/main.cc
host_vmm_netvsc_vmm_LDFLAGS = $(AM_LDFLAGS) $(STATIC_LDFLAGS)
host_vmm_netvsc_vmm_LDADD = host/vmm/libnetvscvmm.la host/libnetvschost.la

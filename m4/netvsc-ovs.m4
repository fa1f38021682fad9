# The Open vSwitch tree that our switch is linked from.

# NETVSC_OVS
# ----------
# Options, the tree's compiler flags, and lib/ovs-probe.h: what the private
# headers of this version of OVS offer.  OVS has no version number for the
# preprocessor, so each difference is looked for by itself.
AC_DEFUN([NETVSC_OVS], [
  AC_ARG_WITH([ovs-source],
    [AS_HELP_STRING([--with-ovs-source=DIR],
       [source tree of Open vSwitch; build-aux/ovs-tree makes one])])
  AC_ARG_WITH([ovs-build],
    [AS_HELP_STRING([--with-ovs-build=DIR],
       [finished build of that source [the source tree itself]])])
  AC_ARG_WITH([ovs],
    [AS_HELP_STRING([--without-ovs],
       [only the driver library, the emulated host and their tests])])

  AC_ARG_ENABLE([ovs-link],
    [AS_HELP_STRING([--disable-ovs-link],
       [the tree of Open vSwitch has headers only: `make glue-objects` compiles
        what uses them, and nothing can be linked])])

  AS_IF([test "$with_ovs" = no],
    [AS_IF([test -n "$with_ovs_source$with_ovs_build"],
       [AC_MSG_ERROR([--without-ovs contradicts --with-ovs-source and
                      --with-ovs-build])])],
    [test -z "$with_ovs_source"],
    [AC_MSG_ERROR([no Open vSwitch tree given.
  Debian's, built and kept in a cache:  eval "\$($srcdir/build-aux/ovs-tree)"
  then configure with it:  --with-ovs-source=\$OVS_SRC dnl
--with-ovs-build=\$OVS_BUILD
  or leave the switch out:  --without-ovs])],
    [_NETVSC_OVS_TREE])

  AM_CONDITIONAL([WITH_OVS], [test "$with_ovs" != no])
  AC_SUBST([OVS_SRC])
  AC_SUBST([OVS_BUILD])
  AC_SUBST([OVS_CPPFLAGS])
  AC_SUBST([OVS_CFLAGS])
])

# Sets OVS_SRC, OVS_BUILD, OVS_CPPFLAGS and OVS_CFLAGS; writes the probes.
AC_DEFUN([_NETVSC_OVS_TREE], [
  OVS_SRC=$(cd "$with_ovs_source" && pwd) ||
    AC_MSG_ERROR([$with_ovs_source is no directory])
  OVS_BUILD=$(cd "${with_ovs_build:-$OVS_SRC}" && pwd) ||
    AC_MSG_ERROR([$with_ovs_build is no directory])
  AS_IF([test ! -e "$OVS_SRC/lib/netdev-provider.h"],
    [AC_MSG_ERROR([$OVS_SRC is no Open vSwitch source tree])])
  netvsc_files=config.h
  AS_IF([test "$enable_ovs_link" != no],
    [AS_VAR_APPEND([netvsc_files],
       [" lib/libopenvswitch.la ofproto/libofproto.la vswitchd/bridge.o"])])
  for netvsc_file in $netvsc_files; do
    AS_IF([test ! -e "$OVS_BUILD/$netvsc_file"],
      [AC_MSG_ERROR([$OVS_BUILD is no finished Open vSwitch build:
                     $netvsc_file is missing])])
  done

  # System directories, so that OVS's headers do not warn under our flags.
  for netvsc_dir in "$OVS_BUILD" "$OVS_SRC/include" "$OVS_BUILD/include" \
                    "$OVS_SRC/lib" "$OVS_BUILD/lib"; do
    AS_VAR_APPEND([OVS_CPPFLAGS], [" -isystem $netvsc_dir"])
  done
  # OVS is compiled without strict aliasing; its inline functions rely on it.
  # Its logging macros compare an enum with an int wherever they are used.
  # A tree built with DPDK adds machine flags and `-include rte_config.h`,
  # without which sizes of structures differ.
  OVS_CFLAGS="-fno-strict-aliasing -Wno-sign-compare $(sed -n 's/^OVS_CFLAGS = //p' \
      "$OVS_BUILD/Makefile" | tr ' ' '\n' |
      grep -E '^-[[mID]]|^-include|^rte_config' | tr '\n' ' ')"

  netvsc_save_CPPFLAGS=$CPPFLAGS
  netvsc_save_CFLAGS=$CFLAGS
  CPPFLAGS="$OVS_CPPFLAGS $CPPFLAGS"
  CFLAGS="$CFLAGS $OVS_CFLAGS"
  m4_pushdef([_netvsc_includes], [[#include <config.h>
#include <netdev-provider.h>
#include <dp-packet.h>]])
  # A probe that fails for a wrong reason would select an older API in
  # silence.  This member is in all versions: without it, nothing is probed.
  AC_CHECK_MEMBER([struct netdev_class.is_pmd], [],
    [AC_MSG_ERROR([the private headers of $OVS_SRC do not compile;
                   see config.log])], [_netvsc_includes])
  netvsc_probes=
  AC_CHECK_MEMBER([struct netdev_class.get_speed],
    [netvsc_probes="$netvsc_probes GET_SPEED"], [], [_netvsc_includes])
  AC_CHECK_MEMBER([struct netdev_class.get_duplex],
    [netvsc_probes="$netvsc_probes GET_DUPLEX"], [], [_netvsc_includes])
  AC_CHECK_DECL([dp_packet_get_tso_segsz],
    [netvsc_probes="$netvsc_probes TSO_SEGSZ"], [], [_netvsc_includes])
  AC_CHECK_MEMBER([struct dp_packet.csum_start],
    [netvsc_probes="$netvsc_probes CSUM_START"], [], [_netvsc_includes])
  AC_CHECK_DECL([dp_packet_ip_checksum_set_good],
    [netvsc_probes="$netvsc_probes CHECKSUM_SETTERS"], [], [_netvsc_includes])
  AC_CHECK_DECL([dp_packet_l4_checksum_good],
    [netvsc_probes="$netvsc_probes L4_CHECKSUM_GOOD"], [], [_netvsc_includes])
  AC_CHECK_DECL([dp_packet_ip_checksum_good],
    [netvsc_probes="$netvsc_probes IP_CHECKSUM_GOOD"], [], [_netvsc_includes])
  m4_popdef([_netvsc_includes])
  CPPFLAGS=$netvsc_save_CPPFLAGS
  CFLAGS=$netvsc_save_CFLAGS

  AC_CONFIG_COMMANDS([lib/ovs-probe.h], [
    AS_MKDIR_P([lib])
    {
      echo "/* What the OVS tree at hand offers; written by configure. */"
      echo "#pragma once"
      for probe in $netvsc_probes; do
        echo "#define NETVSC_OVS_HAVE_$probe 1"
      done
    } >lib/ovs-probe.h.new
    # Its date decides what is compiled again.
    if cmp -s lib/ovs-probe.h lib/ovs-probe.h.new; then
      rm lib/ovs-probe.h.new
    else
      mv lib/ovs-probe.h.new lib/ovs-probe.h
    fi], [netvsc_probes="$netvsc_probes"])
])

# What this project asks of its compilers.

# NETVSC_LANGUAGES
# ----------------
# C++20 for our code, C11 with GNU extensions for the OVS glue.  The flags
# become part of the compilers' names, as autoconf itself does it, so that no
# target can lose them by setting flags of its own.
AC_DEFUN([NETVSC_LANGUAGES], [
  CC="$CC -std=gnu11"
  CXX="$CXX -std=c++20"
  AC_LANG_PUSH([C++])
  AC_CACHE_CHECK([whether $CXX is a C++20 compiler], [netvsc_cv_cxx20],
    [AC_COMPILE_IFELSE(
      [AC_LANG_PROGRAM([[#include <atomic>
                         #include <bit>
                         #include <concepts>
                         #include <span>]],
                       [[int word = 0;
                         std::span<int> words(&word, 1);
                         std::atomic_ref<int>(words[0]).store(1);]])],
      [netvsc_cv_cxx20=yes], [netvsc_cv_cxx20=no])])
  AC_LANG_POP([C++])
  AS_IF([test "$netvsc_cv_cxx20" = no],
        [AC_MSG_ERROR([g++ 12 or clang++ 14 or later is needed])])
])

# NETVSC_WARNINGS
# ---------------
# -Wall -Wextra always; errors only where asked for, because a later compiler
# that knows more warnings must not break a user's build.
AC_DEFUN([NETVSC_WARNINGS], [
  AC_ARG_ENABLE([Werror],
    [AS_HELP_STRING([--enable-Werror], [treat warnings as errors])])
  WARNING_FLAGS='-Wall -Wextra'
  AS_IF([test "$enable_Werror" = yes], [AS_VAR_APPEND([WARNING_FLAGS],
                                                      [' -Werror'])])
  AC_SUBST([WARNING_FLAGS])
])

# NETVSC_SANITIZERS
# -----------------
# The sanitizers apply to every object of ours.  Frame pointers and -O1 make
# their reports readable.  They cannot be part of a static program: what
# should be one has STATIC_LDFLAGS.
AC_DEFUN([NETVSC_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers=LIST],
       [compile with gcc's sanitizers: address,undefined or thread])])
  STATIC_LDFLAGS=
  AC_SUBST([STATIC_LDFLAGS])
  AS_CASE([$enable_sanitizers],
    [''|no], [STATIC_LDFLAGS=-all-static],
    [yes], [AC_MSG_ERROR([--enable-sanitizers wants a list:
                          --enable-sanitizers=address,undefined])],
    [sanitize="-fsanitize=$enable_sanitizers"
     AS_CASE([$enable_sanitizers],
       # A report of undefined behaviour must fail the test that caused it.
       [*undefined*], [AS_VAR_APPEND([sanitize],
                                     [" -fno-sanitize-recover=undefined"])])
     AS_VAR_APPEND([sanitize], [" -fno-omit-frame-pointer"])
     CFLAGS="$CFLAGS $sanitize"
     CXXFLAGS="$CXXFLAGS $sanitize"
     LDFLAGS="$LDFLAGS $sanitize"
     AC_MSG_CHECKING([whether $CXX links with $sanitize])
     AC_LANG_PUSH([C++])
     AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])],
       [AC_MSG_RESULT([no])
        AC_MSG_ERROR([no library for these sanitizers: $enable_sanitizers])])
     AC_LANG_POP([C++])])
])

# NETVSC_PCAP
# -----------
# netvsc-host reads and writes captures.
AC_DEFUN([NETVSC_PCAP], [
  AC_LANG_PUSH([C++])
  AC_CHECK_HEADER([pcap/pcap.h], [],
    [AC_MSG_ERROR([libpcap is needed: apt-get install libpcap0.8-dev])])
  AC_CHECK_LIB([pcap], [pcap_open_offline], [PCAP_LIBS=-lpcap],
    [AC_MSG_ERROR([libpcap is needed: apt-get install libpcap0.8-dev])])
  AC_LANG_POP([C++])
  AC_SUBST([PCAP_LIBS])
])

# NETVSC_HEADER_LIBRARIES
# -----------------------
# Libraries that consist of headers, and GoogleTest, which only `make check`
# needs: its absence is reported there.
AC_DEFUN([NETVSC_HEADER_LIBRARIES], [
  AC_LANG_PUSH([C++])
  AC_CHECK_HEADER([CLI/CLI.hpp], [],
    [AC_MSG_ERROR([CLI11 is needed: apt-get install libcli11-dev])])
  AC_CHECK_HEADER([nlohmann/json.hpp], [],
    [AC_MSG_ERROR([nlohmann's JSON library is needed:
                   apt-get install nlohmann-json3-dev])])
  AC_LANG_POP([C++])
])

# NETVSC_DPDK
# -----------
# DPDK's libraries, only for the bench: its netvsc driver is who we are
# compared with.  Their headers bring machine flags and a file to include.
AC_DEFUN([NETVSC_DPDK], [
  AC_PATH_PROG([PKG_CONFIG], [pkg-config], [no])
  AC_MSG_CHECKING([for DPDK, which the bench compares with])
  DPDK_CPPFLAGS=
  DPDK_CXXFLAGS=
  AS_IF([test "$PKG_CONFIG" != no && $PKG_CONFIG --exists 'libdpdk >= 22.11'],
    [netvsc_have_dpdk=yes
     netvsc_dpdk=`$PKG_CONFIG --modversion libdpdk`
     AC_MSG_RESULT([$netvsc_dpdk])
     # System directories, so that its headers do not warn under our flags.
     DPDK_CPPFLAGS=`$PKG_CONFIG --cflags-only-I libdpdk | sed 's/-I/-isystem /g'`
     DPDK_CXXFLAGS=`$PKG_CONFIG --cflags-only-other libdpdk`],
    [netvsc_have_dpdk=no
     AC_MSG_RESULT([no; for the bench: apt-get install libdpdk-dev])])
  AM_CONDITIONAL([WITH_DPDK], [test "$netvsc_have_dpdk" = yes])
  AC_SUBST([DPDK_CPPFLAGS])
  AC_SUBST([DPDK_CXXFLAGS])
])

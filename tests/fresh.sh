#!/usr/bin/env bash
# `./quickstart demo` on a machine that has never seen this project: a minimal
# Debian in a directory of its own, with processes and mounts of its own.  See
# `tests/fresh.sh --help`.
set -uo pipefail
# Each background job becomes a process group of its own, as on a terminal.
set -m

usage () {
    cat <<END
usage: tests/fresh.sh [--keep] [--uncommitted] [SUITE...]

For each SUITE of Debian (bookworm and trixie, if none is given): makes a
minimal root (debootstrap, kept as a tarball in the cache), copies HEAD into
it, and runs \`./quickstart demo\` there, as on a machine that knows nothing
yet; it must exit with 0.  Then interrupts five more demos at five places.
Before and after each run, processes, network namespaces, links and mounts
must be the same.

  --keep         leave the root where it is, and say where
  --uncommitted  copy the work tree as it is instead of HEAD

Needs root, and the network for apt, as this machine's apt is set up for it.
Takes about six minutes for each.
END
}

say () { printf '%s\n' "$*"; }

die () {
    printf 'fresh.sh: %s\n' "$*" >&2
    exit 1
}

# Where the source lies in the new root.
readonly home=/root/ovs-netvsc

# --- The root --------------------------------------------------------------

make_root () {
    local cache=${NETVSC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ovs-netvsc}
    local tarball=$cache/debian-$suite-minbase.tar
    if test ! -e "$tarball"; then
        command -v debootstrap >/dev/null ||
            die "debootstrap is missing: apt-get install debootstrap"
        mkdir -p "$cache" "$root.new" || return
        debootstrap --variant=minbase "$suite" "$root.new" \
            "$(build-aux/debian-archive lines "$suite" |
               awk -v suite="$suite" '$4 == suite { print $3; exit }')" \
            >"$root.log" 2>&1 || {
            tail -n 20 "$root.log"
            die "debootstrap failed"
        }
        tar -C "$root.new" -cf "$tarball.$$" . &&
            mv "$tarball.$$" "$tarball" || die "cannot keep $tarball"
        rm -rf "$root.new"
    fi
    tar -C "$root" -xpf "$tarball" || die "cannot unpack $tarball"

    # The way to the archives is this machine's: their addresses, proxies and
    # what else it says about fetching.
    build-aux/debian-archive lines "$suite" >"$root/etc/apt/sources.list"
    apt-config dump Acquire | grep -v '^Acquire::IndexTargets' \
        >"$root/etc/apt/apt.conf.d/50machine"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

    mkdir "$root$home"
    if $uncommitted; then
        git ls-files -z --cached --others --exclude-standard |
            tar --null -T - -cf - | tar -C "$root$home" -xf -
    else
        git archive HEAD | tar -C "$root$home" -xf -
    fi || die "cannot copy the source into $root$home"
}

# --- Inside: processes and mounts of our own -------------------------------

# What a machine needs to look like one.
mount_root () {
    # A mount of its own, as the root of mount namespaces made below it.
    mount --bind "$root" "$root" || return
    mount -t proc proc "$root/proc" &&
        mount -t sysfs -o ro sysfs "$root/sys" &&
        mount -t tmpfs -o mode=755 run "$root/run" &&
        mount -t tmpfs -o mode=755 dev "$root/dev" || return
    mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net" &&
        mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts" &&
        mount -t tmpfs -o mode=1777 shm "$root/dev/shm" &&
        ln -s pts/ptmx "$root/dev/ptmx" &&
        ln -s /proc/self/fd "$root/dev/fd" || return
    local name major minor
    while read -r name major minor; do
        mknod -m 666 "$root/dev/$name" c "$major" "$minor" || return
    done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
net/tun 10 200
END
}

# All that a run could leave behind, as text: one line each.
snapshot () {
    local process words
    # With nothing but the shell's own commands, so as to meet nobody here.
    for process in /proc/[0-9]*; do
        test "${process#/proc/}" != $$ || continue
        mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
        test -z "${words[*]}" || say "process ${words[*]}"
    done
    readlink /proc/[0-9]*/ns/net 2>/dev/null | sort -u |
        sed 's/^/network namespace /'
    ip -o link | sed 's/^\([0-9]*: [^:]*\):.*/link \1/'
    cut -d ' ' -f 3- /proc/self/mountinfo | sed 's/^/mount /' | sort
}

compare () {
    snapshot >"$scratch/after"
    if diff "$scratch/before" "$scratch/after" >"$scratch/difference"; then
        say "  processes, network namespaces, links and mounts: as before"
    else
        sed 's/^/  | /' "$scratch/difference"
        say "  FAILED: left something behind (<) or took it away (>)"
        failed=1
    fi
}

demo () {
    exec chroot "$root" /bin/sh -c "cd $home && exec ./quickstart demo"
}

# interrupt WHOM TEXT: runs the demo until it prints TEXT, then sends SIGINT
# to quickstart alone or to its whole process group.
interrupt () {
    local whom=$1 text=$2 tries process status=0
    say ''
    say "demo, SIGINT to the $whom at \"$text\""
    demo >"$scratch/output" 2>&1 </dev/null &
    process=$!
    for ((tries = 0; tries < 1200; tries++)); do
        grep -qF -- "$text" "$scratch/output" && break
        kill -0 "$process" 2>/dev/null || break
        sleep 0.05
    done
    case $whom in
        process) kill -INT "$process" ;;
        group) kill -INT -- "-$process" ;;
    esac
    wait "$process" || status=$?
    if ! grep -qF -- "$text" "$scratch/output"; then
        say "  FAILED: never got there"
        failed=1
    elif ((status != 130)); then
        tail -n 15 "$scratch/output" | sed 's/^/  | /'
        say "  FAILED: exit status $status, not 130"
        failed=1
    fi
    compare
}

inside () {
    failed=0
    mount -t proc proc /proc && mount_root || die "cannot mount in $root"
    scratch=$(mktemp -d "$root/tmp/fresh.XXXXXX") || exit

    snapshot >"$scratch/before"
    say 'demo, from nothing'
    demo </dev/null &
    if wait $!; then
        say '  exit status 0'
    else
        say "  FAILED: exit status $?"
        failed=1
    fi
    compare
    test $failed = 0 || exit 1

    interrupt process 'Open vSwitch'
    interrupt group 'netvsc-host: a Hyper-V'
    interrupt process 'ovsdb-server and'
    interrupt group 'ping, IPv4'
    interrupt process 'iperf3,'
    exit $failed
}

# --- Outside ---------------------------------------------------------------

if test "${1-}" = --inside; then
    root=$2
    inside
fi

keep=false
uncommitted=false
suites=()
options=()
for argument; do
    case $argument in
        --keep) keep=: options+=("$argument") ;;
        --uncommitted) uncommitted=: options+=("$argument") ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 2 ;;
        *) suites+=("$argument") ;;
    esac
done
((${#suites[@]})) || suites=(bookworm trixie)
self=$(realpath "$0")
cd "$(dirname "$self")/.." || exit
test "$(id -u)" = 0 || die "needs root: sudo tests/fresh.sh"

if ((${#suites[@]} > 1)); then
    for suite in "${suites[@]}"; do
        "$self" "${options[@]}" "$suite" || exit
        say ''
    done
    exit
fi
readonly suite=${suites[0]}

root=$(mktemp -d "${TMPDIR:-/var/tmp}/netvsc-fresh.XXXXXX") || exit
clean_up () {
    if $keep; then
        say "the root: $root"
    else
        rm -rf "$root" "$root.new" "$root.log"
    fi
}
child=''
interrupted () {
    trap '' INT TERM HUP
    # With it goes everything inside.
    test -z "$child" || { kill -KILL "$child"; wait "$child"; } 2>/dev/null
    exit 130
}
trap clean_up EXIT
trap interrupted INT TERM HUP

begin=$SECONDS
say "a minimal Debian, $suite, in $root"
make_root
say "  $((SECONDS - begin)) s"
say ''
status=0
unshare --mount --pid --fork --kill-child "$self" --inside "$root" &
child=$!
wait "$child" || status=$?
child=''
say ''
if test $status = 0; then
    say "fresh.sh: passed, in $((SECONDS - begin)) s"
else
    say "fresh.sh: FAILED, in $((SECONDS - begin)) s"
fi
exit $status

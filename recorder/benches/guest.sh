#!/usr/bin/env bash
# Measures in instructions, which do not depend on the machine: boots a Debian 6.1
# kernel under qemu's emulation with a clock that advances 1 ns per instruction and
# runs one of guest/*.sh in it.
#
#   recorder/benches/guest.sh http|event|sets [RECORDER_OPTION...]
#
# http: instructions added to one HTTP request (nginx, ab -k -c 4, REQUESTS=20000, TURNS=3).
# sets: the same by each probe set, without what starting costs.
# event: instructions of getppid() and of a send or receive of 256 bytes.
# Needs .ci/setup apt kernels, and a built retrospan-record ($RECORDER, default
# target/debug/retrospan-record); without one only the bare figures come out.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lab=${RETROSPAN_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/retrospan-ci}
target=${CARGO_TARGET_DIR:-$root/target}
recorder=${RECORDER:-$target/debug/retrospan-record}
kernel=${KERNEL:-6.1}
requests=${REQUESTS:-20000}
[ $# -gt 0 ] && [ -x "$here/guest/$1.sh" ] || { echo "usage: guest.sh http|event|sets [RECORDER_OPTION...]" >&2; exit 2; }
measure=$1
shift
options=$(IFS=,; echo "$*")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=$work/image
mkdir -p "$image"/{bin,lib,lib64,proc,sys,dev,tmp,run,etc,var/log/nginx,var/lib/nginx,measure}

# Copies a program (as $2) and the shared libraries it names.
add() {
  local library
  cp -L "$1" "$image/bin/${2:-${1##*/}}"
  ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    [ -e "$image/lib/${library##*/}" ] || cp -L "$library" "$image/lib/"
  done
}
cp -L "$(command -v busybox)" "$image/bin/busybox"
ln -s busybox "$image/bin/sh"
add "$(command -v nginx)"
add "$(command -v ab)"
[ ! -x "$recorder" ] || add "$recorder" retrospan-record
if [ "$measure" = event ]; then
  add "${EVENT_COST:?path of the built event_cost bench}" event_cost
fi
cp -L /lib64/ld-linux-x86-64.so.2 "$image/lib64/"
strip --strip-debug "$image"/bin/* 2>/dev/null || true
printf 'root:x:0:0:root:/:/bin/sh\n' > "$image/etc/passwd"
printf 'root:x:0:\n' > "$image/etc/group"
cp "$here"/guest/*.sh "$here/guest/counting" "$here/guest/nginx.conf" "$image/measure/"
cp "$here/guest/init" "$image/init"
(cd "$image" && find . | cpio --quiet -o -H newc) > "$work/image.cpio"

timeout "${PATIENCE_S:-900}" qemu-system-x86_64 -accel tcg -cpu max -icount shift=0 -smp 1 -m 2048 -nographic -no-reboot \
  -nodefaults -serial stdio -kernel "$lab/kernels/$kernel/vmlinuz" -initrd "$work/image.cpio" \
  -append "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable lpj=4000000 measure=$measure requests=$requests turns=${TURNS:-3} record=$options" \
  < /dev/null | tr -d '\r' | sed -n '/^\(RESULT\|guest:\|event_cost:\|  \)/p; /[Pp]anic/p' | tee "$work/out"
grep -q '^guest: end' "$work/out" && ! grep -q '^guest: .*failed' "$work/out"

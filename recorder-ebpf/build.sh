#!/bin/sh
# Rebuilds the kernel programs: object/retrospan.bpf.o and object/SOURCES.sha256.
#
# Needs bpf-linker (cargo install bpf-linker), llvm-strip, and a rustc with the sources of core:
# Debian's rustc-web, cargo-web and rust-web-src, or else rustup's nightly with rust-src.
# With an argument the object goes there and nothing else is written.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
out=${1:-$here/object/retrospan.bpf.o}
target=${CARGO_TARGET_DIR:-$here/../target}/bpf
PATH=$PATH:/usr/lib/llvm-22/bin
command -v bpf-linker > /dev/null || { echo "bpf-linker is missing: cargo install bpf-linker" >&2; exit 1; }

if [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot 2> /dev/null)/lib/rustlib/src/rust/library/core" ]; then
    cargo=/usr/bin/cargo
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
else
    cargo="rustup run nightly cargo"
fi
# The flags stand here and not in a configuration file, so that an ordinary build never sees them.
# Line numbers go into the object for the verifier's messages; where the sources lay does not.
root=$(cd "$here/.." && pwd)
flags='--cfg=bpf_target_arch="x86_64"'
for flag in -Cdebuginfo=2 -Clink-arg=--btf -Clink-arg=--disable-expand-memcpy-in-order; do
    flags=$flags$(printf '\037')$flag
done
for folder in "$root/" "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    flags=$flags$(printf '\037')--remap-path-prefix=$folder=
done
export CARGO_ENCODED_RUSTFLAGS="$flags"
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_PANIC=abort
unset RUSTFLAGS RUSTUP_TOOLCHAIN || true
$cargo build --quiet --release --locked -Z build-std=core --target bpfel-unknown-none \
    --target-dir "$target" --package retrospan-ebpf
# The type information stays (the kernel wants it), the debugger's goes.
llvm-strip -g -o "$out.tmp" "$target/bpfel-unknown-none/release/retrospan-ebpf"
mv "$out.tmp" "$out"
[ $# -gt 0 ] || sh "$here/sources.sh" > "$here/object/SOURCES.sha256"

#!/bin/sh
# Prints the hashes of everything that the built object is made from. It is "stale" when they differ
# from object/SOURCES.sha256; its own bytes may differ with every compiler.
set -eu
cd "$(dirname "$0")/.."
{
    find recorder-ebpf/src -name '*.rs'
    echo recorder-ebpf/Cargo.toml
    echo recorder-ebpf/build.sh
    echo formats/src/config.rs
    echo formats/src/event.rs
    find formats/src/event -name '*.rs'
} | LC_ALL=C sort | while read -r file; do sha256sum "$file"; done

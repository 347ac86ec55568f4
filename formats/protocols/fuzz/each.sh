#!/bin/sh
# Fuzzes every parser for so many seconds (default 600), one after the other, and says how many inputs each read.
# Needs cargo-fuzz and a nightly compiler. What is found lies in artifacts/.
set -eu
seconds=${1:-600}
cd "$(dirname "$0")"
# The code has no `unsafe`: no address sanitizer, which halves the speed.
cargo +nightly fuzz build -s none
for parser in $(cargo +nightly fuzz list); do
  new=target/new/$parser
  mkdir -p "$new"
  log=target/new/$parser.log
  cargo +nightly fuzz run -s none "$parser" "$new" corpus -- -max_total_time="$seconds" -print_final_stats=1 > "$log" 2>&1 ||
    { echo "$parser: FOUND, see $log"; exit 1; }
  sed -n "s/^stat::number_of_executed_units: */$parser: inputs /p" "$log"
done

#!/bin/sh
# Instructions of system calls with and without a recording.
set -eu
options=$(tr ' ' '\n' < /proc/cmdline | sed -n 's/^record=//p')
event_cost recorder=/bin/retrospan-record unit=instructions rounds=3 calls=5000 "record=${options:---snaplen,256}"

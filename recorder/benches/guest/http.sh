#!/bin/sh
# Instructions that a recording adds to an HTTP request: nginx and ab on loopback,
# bare, recorded, and recorded without a request. The guest's clock advances 1 ns per
# instruction while the CPU works; the time it idles is taken off.
set -eu
. /measure/counting
load() { ab -q -k -c 4 -n "$1" http://127.0.0.1:8080/ > /tmp/ab.out; }
complete() { grep -q "^Complete requests: *$1\$" /tmp/ab.out && grep -q '^Failed requests: *0$' /tmp/ab.out; }

# Records `$1` requests; prints the instructions of the whole recording.
recording() {
  rm -rf /tmp/c.cap /tmp/err
  mkfifo /tmp/err
  from=$(busy)
  # shellcheck disable=SC2086 # several options
  retrospan-record $options -o /tmp/c.cap 2> /tmp/err &
  pid=$!
  exec 3< /tmp/err
  while read -r line <&3; do
    case $line in "recording to "*) break ;; esac
    echo "guest: $line"
  done
  if [ "$1" -gt 0 ]; then load "$1"; else sleep "$2"; fi
  kill -INT $pid
  cat <&3 > /tmp/summary
  wait $pid
  exec 3<&-
  total=$(($(busy) - from))
}

nginx -c /measure/nginx.conf
load 2000 # caches, connections, lazily bound functions
for turn in $(seq "$turns"); do
  from=$(busy)
  load "$requests"
  complete "$requests"
  echo "RESULT bare $turn $((($(busy) - from) / requests))"
done
[ -x /bin/retrospan-record ] || exit 0
for turn in $(seq "$turns"); do
  recording 0 "$(awk -v n="$requests" 'BEGIN { print n * 70e-6 }')"
  idle=$total
  recording "$requests" 0
  complete "$requests"
  echo "RESULT recorded $turn $(((total - idle) / requests)) start_and_stop $idle"
done
sed 's/^/guest: /' /tmp/summary

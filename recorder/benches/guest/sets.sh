#!/bin/sh
# Instructions that each probe set adds to an HTTP request, without those of starting and ending: as http.sh, but
# counted while the recording is under way. What differs between the sets is the kernel programs' share.
set -eu
. /measure/counting
load() {
  ab -q -k -c 4 -n "$requests" http://127.0.0.1:8080/ > /tmp/ab.out
  grep -q "^Complete requests: *$requests\$" /tmp/ab.out && grep -q '^Failed requests: *0$' /tmp/ab.out
}
counted() { # what
  for turn in $(seq "$turns"); do
    from=$(busy)
    load
    echo "RESULT $1 $turn $((($(busy) - from) / requests))"
  done
}

nginx -c /measure/nginx.conf
load # caches, connections, lazily bound functions
counted bare
for set in syscalls sockets; do
  rm -f /tmp/err
  # shellcheck disable=SC2086 # several options
  retrospan-record $options --probes $set -o /tmp/$set.cap 2> /tmp/err &
  pid=$!
  until grep -qs "^recording to" /tmp/err; do sleep 0.1; done
  # Calls that wait when it begins have an end.
  sleep 3
  counted $set
  kill -INT $pid
  wait $pid
  sed 's/^/guest: /' /tmp/err
done

#!/usr/bin/env python3
"""What a call of a TLS library costs its program while it is recorded.

    tls.py RECORDER [ROUNDS] [CALLS]

One thread sends and receives 256 bytes over a TLS connection to itself, without a recorder, with one, and with one that has
`--tls`, in turns. Printed are CPU times of the thread for a pair of SSL_write and SSL_read with the system calls below them, us: the
median of the rounds, and what is more than without.
"""

import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BYTES = 256
recorder = sys.argv[1]
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
calls = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000


def connection(home):
    name = ["-subj", "/CN=localhost", "-days", "2", "-keyout", f"{home}/key", "-out", f"{home}/certificate"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *name], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(f"{home}/certificate", f"{home}/key")
    client = ssl.create_default_context(cafile=f"{home}/certificate")
    listener = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ends = []
    accept = threading.Thread(target=lambda: ends.append(server.wrap_socket(other, server_side=True)))
    accept.start()
    ends.insert(0, client.wrap_socket(one, server_hostname="localhost"))
    accept.join()
    return ends


def loop(ends, count):
    data, room = b"x" * BYTES, bytearray(BYTES)
    began = time.thread_time_ns()
    for _ in range(count):
        ends[0].send(data)
        ends[1].recv_into(room)
    return (time.thread_time_ns() - began) / count / 1e3


def recording(home, more):
    out = f"{home}/bench.cap"
    shutil.rmtree(out, ignore_errors=True)
    args = [recorder, "--pid", str(os.getpid()), "--snaplen", str(BYTES), *more, "-o", out]
    process = subprocess.Popen(args, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("recording to"):
            break
    # What it prints at its end must find room.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process


with tempfile.TemporaryDirectory() as home:
    ends = connection(home)
    loop(ends, calls // 10)
    kinds = {"without": None, "recorded": [], "with --tls": ["--tls"]}
    times = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, more in kinds.items():
            process = None if more is None else recording(home, more)
            times[kind].append(loop(ends, calls))
            if process:
                process.send_signal(signal.SIGINT)
                process.wait()
    bare = statistics.median(times["without"])
    for kind, found in times.items():
        median = statistics.median(found)
        print(f"{kind:12} {median:7.2f} us  +{median - bare:.2f}  ({min(found):.2f} .. {max(found):.2f})")

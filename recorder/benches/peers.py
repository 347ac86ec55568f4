#!/usr/bin/env python3
"""The same traffic watched by nobody, by the recorder and by its peers in turns: what is left of the throughput, and the CPU
time that a request takes in servers, clients and whoever watches.

    recorder/benches/peers.py http [OPTION...]     nginx under wrk
    recorder/benches/peers.py redis [OPTION...]    redis-server under redis-benchmark, one command a round trip

Peers: tcpdump -s 256, perf record of the same system calls, strace -f of the server (for scale). All of them write to a file.
OPTIONs go to retrospan-record ($RECORDER, default target/debug/retrospan-record). $TURNS (default 5), $CONNECTIONS (16) and
$PORT as in http.py. Needs nginx, wrk, redis, tcpdump, perf, strace and root; a peer that is not installed is left out, and said.
Ends with 1 where a floor is missed.
"""

import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

from traffic import (CONNECTIONS, PORT, Recording, cpu_us, events_of, fail, load, measured_load,
                     nginx, run_measure, verdict, with_children)

TURNS = int(os.environ.get("TURNS", "5"))
TURN_S = 5
COMMANDS = int(os.environ.get("COMMANDS", "300000"))
CALLS = ["read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg", "sendfile64"]


@contextlib.contextmanager
def nobody(_folder, _server):
    yield []


def recorder(options):
    @contextlib.contextmanager
    def run(folder, _server):
        recording = Recording(folder / "peer.cap", ["--port", str(PORT), *options])
        yield [recording.process.pid]
        manifest = recording.stop()
        shutil.rmtree(recording.capture)
        if manifest["losses"] or not events_of(manifest):
            fail(f"the recorder lost {manifest['losses']}")
    return run


def program(words):
    """A peer that runs until it is interrupted; `words` gets the file it writes to and the server's processes."""
    @contextlib.contextmanager
    def run(folder, server):
        out = folder / "peer.out"
        peer = subprocess.Popen(words(str(out), with_children(server)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(1.5)
        if peer.poll() is not None:
            fail(f"{peer.args[0]} ended: {peer.stderr.read().decode()}")
        yield with_children(peer.pid)
        peer.send_signal(signal.SIGINT)
        peer.communicate()
        if not out.stat().st_size:
            fail(f"{peer.args[0]} wrote nothing")
        out.unlink()
    return run


def watchers(options):
    tcpdump = lambda out, _: ["tcpdump", "-i", "lo", "-s", "256", "-B", "65536", "-w", out, f"tcp port {PORT}"]
    events = ",".join(f"syscalls:sys_exit_{call}" for call in CALLS)
    perf = lambda out, _: ["perf", "record", "-q", "-a", "-e", events, "-o", out]
    strace = lambda out, pids: ["strace", "-f", "-q", "-e", "trace=" + ",".join(CALLS).replace("64", ""), "-o", out,
                                *(word for pid in pids for word in ("-p", str(pid)))]
    peers = {"tcpdump -s 256": program(tcpdump), "perf record": program(perf), "strace -f": program(strace)}
    for name in [name for name in peers if not shutil.which(name.split()[0])]:
        print(f"{name}: not installed, left out")
        del peers[name]
    return {"nobody": nobody, "retrospan-record": recorder(options), **peers}


@contextlib.contextmanager
def redis(folder):
    server = subprocess.Popen(["redis-server", "--port", str(PORT), "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if not subprocess.run(["redis-cli", "-p", str(PORT), "ping"], capture_output=True, check=False).returncode:
                break
            time.sleep(0.1)
        else:
            fail("redis-server does not answer")
        yield server.pid
    finally:
        server.terminate()
        server.wait()


def redis_load(server, observers):
    """Commands a second, and the CPU time in us that one takes in redis-server, redis-benchmark and those who watch."""
    watched = [[server], list(observers)]
    before = [cpu_us(part) for part in watched]
    client = subprocess.Popen(["redis-benchmark", "-p", str(PORT), "-c", str(CONNECTIONS), "-n", str(COMMANDS), "-t", "set", "-q"],
                              stdout=subprocess.PIPE, text=True)
    said = client.stdout.read()
    _, _, used = os.wait4(client.pid, 0)
    client.returncode = 0
    server_us, observer_us = [cpu_us(part) - then for part, then in zip(watched, before)]
    rate = re.findall(r"([\d.]+) requests per second", said)
    if not rate:
        fail(f"redis-benchmark: {said}")
    client_us = (used.ru_utime + used.ru_stime) * 1e6
    return float(rate[-1]), [us / COMMANDS for us in (server_us, client_us, observer_us)]


def compare(folder, server, options, measure):
    names = watchers(options)
    results = {name: [] for name in names}
    for _ in range(TURNS):
        for name, watch in names.items():
            with watch(folder, server) as observers:
                results[name].append(measure(server, observers))
    print("| watched by | requests/s | of nobody's | CPU a request, us | server | client | who watches | more than nobody's |")
    print("|---|---|---|---|---|---|---|---|")
    bare_us = statistics.median(sum(parts) for _, parts in results["nobody"])
    ratios = {}
    for name, runs in results.items():
        rate = statistics.median(rate for rate, _ in runs)
        parts = [statistics.median(part) for part in zip(*(parts for _, parts in runs))]
        whole = statistics.median(sum(parts) for _, parts in runs)
        ratios[name] = statistics.median(run[0] / bare[0] for run, bare in zip(runs, results["nobody"]))
        columns = [f"{rate:.0f}", f"{ratios[name]:.2f}", f"{whole:.1f}", *(f"{part:.1f}" for part in parts), f"{whole - bare_us:.1f}"]
        print(f"| {name} | {' | '.join(columns)} |")
    return ratios["retrospan-record"], statistics.median(sum(parts) for _, parts in results["retrospan-record"]) - bare_us


def over_http(folder, options):
    with nginx(folder) as server:
        load(2)
        ratio, _ = compare(folder, server, options, lambda server, pids: measured_load(TURN_S, server, pids))
    return verdict("throughput recorded / bare", f"{ratio:.3f}", ">= 0.8", ratio >= 0.8)


def over_redis(folder, options):
    with redis(folder) as server:
        redis_load(server, [])
        ratio, more_us = compare(folder, server, options, redis_load)
    passed = verdict("throughput recorded / bare", f"{ratio:.3f}", ">= 0.95", ratio >= 0.95)
    return verdict("CPU time a command, us more", f"{more_us:.2f}", "<= 3", more_us <= 3) and passed


if __name__ == "__main__":
    run_measure({"http": over_http, "redis": over_redis}, __doc__)

#!/usr/bin/env python3
"""A recording of nginx under wrk: what it costs in throughput, what it loses, how large it is.

    recorder/benches/http.py throughput [OPTION...]   wrk with and without the recorder in turns: requests a second, and the
                                                      CPU time that one takes in nginx, wrk and the recorder
    recorder/benches/http.py loss [OPTION...]         a minute of wrk ($LOSS_S), every request recorded, nothing lost
    recorder/benches/http.py short [OPTION...]        a connection for every request ($LOSS_S): none missing, nothing lost
    recorder/benches/http.py size [OPTION...]         bytes on disk against tcpdump | zstd, same traffic
    recorder/benches/http.py ordinary [OPTION...]     the recorder's CPU time at 1,500 events a second, with programs that
                                                      start and end ($DURATION_S, default 120)
    recorder/benches/http.py steady [OPTION...]       memory in the last quarter against the second, with new connections for
                                                      every request, programs that start and end, about 5,000 events a
                                                      second ($DURATION_S, default 3600)

OPTIONs go to retrospan-record ($RECORDER, default target/debug/retrospan-record). $TURNS and $CONNECTIONS change how
often and with how many connections wrk runs (default 5 and 16). Needs nginx, wrk, tcpdump, zstd and root. Every request has a path and an id of its own. Ends with 1 where a floor is missed.
"""

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path

from traffic import (CLOSING, CONNECTIONS, LIGHT, ORDINARY, PORT, Recording, events_of, fail, load,
                     measured_load, nginx, run_measure, verdict)

TURNS = int(os.environ.get("TURNS", "5"))
TURN_S = 5
LOSS_S = int(os.environ.get("LOSS_S", "60"))
ORDINARY_S = int(os.environ.get("DURATION_S", "120"))
STEADY_S = int(os.environ.get("DURATION_S", "3600"))
STEADY_CONNECTIONS_PER_S = 350
ORDINARY_REQUESTS_PER_S = 375
ORDINARY_STARTS_PER_S = 5
SIZE_S = 10
SNAP_BYTES = 256


def throughput(folder, options):
    passed = True
    for name, configuration in [("as Debian configures it", ORDINARY), ("as light as can be", LIGHT)]:
        print(f"nginx {name}:")
        with nginx(folder, configuration) as server:
            passed &= turns(folder, options, server)
    return passed


def turns(folder, options, server):
    load(2)
    bare, recorded = [], []
    for turn in range(TURNS):
        bare.append(measured_load(TURN_S, server))
        recording = Recording(folder / f"{turn}.cap", options)
        recorded.append(measured_load(TURN_S, server, [recording.process.pid]))
        manifest = recording.stop()
        shutil.rmtree(recording.capture)
        print(f"turn {turn}: bare {bare[-1][0]:.0f}/s, recorded {recorded[-1][0]:.0f}/s, {events_of(manifest)} events, "
              f"lost {sum(l['count'] for l in manifest['losses'])}")
    for name, loads in [("bare", bare), ("recorded", recorded)]:
        rate, parts = statistics.median(l[0] for l in loads), [statistics.median(p) for p in zip(*(l[1] for l in loads))]
        print(f"median {name}: {rate:.0f}/s; CPU a request {sum(parts):.1f} us: nginx {parts[0]:.1f}, wrk {parts[1]:.1f}, "
              f"recorder {parts[2]:.1f}")
    ratios = [r[0] / b[0] for r, b in zip(recorded, bare)]
    cpu = statistics.median(sum(l[1]) for l in bare) / statistics.median(sum(l[1]) for l in recorded)
    print(f"CPU a request bare / recorded: {cpu:.3f}; throughput in the turns {min(ratios):.2f} to {max(ratios):.2f}")
    ratio = statistics.median(ratios)
    return verdict("throughput recorded / bare, median of the turns' ratios", f"{ratio:.3f}", ">= 0.8", ratio >= 0.8)


def loss(folder, options):
    with nginx(folder):
        recording = Recording(folder / "loss.cap", options)
        requests, rate = load(LOSS_S)
        manifest = recording.stop()
    events, lost = events_of(manifest), sum(l["count"] for l in manifest["losses"])
    print(f"{requests} requests ({rate:.0f}/s), {events} events ({events / LOSS_S:.0f}/s), {manifest['cost']['peak_rss_bytes'] >> 20} MiB peak")
    # Both ends of each request's send and receive; wrk leaves some in flight that it does not count.
    whole = verdict("data events for each request", f"{events / requests:.3f}", ">= 4", events >= 4 * requests)
    return verdict(f"events lost in {LOSS_S} s", lost, "0", lost == 0) and whole


def short(folder, options):
    with nginx(folder, CLOSING):
        _, bare = load(5)
        recording = Recording(folder / "short.cap", ["--port", str(PORT), *options])
        requests, rate = load(LOSS_S)
        manifest = recording.stop()
    lost = sum(loss["count"] for loss in manifest["losses"])
    sockets = sum(f["rows"] for f in manifest["files"] if f["table"] == "sockets")
    print(f"{requests} requests, {events_of(manifest)} events; {bare:.0f} connections/s without the recorder; "
          f"{manifest['cost']['peak_rss_bytes'] >> 20} MiB peak; losses "
          + ", ".join(f"{loss['kind']} {loss['cause']} {loss['count']}" for loss in manifest["losses"]))
    passed = verdict("connections a second", f"{rate:.0f}", ">= 10000", rate >= 10_000)
    # Both ends of each; wrk leaves some in flight that it does not count.
    passed &= verdict("sockets for each request", f"{sockets / requests:.4f}", ">= 2", sockets >= 2 * requests)
    return verdict(f"lost in {LOSS_S} s", lost, "0", lost == 0) and passed


def pace(seconds, rate_per_s):
    """Times a second so often, as near as sleeping comes."""
    begin = time.monotonic()
    for number in range(int(seconds * rate_per_s)):
        wait = begin + number / rate_per_s - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield number


def ask(connection, number):
    connection.sendall(f"GET /things/{number} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {number:032x}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"x" * 1024):
        piece = connection.recv(65536)
        if not piece:
            fail("nginx closed a connection")
        answer += piece


def start_programs(seconds):
    for _ in pace(seconds, ORDINARY_STARTS_PER_S):
        subprocess.run(["true"], check=True)


def ordinary_load(seconds):
    programs = threading.Thread(target=start_programs, args=(seconds,))
    programs.start()
    connections = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(CONNECTIONS)]
    for number in pace(seconds, ORDINARY_REQUESTS_PER_S):
        ask(connections[number % CONNECTIONS], number)
    programs.join()


def ordinary(folder, options):
    with nginx(folder):
        recording = Recording(folder / "ordinary.cap", options)
        ordinary_load(3)  # Starting is not part of it.
        tasks = Path(f"/proc/{recording.process.pid}/task")
        used = lambda: {t.parent.name: int(t.read_text().split()[0]) / 1e3 for t in tasks.glob("*/schedstat")}
        before, since = used(), time.monotonic()
        ordinary_load(ORDINARY_S)
        after, seconds = used(), time.monotonic() - since
        names = {t: (tasks / t / "comm").read_text().strip() for t in after}
        files = sum(1 for _ in recording.capture.rglob("*.parquet"))
        manifest = recording.stop()
    threads = {names[t]: after[t] - before.get(t, 0) for t in after}
    cpu_us, events = sum(threads.values()), events_of(manifest) * seconds / (seconds + 3)
    parts = ", ".join(f"{name} {us / seconds / 1e4:.3f}" for name, us in sorted(threads.items()))
    print(f"{events / seconds:.0f} events/s for {seconds:.0f} s: {cpu_us / events:.2f} us of CPU an event; % of a core by threads: {parts}; "
          f"{manifest['cost']['peak_rss_bytes'] >> 20} MiB peak; {files} files before the end, {len(manifest['files'])} after, "
          f"{sum(f['bytes'] for f in manifest['files']) / events:.1f} B an event")
    share = cpu_us / seconds / 1e4
    return verdict("CPU of the recorder, % of a core", f"{share:.2f}", "<= 0.3", share <= 0.3)


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def steady(folder, options):
    with nginx(folder):
        recording = Recording(folder / "steady.cap", ["--port", str(PORT), *options])
        programs = threading.Thread(target=start_programs, args=(STEADY_S,))
        programs.start()
        seen = []
        for number in pace(STEADY_S, STEADY_CONNECTIONS_PER_S):
            with socket.create_connection(("127.0.0.1", PORT)) as connection:
                ask(connection, number)
            if number % (10 * STEADY_CONNECTIONS_PER_S) == 0:
                seen.append(rss_kib(recording.process.pid))
        programs.join()
        manifest = recording.stop()
    quarter = len(seen) // 4
    early, late = statistics.median(seen[quarter:2 * quarter]), statistics.median(seen[-quarter:])
    lost = sum(loss["count"] for loss in manifest["losses"])
    print(f"{events_of(manifest)} events in {STEADY_S} s, {lost} lost; memory by quarters "
          f"{[round(statistics.median(seen[n * quarter:(n + 1) * quarter]) / 1024, 1) for n in range(4)]} MiB, "
          f"{manifest['cost']['peak_rss_bytes'] >> 20} MiB peak; CPU {manifest['cost']}")
    flat = verdict("memory in the last quarter / in the second", f"{late / early:.3f}", "<= 1.1", late <= 1.1 * early)
    return verdict("lost", lost, 0, lost == 0) and flat


def size(folder, options):
    passed = True
    for name, more in [("the server's end, as where clients are elsewhere", ["--comm", "nginx"]), ("both ends", [])]:
        print(f"{name}:")
        with nginx(folder):
            passed &= against_tcpdump(folder, [*options, *more])
    return passed


def against_tcpdump(folder, options):
    pcap = folder / "pcap.zst"
    tcpdump = subprocess.Popen(
        ["tcpdump", "-i", "lo", "-s", str(SNAP_BYTES), "-B", "262144", "-U", "-w", "-", f"tcp port {PORT}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False)
    zstd = subprocess.Popen(["zstd", "-q", "-3", "-f", "-o", str(pcap)], stdin=tcpdump.stdout)
    tcpdump.stdout.close()
    try:
        while b"listening on" not in tcpdump.stderr.readline():
            if tcpdump.poll() is not None:
                fail("tcpdump ended")
        recording = Recording(folder / "size.cap", ["--snaplen", str(SNAP_BYTES), "--port", str(PORT), *options])
        requests, _ = load(SIZE_S)
        manifest = recording.stop()
    finally:
        tcpdump.send_signal(signal.SIGINT)
        said = tcpdump.stderr.read().decode()
        tcpdump.wait()
        zstd.wait()
    packets = int(re.search(r"(\d+) packets captured", said)[1])
    if not re.search(r"^0 packets dropped by kernel", said, re.MULTILINE) or manifest["losses"]:
        fail(f"not the same traffic: {said} {manifest['losses']}")
    ours = sum(p.stat().st_size for p in recording.capture.rglob("*") if p.is_file())
    shutil.rmtree(recording.capture)
    theirs, events = pcap.stat().st_size, events_of(manifest)
    print(f"{requests} requests: capture {ours} B, {events} events, {ours / events:.1f} B an event, {ours / requests:.1f} a "
          f"request; pcap.zst {theirs} B, {packets} packets, {theirs / requests:.1f} B a request")
    return verdict("capture / pcap.zst", f"{ours / theirs:.3f}", "<= 0.5", ours <= 0.5 * theirs)


if __name__ == "__main__":
    run_measure({"throughput": throughput, "loss": loss, "short": short, "size": size, "ordinary": ordinary, "steady": steady}, __doc__)

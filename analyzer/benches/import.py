#!/usr/bin/env python3
"""Spans of a packet capture, by us and by tshark, in turn on the same file.

    analyzer/benches/import.py [SECONDS] [ROUNDS]

Captures SECONDS (2) of wrk against nginx on the loopback device: keep-alive connections, a small page. Then, ROUNDS (3) times in
turn: `retrospan import` with the first query of table `spans`, and `tshark -T json -Y http` into nothing. Both must count the same
requests. Needs root, nginx, wrk, tcpdump and tshark, and the built program: $RETROSPAN, else target/debug/retrospan. Ends with 1
where counts differ or we are not 30 times as quick (medians).
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

FLOOR = 30.0
PORT = 18431
CONNECTIONS = 16
NGINX = """
daemon off; master_process off; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; keepalive_requests 1000000;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 "{page}"; }} }}
}}
"""
REQUESTS = "SELECT count(*) FROM spans WHERE protocol = 'http'"


def record(folder, seconds):
    """A packet capture of so many seconds of requests."""
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(NGINX.format(folder=folder, port=PORT, page="x" * 600))
    file = f"{folder}/http.pcap"
    server = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL)
    capture = subprocess.Popen(
        ["tcpdump", "-i", "lo", "-B", "65536", "-w", file, "tcp", "port", str(PORT)], stderr=subprocess.PIPE, text=True
    )
    try:
        capture.stderr.readline()
        time.sleep(0.5)
        load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{PORT}/api/items?page=7"]
        print(subprocess.run(load, check=True, capture_output=True, text=True).stdout.splitlines()[-2].strip())
        time.sleep(1)
    finally:
        for process in (capture, server):
            process.send_signal(signal.SIGTERM)
        said = capture.communicate()[1]
        server.wait()
    print("; ".join(said.split("\n")[-4:]).strip("; "))
    return file


def timed(command, **how):
    """Wall time and CPU time of a command, and what it wrote."""
    before, begin = os.times(), time.monotonic()
    done = subprocess.run(command, check=True, **how)
    took, after = time.monotonic() - begin, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return took, cpu, done.stdout


def ours(program, file, folder):
    capture = f"{folder}/http.cap"
    shutil.rmtree(capture, ignore_errors=True)
    imported = timed([program, "import", file, "-o", capture], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asked = timed(
        [program, "sql", capture, REQUESTS, "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return imported[0] + asked[0], imported[1] + asked[1], int(asked[2].split()[-1]), imported[0]


def theirs(file):
    command = ["tshark", "-r", file, "-T", "json", "-Y", "http"]
    return timed(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)[:2]


def their_requests(file):
    command = ["tshark", "-r", file, "-Y", "http.request", "-T", "fields", "-e", "frame.number"]
    return len(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())


def main():
    seconds, rounds = (int(argument) for argument in (sys.argv[1:] + ["2", "3"][len(sys.argv) - 1 :]))
    program = os.environ.get("RETROSPAN", "target/debug/retrospan")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        file = record(folder, seconds)
        print(f"{os.path.getsize(file) / 1e6:.0f} MB")
        times = []
        for number in range(rounds):
            wall, cpu, requests, importing = ours(program, file, folder)
            their_wall, their_cpu = theirs(file)
            times.append((their_wall / wall, their_cpu / cpu))
            print(
                f"round {number + 1}: we {wall:.2f} s (import {importing:.2f} s), {cpu:.2f} s of CPU, {requests} requests, "
                f"{requests / wall:.0f}/s; tshark {their_wall:.2f} s, {their_cpu:.2f} s of CPU"
            )
        expected = their_requests(file)
    ratios = [statistics.median(ratio) for ratio in zip(*times)]
    print(f"tshark takes {ratios[0]:.1f} times as long (CPU: {ratios[1]:.1f} times)")
    print(f"requests: ours {requests}, tshark's {expected}")
    sys.exit(0 if requests == expected and ratios[0] >= FLOOR else 1)


if __name__ == "__main__":
    main()

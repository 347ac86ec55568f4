"""Traffic and who watches it, for the benches here: nginx, wrk, the recorder, and the CPU time that each takes."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
RECORDER = os.environ.get("RECORDER", str(TARGET / "debug/retrospan-record"))
PORT = int(os.environ.get("PORT", "18080"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "16"))


def fail(why):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {why}")


def run_measure(measures, usage):
    """Runs the measure that the command line names, in a folder of its own; ends with 1 where a floor is missed."""
    if len(sys.argv) < 2 or sys.argv[1] not in measures:
        sys.exit(usage)
    if not shutil.which(RECORDER):
        fail(f"no recorder {RECORDER}: build it, or name it in $RECORDER")
    with tempfile.TemporaryDirectory() as name:
        print(f"{os.uname().sysname} {os.uname().release}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        passed = measures[sys.argv[1]](Path(name), sys.argv[2:])
    sys.exit(0 if passed else 1)


# What nginx does for a request: as little as it can, or what it does as Debian configures it.
LIGHT = ("1", "access_log off;", f"return 200 '{'x' * 1024}';")
CLOSING = ("1", "access_log off; keepalive_timeout 0;", LIGHT[2])
ORDINARY = ("auto", "sendfile on; tcp_nopush on; access_log {folder}/access.log;", "try_files /page =404;")


@contextlib.contextmanager
def nginx(folder, configuration=LIGHT):
    """Runs nginx, which answers every request with 1 KiB; waits until it listens."""
    workers, log, answer = configuration
    folder.chmod(0o755)
    (folder / "page").write_text("x" * 1024)
    (folder / "nginx.conf").write_text(f"""
        user root; worker_processes {workers}; daemon off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 512; }}
        http {{ {log.format(folder=folder)} keepalive_requests 100000000;
                server {{ listen 127.0.0.1:{PORT}; root {folder}; location / {{ {answer} }} }} }}
    """)
    server = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        deadline = time.monotonic() + 10
        while subprocess.run(["curl", "-so", os.devnull, f"http://127.0.0.1:{PORT}/"], check=False).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                fail("nginx does not answer")
        yield server.pid
    finally:
        server.terminate()
        server.wait()


def start_load(seconds):
    return subprocess.Popen(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "http.lua"), f"http://127.0.0.1:{PORT}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_load(wrk):
    """Waits for wrk; returns the requests it finished and those a second."""
    out, _ = wrk.communicate()
    if wrk.returncode or "Non-2xx" in out or "Socket errors" in out:
        fail(f"wrk failed:\n{out}")
    return int(re.search(r"(\d+) requests in", out)[1]), float(re.search(r"Requests/sec: +([\d.]+)", out)[1])


def load(seconds):
    """Runs wrk; returns the requests it finished and those a second."""
    return end_load(start_load(seconds))


def with_children(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(c for child in children for c in with_children(int(child)))]


def cpu_us(pids):
    """CPU time of these processes so far (proc(5), schedstat)."""
    return sum(int(task.read_text().split()[0]) for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e3


def measured_load(seconds, server, observers=()):
    """Requests a second, and the CPU time in us that a request takes in nginx, wrk and those who watch."""
    wrk = start_load(seconds)
    parts = [with_children(server), [wrk.pid], list(observers)]
    # Not the ends, where wrk connects and is gone.
    time.sleep(0.2)
    before = [cpu_us(part) for part in parts]
    since = time.monotonic()
    time.sleep(seconds - 0.5)
    used = [cpu_us(part) - then for part, then in zip(parts, before)]
    window_s = time.monotonic() - since
    _, rate = end_load(wrk)
    return rate, [part / (rate * window_s) for part in used]


class Recording:
    """A recorder that runs from `recording to` until stop()."""

    def __init__(self, capture, options):
        self.capture = capture
        self.process = subprocess.Popen([RECORDER, *options, "-o", str(capture)], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("recording to "):
                return
            print(line, end="", file=sys.stderr)
        fail("the recorder ended")

    def stop(self):
        """Returns the finished capture's manifest."""
        self.process.send_signal(signal.SIGINT)
        _, summary = self.process.communicate()
        if self.process.returncode:
            fail(f"the recorder failed:\n{summary}")
        return json.loads((self.capture / "manifest.json").read_text())


def events_of(manifest):
    """Rows of `events`."""
    return sum(f["rows"] for f in manifest["files"] if f["table"] == "events")


def verdict(what, value, floor, holds):
    print(f"{what}: {value} (floor {floor}): {'pass' if holds else 'MISS'}")
    return holds

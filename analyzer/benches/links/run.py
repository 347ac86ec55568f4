#!/usr/bin/env python3
"""Who called for whom, told without looking at the header that tells it.

    analyzer/benches/links/run.py [SUBJECT[:CONNECTIONS[:THINK_MS]]...]     (none: all, at 1, 16 and 64 connections)

A load asks a subject (`subjects.py`), which asks a backend; every request carries a number in X-Truth, which the recorder
blanks. Prints for each run how many of the subject's calls got the right parent, a wrong one and none, of those that no request
caused how many got one, and by which evidence; with --json one object a run. $RETROSPAN and $RECORDER name the programs (default target/debug), $REQUESTS the number of requests (default 2000). $RECORD
has more options of the recorder: with --hash-secrets the header's hash may tell what it is held against. $KEEP
keeps captures and truths there. Needs root and the programs of the subjects. Ends with 1 where more than one call in a thousand got a wrong parent.
"""

import collections
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from subjects import SUBJECTS, build

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[3] / "target"))
RETROSPAN = os.environ.get("RETROSPAN", str(TARGET / "debug/retrospan"))
RECORDER = os.environ.get("RECORDER", str(TARGET / "debug/retrospan-record"))
REQUESTS = int(os.environ.get("REQUESTS", "2000"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


FRONT, BACK = free_port(), free_port()


def wait_listening(port, process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} does not listen at {port}")


def stop(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def start(command):
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


def record(capture):
    options = os.environ.get("RECORD", "").split()
    recorder = subprocess.Popen([RECORDER, "--port", str(FRONT), "--port", str(BACK), *options, "-o", str(capture)],
                                stderr=subprocess.PIPE, text=True)
    for line in recorder.stderr:
        if line.startswith("recording to "):
            return recorder
    sys.exit("the recorder ended")


def run(folder, subject, connections, think_ms):
    """Makes a capture and what is true of it."""
    build(folder, "ends")
    place = folder / f"{subject}-{connections}-{think_ms}"
    place.mkdir()
    place.chmod(0o755)
    capture = place / "run.cap"
    programs = []
    try:
        backend = start([str(folder / "ends"), "backend", str(BACK), str(place / "backend.tsv")])
        programs.append(backend)
        wait_listening(BACK, backend)
        front = start(SUBJECTS[subject](place, FRONT, BACK))
        programs.append(front)
        wait_listening(FRONT, front)
        time.sleep(0.5)
        recorder = record(capture)
        load = [str(folder / "ends"), "load", str(FRONT), str(place / "load.tsv"), str(connections), str(REQUESTS), str(think_ms)]
        subprocess.run(load, check=True)
        time.sleep(0.3)
        recorder.send_signal(signal.SIGINT)
        recorder.communicate()
    finally:
        for program in reversed(programs):
            stop(program)
    return place


def sql(capture, query):
    out = subprocess.run([RETROSPAN, "sql", str(capture), query, "--format", "csv"], check=True, stdout=subprocess.PIPE, text=True)
    return list(csv.DictReader(io.StringIO(out.stdout)))


# A port that was used again: which of its requests this is is not known.
AGAIN = object()


def truths(file):
    found = {}
    for port, number, truth in (line.split("\t") for line in file.read_text().splitlines()):
        key = (int(port), int(number))
        found[key] = AGAIN if key in found else truth
    return found


def score(place):
    """Right, wrong, missing; calls of no request with and without a parent; evidence of the right and of the wrong ones."""
    capture = place / "run.cap"
    asked, called = truths(place / "load.tsv"), truths(place / "backend.tsv")
    columns = "span_id, parent_span_id, src_port, request_number, link_evidence"
    servers = sql(capture, f"SELECT {columns} FROM spans WHERE kind = 'server' AND dst_port = {FRONT}")
    calls = sql(capture, f"SELECT {columns} FROM spans WHERE kind = 'client' AND dst_port = {BACK}")
    truth_of = {row["span_id"]: asked.get((int(row["src_port"]), int(row["request_number"]))) for row in servers}
    counts, evidence = collections.Counter(), collections.Counter()
    for call in calls:
        truth = called.get((int(call["src_port"]), int(call["request_number"])))
        parent = call["parent_span_id"]
        if truth is AGAIN or (parent and truth_of.get(parent) is AGAIN):
            counts["port used again"] += 1
        elif truth is None:
            counts["unknown"] += 1
        elif truth == "":
            counts["own, linked" if parent else "own, left alone"] += 1
        elif not parent:
            counts["missing"] += 1
        else:
            verdict = "right" if truth_of.get(parent) == truth else "wrong"
            counts[verdict] += 1
            evidence[f"{call['link_evidence']} {verdict}"] += 1
    return counts, evidence


def main():
    as_json = "--json" in sys.argv
    wanted = [text for text in sys.argv[1:] if text != "--json"] or [f"{name}:{connections}" for name in SUBJECTS for connections in (1, 16, 64)]
    passed = True
    kept = os.environ.get("KEEP")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(kept or name)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        print(f"{os.uname().sysname} {os.uname().release}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        for text in wanted:
            subject, connections, think_ms = [*text.split(":"), "16", "0"][:3] if ":" not in text else [*text.split(":"), "0"][:3]
            place = run(folder, subject, int(connections), int(think_ms))
            counts, evidence = score(place)
            made = counts["right"] + counts["wrong"] + counts["missing"]
            share = 100 * counts["right"] / max(made, 1)
            if as_json:
                print(json.dumps({"run": text, **counts, "evidence": evidence}), flush=True)
            else:
                print(f"{text}: {counts['right']} right, {counts['wrong']} wrong, {counts['missing']} missing ({share:.1f} %); "
                      f"own calls {counts['own, linked']} linked, {counts['own, left alone']} left alone; {dict(evidence)}"
                      + (f"; {counts['unknown']} unknown" if counts["unknown"] else ""), flush=True)
            passed &= counts["wrong"] * 1000 <= made and made > 0
            if not kept:
                shutil.rmtree(place)
    sys.exit(0 if passed else 1)


main()

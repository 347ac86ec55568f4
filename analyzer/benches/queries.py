#!/usr/bin/env python3
"""The library's queries against DuckDB on the same Parquet files: equal answers, and how much longer we take. Those that
call functions of our own have no counterpart and are left out.

    analyzer/benches/queries.py CAPTURE [RUNS]

Needs PyPI duckdb, and the built bench: $QUERIES_BENCH, else cargo runs it. Ends with 1 where an answer differs or
the geometric mean of the ratios (medians of warm runs, each engine in one process with all cores) is above 2.
Where the dialects differ, TRANSLATIONS says how.
"""

import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb

FLOOR = 2.0
# What our queries say -> what DuckDB understands. Nothing else is changed.
TRANSLATIONS = [
    (r"arrow_cast\((.*?), 'Timestamp\(Nanosecond, Some\(\"UTC\"\)\)'\)", r"make_timestamp_ns(\1)"),
    (r"/ \$bucket", r"// $bucket"),
    (r"CAST\((\w+_time) AS BIGINT\)", r"epoch_ns(\1)"),
    (r"first_value\(concat\(kind, ' ', process\) ORDER BY", r"first(concat(kind, ' ', process) ORDER BY"),
]

# Functions that only Retrospan has.
OWN_FUNCTIONS = re.compile(r"\b(episodes|fold_phase)\(")


def our_side(capture, out, runs):
    """Runs the bench; returns its header and one object a query."""
    bench = os.environ.get("QUERIES_BENCH")
    command = [bench] if bench else ["cargo", "bench", "--profile", "dev", "--bench", "queries", "--"]
    lines = subprocess.run([*command, capture, out, str(runs)], check=True, stdout=subprocess.PIPE, text=True).stdout
    objects = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return objects[0], objects[1:]


def open_duckdb(capture, header):
    """A connection in which the capture's tables are views of its files."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
    connection.execute(f"CREATE MACRO wall_time(boot_ns) AS make_timestamp_ns(boot_ns + {header['offset_ns']})")
    manifest = json.load(open(os.path.join(capture, "manifest.json"), encoding="utf-8"))
    files = dict(header["files"])
    for file in manifest["files"]:
        files.setdefault(file["table"], []).append(os.path.join(capture, file["path"]))
    for table, paths in files.items():
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({paths})")
    if "loss" not in files:
        connection.execute("""CREATE TABLE loss (from_boot_ns BIGINT, to_boot_ns BIGINT, cpu USMALLINT,
                              kind VARCHAR, cause VARCHAR, count BIGINT)""")
    return connection


def translate(sql):
    for pattern, replacement in TRANSLATIONS:
        sql = re.sub(pattern, replacement, sql, flags=re.DOTALL)
    return sql


def without_zones(connection, sql, values):
    """The same query with times as integers: Python's have no nanoseconds, and zones need another package."""
    columns = connection.execute(f"DESCRIBE {sql}", values).fetchall()
    names = [f'epoch_ns("{name}") AS "{name}"' if kind.startswith("TIMESTAMP") else f'"{name}"' for name, kind, *_ in columns]
    return f"SELECT {', '.join(names)} FROM ({sql})"


def differs(ours, theirs):
    if ours is None or theirs is None or isinstance(ours, (str, bool)):
        return ours != theirs
    return not math.isclose(ours, theirs, rel_tol=1e-9)


def compare(connection, path, columns, rows):
    """The first difference between our result and DuckDB's, or None."""
    cursor = connection.execute(without_zones(connection, f"SELECT * FROM read_parquet('{path}')", {}))
    names = [column[0] for column in cursor.description]
    ours = cursor.fetchall()
    if names != columns:
        return f"columns {names} and {columns}"
    if len(ours) != len(rows):
        return f"{len(ours)} rows and {len(rows)}"
    for index, (left, right) in enumerate(zip(ours, rows)):
        for name, a, b in zip(names, left, right):
            if differs(a, b):
                return f"row {index}, {name}: {a!r} and {b!r}"
    return None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    capture, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    ratios, bad = [], 0
    with tempfile.TemporaryDirectory() as out:
        header, queries = our_side(capture, out, runs)
        connection = open_duckdb(capture, header)
        print(f"duckdb {duckdb.__version__}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        for query in queries:
            own = OWN_FUNCTIONS.search(query["sql"])
            if own:
                print(f"{query['query']:20} left out: {own[1]}() is our own")
                continue
            sql = translate(query["sql"])
            values = {name: value for name, value in query["values"].items() if f"${name}" in sql}
            sql = without_zones(connection, sql, values)
            times = []
            for _ in range(runs + 1):
                begin = time.perf_counter()
                cursor = connection.execute(sql, values)
                rows = cursor.fetchall()
                times.append((time.perf_counter() - begin) * 1e3)
            columns = [column[0] for column in cursor.description]
            ours, theirs = statistics.median(query["ms"]), statistics.median(times[1:])
            difference = compare(connection, os.path.join(out, query["query"] + ".parquet"), columns, rows)
            bad += difference is not None
            ratios.append(ours / theirs)
            print(f"{query['query']:20} {len(rows):8} rows  {ours:9.1f} ms  duckdb {theirs:9.1f} ms  ratio {ours / theirs:5.2f}"
                  f"  {'same' if difference is None else 'DIFFERENT: ' + difference}", flush=True)
    mean = statistics.geometric_mean(ratios)
    print(f"geometric mean of the ratios: {mean:.2f} (floor <= {FLOOR}): {'pass' if mean <= FLOOR else 'MISS'}; {bad} answers differ")
    sys.exit(0 if mean <= FLOOR and not bad else 1)


if __name__ == "__main__":
    main()

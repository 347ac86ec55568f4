"""DuckDB over a capture's files, without any help of Retrospan.

duck.py number CAPTURE SQL    prints the one number that SQL yields; tables by name
duck.py find CAPTURE REGEX    prints a line for each cell of each file that matches,
                              and for each other file whose bytes do
"""

import glob
import os
import re
import sys

import duckdb

command, capture, text = sys.argv[1:]
db = duckdb.connect()


def tables():
    return sorted(d for d in os.listdir(capture) if glob.glob(f"{capture}/{d}/*.parquet"))


if command == "number":
    for table in tables():
        db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{capture}/{table}/*.parquet')")
    (row,) = db.execute(text).fetchall()
    print(int(row[0] or 0))
else:
    wanted = re.compile(text.encode(), re.IGNORECASE)
    # Any three letters turn up in 100 KiB of compressed bytes now and then, six do not.
    wanted_packed = re.compile(b"(?:%b){2}" % text.encode(), re.IGNORECASE)
    for folder, _, files in os.walk(capture):
        for name in files:
            path = os.path.join(folder, name)
            pattern = wanted_packed if name.endswith(".parquet") else wanted
            with open(path, "rb") as file:
                # The Arrow schema in a file's metadata is base64: letters that mean nothing.
                if pattern.search(re.sub(rb"/{5}[A-Za-z0-9+/=]{100,}", b"", file.read())):
                    print(f"{path}: its bytes")
    for table in tables():
        rows = db.execute(f"SELECT * FROM read_parquet('{capture}/{table}/*.parquet')")
        names = [column[0] for column in rows.description]
        for row in rows.fetchall():
            for name, cell in zip(names, row):
                cell = cell if isinstance(cell, bytes) else str(cell).encode()
                if wanted.search(cell):
                    print(f"{table}.{name}: {cell!r}")

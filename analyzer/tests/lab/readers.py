"""What another reader finds in a capture: of each table's columns of numbers and times how many values, the least and the
greatest; times in us, as DuckDB keeps no more. A line each: table, column, count, least, greatest.

    readers.py {duckdb|pyarrow|polars} CAPTURE
"""

import glob
import os
import sys


def with_duckdb(path):
    import duckdb

    # Times as values would take another module.
    whole = {"BIGINT", "INTEGER", "USMALLINT", "UINTEGER", "UTINYINT"}
    for name, kind, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall():
        value = f'epoch_ns("{name}") // 1000' if kind.startswith("TIMESTAMP") else f'"{name}"'
        if kind in whole or kind.startswith("TIMESTAMP"):
            found = f"SELECT count({value}), min({value}), max({value}) FROM '{path}'"
            yield name, *duckdb.sql(found).fetchall()[0]


def with_pyarrow(path):
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet
    import pyarrow.types as types

    table = parquet.read_table(path)
    for name, column in zip(table.column_names, table.columns):
        if types.is_timestamp(column.type):
            column = compute.divide(column.cast("int64"), 1000)
        if types.is_integer(column.type):
            values = [value for value in column.to_pylist() if value is not None]
            yield name, len(values), min(values, default=None), max(values, default=None)


def with_polars(path):
    import polars

    for column in polars.read_parquet(path).iter_columns():
        if column.dtype == polars.Datetime:
            column = column.cast(polars.Int64) // 1000
        if column.dtype.is_integer():
            column = column.drop_nulls()
            yield column.name, len(column), column.min(), column.max()


READERS = {"duckdb": with_duckdb, "pyarrow": with_pyarrow, "polars": with_polars}


def main():
    reader, capture = sys.argv[1:]
    raw = [(path.split(os.sep)[-2], path) for path in glob.glob(os.path.join(capture, "*", "*.parquet"))]
    derived = glob.glob(os.path.join(capture, "derived", "*", "*.parquet"))
    found = {}
    for table, path in raw + [(os.path.basename(path)[: -len(".parquet")], path) for path in derived]:
        for name, count, least, greatest in READERS[reader](path):
            if not count:
                continue
            before = found.get((table, name), (0, least, greatest))
            found[table, name] = (before[0] + count, min(before[1], least), max(before[2], greatest))
    for (table, name), values in sorted(found.items()):
        print(table, name, *values)


main()

"""What a PostgreSQL client does: simple and prepared statements, pipelines, copies, errors, large values, many connections.

postgresql_client.py PORT CANARY WHAT   with WHAT one of `work`, `stay` (works each time a line comes in), `sleep` (until it is killed)
"""

import sys
import threading
import time

import psycopg

port, canary, what = sys.argv[1:]


def connect():
    return psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable", autocommit=True)


def fails(state, execute):
    try:
        execute()
    except psycopg.Error as error:
        assert error.sqlstate == state, error.sqlstate
        return
    raise SystemExit(f"no {state}")


def simple(connection, rounds):
    cursor = psycopg.ClientCursor(connection)
    for number in range(rounds):
        cursor.execute("SELECT count(*) FROM items WHERE name = %s", (canary,))
        cursor.execute("UPDATE items SET name = %s WHERE id = %s", (canary + str(number), number))
    cursor.execute("INSERT INTO items VALUES (1000000, %s); DELETE FROM items WHERE id = 1000000", (canary,))
    fails("42601", lambda: cursor.execute(f"SELEC '{canary}'"))
    fails("42P01", lambda: cursor.execute(f"SELECT '{canary}' FROM nowhere"))
    fails("22012", lambda: cursor.execute("SELECT 1/0"))


def extended(connection, rounds):
    for number in range(rounds):
        connection.execute("SELECT name FROM items WHERE id = %s", (number,), prepare=False).fetchall()
        connection.execute("INSERT INTO items VALUES (%s, %s) ON CONFLICT DO NOTHING", (number, canary), prepare=True)
    connection.execute("SELECT %s::text", (canary * 30_000,)).fetchone()
    connection.execute("SELECT repeat(%s, 60000) FROM generate_series(1, 5)", (canary,)).fetchall()
    fails("23505", lambda: connection.execute("INSERT INTO items VALUES (%s, %s)", (0, canary)))
    fails("42703", lambda: connection.execute("SELECT nothing FROM items WHERE name = %s", (canary,)))
    fails("22P02", lambda: connection.execute("SELECT %s::int", (canary,)))
    with connection.transaction():
        connection.execute("DELETE FROM items WHERE id = %s", (3,))


def pipelined(connection, rounds):
    for number in range(rounds):
        with connection.pipeline() as pipeline:
            for item in range(10):
                connection.execute("SELECT name, %s::text FROM items WHERE id = %s", (canary, item))
                connection.execute("UPDATE items SET name = %s WHERE id = %s", (canary, item))
                if number % 2:
                    pipeline.sync()
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO items VALUES (%s, %s)", [(2_000 + number, canary) for number in range(15)])


def copies(connection):
    with connection.cursor() as cursor:
        with cursor.copy("COPY items (id, name) FROM STDIN") as copy:
            for number in range(5_000):
                copy.write_row((10_000 + number, canary))
        with cursor.copy("COPY items TO STDOUT") as copy:
            assert sum(1 for _ in copy) > 5_000

        def bad():
            with cursor.copy("COPY items (id, name) FROM STDIN") as copy:
                copy.write(f"{canary}\t1\n".encode())

        fails("22P02", bad)


def interrupted(connection):
    timer = threading.Timer(0.2, connection.cancel)
    timer.start()
    fails("57014", lambda: connection.execute("SELECT pg_sleep(30)"))
    timer.join()
    fails("57014", lambda: connection.execute("SET statement_timeout = 50; SELECT pg_sleep(30)"))
    connection.execute("SET statement_timeout = 0")


def work(connection):
    simple(connection, 20)
    extended(connection, 20)
    pipelined(connection, 6)
    copies(connection)
    interrupted(connection)
    connection.execute("DELETE FROM items WHERE id >= 2000")


if what == "sleep":
    connect().execute("SELECT pg_sleep(600)")
elif what == "stay":
    connection = connect()
    connection.execute("SELECT 1")
    print("ready", flush=True)
    sys.stdin.readline()
    simple(connection, 20)
    extended(connection, 20)
    connection.close()
else:
    first = connect()
    first.execute("CREATE TABLE items (id int PRIMARY KEY, name text)")
    work(first)
    others = [threading.Thread(target=lambda: extended_only()) for _ in range(5)]

    def extended_only():
        for _ in range(3):
            with connect() as connection:
                for number in range(20):
                    connection.execute("SELECT name FROM items WHERE id = %s", (number,))

    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    first.close()
    fails_to_connect = threading.Thread(
        target=lambda: fails(None, lambda: psycopg.connect(f"host=127.0.0.1 port={port} user={canary} dbname=x sslmode=disable"))
    )
    fails_to_connect.start()
    fails_to_connect.join()

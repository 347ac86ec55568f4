"""What a MySQL client does: statements, errors, large values and answers, transactions, commands beside statements.

mysql_client.py PORT CANARY WHAT   with WHAT one of `work`, `stay` (works when a line comes in), `sleep` (until it is killed)
"""

import sys
import threading

import mysql.connector
import pymysql

port, canary, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def connect(**more):
    settings = {"host": "127.0.0.1", "port": port, "user": "root", "autocommit": True, "local_infile": True} | more
    return pymysql.connect(**settings)


def fails(number, execute):
    try:
        execute()
    except pymysql.MySQLError as error:
        assert error.args[0] == number, error.args
        return
    raise SystemExit(f"no {number}")


def statements(connection, rounds):
    with connection.cursor() as cursor:
        for number in range(rounds):
            cursor.execute("REPLACE INTO items VALUES (%s, %s)", (number, canary))
            cursor.execute("SELECT name FROM items WHERE id = %s", (number,))
            cursor.fetchall()
            cursor.execute("UPDATE items SET name = %s WHERE id = %s", (canary + str(number), number))
        # An answer of many packets, one of a large packet, a large statement.
        cursor.execute("SELECT a.name, b.name FROM items a, items b")
        assert len(cursor.fetchall()) >= rounds * rounds
        cursor.execute("SELECT REPEAT(%s, 30000)", (canary,))
        cursor.fetchall()
        cursor.execute("REPLACE INTO items VALUES (1000, %s)", (canary * 20_000,))
        cursor.execute("DELETE FROM items WHERE id = 1000")


def errors(connection):
    with connection.cursor() as cursor:
        fails(1062, lambda: cursor.execute("INSERT INTO items VALUES (1, %s)", (canary,)))
        fails(1064, lambda: cursor.execute(f"SELEC '{canary}'"))
        fails(1146, lambda: cursor.execute("SELECT * FROM nowhere WHERE name = %s", (canary,)))
        fails(1054, lambda: cursor.execute("SELECT nothing FROM items"))
        cursor.execute("SET max_statement_time = 0.05")
        fails(1969, lambda: cursor.execute("SELECT SLEEP(5), name FROM items"))
        cursor.execute("SET max_statement_time = 0")


def prepared(rounds):
    connection = mysql.connector.connect(
        host="127.0.0.1", port=port, user="root", database="test", autocommit=True, use_pure=True,
        charset="utf8mb4", collation="utf8mb4_general_ci", ssl_disabled=True,
    )
    with connection.cursor(prepared=True) as cursor:
        for number in range(rounds):
            cursor.execute("SELECT id, name FROM items WHERE id < %s", (number,))
            assert len(cursor.fetchall()) == min(number, 30)
    with connection.cursor(prepared=True) as cursor:
        for number in range(rounds):
            cursor.execute("UPDATE items SET name = %s WHERE id = %s", (canary * 200, number))
        try:
            cursor.execute("INSERT INTO items VALUES (%s, %s)", (1, canary))
            raise SystemExit("no duplicate")
        except mysql.connector.Error as error:
            assert error.errno == 1062, error
    connection.close()


def others(connection):
    connection.begin()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM items WHERE id = 2")
    connection.rollback()
    connection.select_db("test")
    connection.ping(reconnect=False)
    with connection.cursor() as cursor:
        # Prepared by statements; several results.
        cursor.execute("PREPARE one FROM 'SELECT name FROM items WHERE id = ?'")
        cursor.execute("SET @id = 1")
        cursor.execute("EXECUTE one USING @id")
        cursor.fetchall()
        cursor.execute("DEALLOCATE PREPARE one")


if what == "sleep":
    with connect().cursor() as cursor:
        cursor.execute("SELECT SLEEP(600)")
elif what == "stay":
    connection = connect(database="test")
    print("ready", flush=True)
    sys.stdin.readline()
    statements(connection, 20)
    errors(connection)
    connection.close()
else:
    first = connect()
    with first.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS test")
        cursor.execute("USE test")
        cursor.execute("CREATE TABLE items (id INT PRIMARY KEY, name LONGTEXT)")
    statements(first, 30)
    errors(first)
    others(first)
    prepared(40)

    def another():
        for _ in range(3):
            connection = connect(database="test")
            with connection.cursor() as cursor:
                for number in range(20):
                    cursor.execute("SELECT name FROM items WHERE id = %s", (number,))
                    cursor.fetchall()
            connection.close()

    threads = [threading.Thread(target=another) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fails(1045, lambda: connect(user=canary, password=canary))
    first.close()

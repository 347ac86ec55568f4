"""What memcached clients do: text with its meta commands, pipelines, large values, errors.

memcached_client.py PORT CANARY WHAT   with WHAT one of `work`, `stay` (works when a line comes in)
"""

import socket
import sys
import threading

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

port, canary, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
keys = [f"{canary}{number}" for number in range(20)]


def work(client, rounds, own="0"):
    number_key, large_key = f"number{own}", f"large{own}"
    for number in range(rounds):
        client.set(keys[number % 20], canary * 3, noreply=False)
        client.get(keys[number % 20])
        client.get("missing")
        client.set(keys[number % 20], canary, noreply=True)
    client.set_many({key: canary for key in keys}, noreply=False)
    assert len(client.get_many(keys)) == 20
    client.set(large_key, canary * 40_000, noreply=False)
    assert len(client.get(large_key)) == 640_000
    client.set(number_key, "5", noreply=False)
    client.incr(number_key, 2)
    client.decr(number_key, 1)
    client.add(number_key, "6", noreply=False)
    client.replace("nothing", canary, noreply=False)
    client.append(number_key, "1", noreply=False)
    value, cas = client.gets(number_key)
    client.cas(number_key, "7", cas)
    client.cas(number_key, "8", cas)
    client.touch(number_key, 100)
    client.delete(number_key, noreply=False)
    client.delete(number_key, noreply=False)
    client.delete(number_key, noreply=True)
    client.version()
    for bad in (lambda: client.incr(keys[0], 1), lambda: client.set("huge", canary * 80_000, noreply=False)):
        try:
            bad()
            raise SystemExit("no error")
        except MemcacheError:
            pass
    client.version()


def raw():
    """Commands that the client has not, and many at once."""
    stream = socket.create_connection(("127.0.0.1", port))
    file = stream.makefile("rb")

    def ask(text, lines):
        stream.sendall(text.encode())
        return [file.readline() for _ in range(lines)]

    assert ask(f"ms {canary} 3 T90\r\nabc\r\n", 1) == [b"HD\r\n"]
    assert ask(f"mg {canary} v\r\n", 2) == [b"VA 3\r\n", b"abc\r\n"]
    assert ask("mg nothing v\r\n", 1) == [b"EN\r\n"]
    assert ask(f"ma {canary}n N0 J7 v\r\n", 2)[1] == b"7\r\n"
    assert ask(f"md {canary}\r\n", 1) == [b"HD\r\n"]
    assert ask("mn\r\n", 1) == [b"MN\r\n"]
    assert ask(f"{canary}\r\n", 1) == [b"ERROR\r\n"]
    for number in range(10):
        ask("".join(f"set k{item} 0 0 3\r\nabc\r\nget k{item}\r\n" for item in range(8)), 8 * 4)
        ask("".join(f"mg k{item} v O{number}\r\n" for item in range(8)), 8 * 2)
    stream.close()


def connect():
    return Client(("127.0.0.1", port), no_delay=True)


if what == "stay":
    client = connect()
    client.get("missing")
    print("ready", flush=True)
    sys.stdin.readline()
    work(client, 20)
else:
    work(connect(), 40)
    raw()
    threads = [threading.Thread(target=work, args=(connect(), 20, str(own))) for own in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

"""Thrift: servers of all encodings and transports, which print each call before they answer it, and clients of them.

thrift_client.py PORT CANARY WHAT [PORT ...]   with a port for each of WAYS, and WHAT one of `serve`, `work`, `stay` (works
when a line comes in), `sleep` (calls what takes ten minutes)

Printed is `served PORT METHOD`, with the service in front of the method where several share a port.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
from thrift.protocol.TCompactProtocol import TCompactProtocolFactory
from thrift.protocol.THeaderProtocol import THeaderProtocolFactory
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.server.TNonblockingServer import TNonblockingServer
from thrift.server.TServer import TThreadedServer, TThreadPoolServer
from thrift.Thrift import TApplicationException
from thrift.TMultiplexedProcessor import TMultiplexedProcessor
from thrift.transport.THeaderTransport import THeaderClientType, THeaderSubprotocolID, THeaderTransformID
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import TBufferedTransportFactory, TFramedTransportFactory, TTransportFactoryBase

port, canary, what, *more = sys.argv[1:]
ports = [int(port), *map(int, more)]
buffered, framed, plain = TBufferedTransportFactory(), TFramedTransportFactory(), TTransportFactoryBase()
header = THeaderProtocolFactory([THeaderClientType.HEADERS], THeaderSubprotocolID.BINARY)
packed = THeaderProtocolFactory([THeaderClientType.HEADERS], THeaderSubprotocolID.COMPACT)
WAYS = [
    (TThreadedServer, buffered, TBinaryProtocolFactory()),
    (TThreadPoolServer, framed, TBinaryProtocolFactory()),
    (TThreadedServer, buffered, TCompactProtocolFactory()),
    (TThreadPoolServer, framed, TCompactProtocolFactory()),
    # Without a version in front.
    (TThreadedServer, buffered, TBinaryProtocolFactory(strictWrite=False)),
    (TNonblockingServer, framed, TBinaryProtocolFactory()),
    # Several services on a port.
    (TThreadedServer, framed, TBinaryProtocolFactory()),
    (TThreadedServer, plain, header),
    (TThreadedServer, plain, packed),
]
SHARED, COMPRESSED = 6, 8


def generated():
    """What the compiler makes of the services."""
    folder = tempfile.mkdtemp()
    source = Path(__file__).with_name("stock.thrift")
    subprocess.run(["thrift", "--gen", "py", "-out", folder, source], check=True)
    sys.path.insert(0, folder)
    modules = [importlib.import_module(f"stock.{name}") for name in ("Stock", "Later", "ttypes")]
    subprocess.run(["rm", "-r", folder], check=True)
    return modules


Stock, Later, types = generated()


class Handler:
    def get(self, id, name):
        return order(id)

    def all(self, count):
        return [order(number) for number in range(count)]

    def put(self, order):
        if order.id < 0:
            raise types.Refused(canary)

    def note(self, text):
        pass

    def fail(self, why):
        raise ValueError(canary)

    def slow(self, why):
        print("asleep", flush=True)
        time.sleep(600)
        return 0


def order(id, size=0):
    image = canary.encode() * size if size else None
    return types.Order(id, canary, [canary] * 3, {canary: 1.5}, id % 2 == 0, image)


def processor(port, prefix=""):
    made = Stock.Processor(Handler())
    made.on_message_begin(lambda name, _kind, _id: os.write(1, f"served {port} {prefix}{name}\n".encode()))
    return made


def serve(port, way, number):
    server, transport, protocol = way
    made = processor(port)
    if number == SHARED:
        made = TMultiplexedProcessor()
        for service in ("shop", "store"):
            made.registerProcessor(service, processor(port, f"{service}:"))
    socket = TServerSocket("127.0.0.1", port)
    if server is TNonblockingServer:
        running = server(made, socket, protocol, protocol)
    else:
        running = server(made, socket, transport, protocol)
    running.daemon = True
    running.serve()


class Client:
    def __init__(self, port, number, service="shop"):
        _, transport, protocol = WAYS[number]
        self.socket = TSocket("127.0.0.1", port)
        self.socket.setTimeout(60_000)
        over = transport.getTransport(self.socket)
        made = protocol.getProtocol(over)
        if protocol is header or protocol is packed:
            made.trans.set_header(b"secret", canary.encode())
        if protocol is packed:
            made.trans.add_transform(THeaderTransformID.ZLIB)
        if number == SHARED:
            made = TMultiplexedProtocol(made, service)
        self.calls = Later.Client(made)
        self.socket.open()

    def close(self):
        self.socket.close()


def fails(code, call):
    try:
        call()
    except TApplicationException as error:
        assert error.type == code, error
        return
    raise SystemExit(f"no {code}")


def work(client, rounds, notes=True):
    calls = client.calls
    for number in range(rounds):
        assert calls.get(number, canary).name == canary
        calls.put(order(number))
        if notes:
            calls.note(canary)
        assert len(calls.all(number % 5)) == number % 5
    for number in range(3):
        try:
            calls.put(order(-1))
            raise SystemExit("it was not refused")
        except types.Refused as error:
            assert error.why == canary
        fails(TApplicationException.INTERNAL_ERROR, lambda: calls.fail(canary))
        fails(TApplicationException.UNKNOWN_METHOD, lambda: calls.missing(canary))
        # Large ones each way.
        calls.put(order(1, 20_000))
        assert len(calls.all(1000)) == 1000


def each(do):
    threads = [threading.Thread(target=do, args=pair) for pair in zip(ports, range(len(WAYS)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if what == "serve":
    for number, (own, way) in enumerate(zip(ports, WAYS)):
        threading.Thread(target=serve, args=(own, way, number), daemon=True).start()
    threading.Event().wait()
elif what == "sleep":
    Client(ports[0], 3).calls.slow(canary)
elif what == "stay":
    # What a connection that begins in the middle compresses is no protocol that can be known.
    waiting = [Client(own, number) for number, own in enumerate(ports) if number != COMPRESSED]
    for client in waiting:
        client.calls.get(1, canary)
    print("ready", flush=True)
    sys.stdin.readline()
    for client in waiting:
        work(client, 20)
        client.close()
else:

    def several(own, number):
        for service in ("shop", "store", "shop"):
            client = Client(own, number, service)
            # Whether a compressed call wants an answer cannot be known.
            work(client, 20, number != COMPRESSED)
            client.close()

    each(several)

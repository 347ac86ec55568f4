"""gRPC: a server that counts how it answered each method, and a client of it.

grpc_client.py PORT CANARY WHAT   with WHAT one of `serve` (prints its counts as JSON when it is told to end), `work`, `large`,
`stay` (works when a line comes in)
"""

import concurrent.futures
import json
import signal
import sys
import threading

import grpc

port, canary, what = sys.argv[1:]
value = canary.encode()
counts, lock, ended = {}, threading.Lock(), threading.Event()


def note(method, status):
    with lock:
        name = f"{method} {status}"
        counts[name] = counts.get(name, 0) + 1


def serve():
    def one(request, context):
        note("One", "OK")
        return request

    def large(request, context):
        note("Large", "OK")
        return value * 40_000

    def many(request, context):
        for _ in range(20):
            yield value * 100
        note("Many", "OK")

    def some(request, context):
        for _ in range(20):
            yield value
        note("Some", "OK")

    def stream(requests, context):
        total = sum(len(request) for request in requests)
        note("Stream", "OK")
        return str(total).encode()

    def fail(request, context):
        code = grpc.StatusCode[request.decode()]
        note("Fail", code.name)
        context.abort(code, canary)

    def slow(request, context):
        finished = threading.Event()
        context.add_callback(finished.set)
        finished.wait(20)
        note("Slow", "given up")
        return request

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    handlers = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Large": grpc.unary_unary_rpc_method_handler(large),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Some": grpc.unary_stream_rpc_method_handler(some),
        "Stream": grpc.stream_unary_rpc_method_handler(stream),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Orders", handlers),))
    assert server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    server.stop(None)
    print(json.dumps(counts), flush=True)


def work(channel, rounds):
    def call(kind, method, request, **more):
        return getattr(channel, kind)(f"/shop.Orders/{method}")(request, metadata=(("secret", canary),), timeout=20, **more)

    for number in range(rounds):
        assert call("unary_unary", "One", value) == value
    for number in range(5):
        assert len(list(call("unary_stream", "Some", b""))) == 20
        assert call("stream_unary", "Stream", iter([value] * 30)) == b"480"
    for code in ("NOT_FOUND", "INTERNAL", "PERMISSION_DENIED", "UNAVAILABLE"):
        for _ in range(3):
            try:
                call("unary_unary", "Fail", code.encode())
                raise SystemExit(f"no {code}")
            except grpc.RpcError as error:
                assert error.code().name == code, error
    # A method that is not there, and calls that the client gives up.
    try:
        call("unary_unary", "Nothing", value)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    for _ in range(3):
        try:
            channel.unary_unary("/shop.Orders/Slow")(value, timeout=0.2)
            raise SystemExit("it was not slow")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    # Many at once on one connection.
    futures = [channel.unary_unary("/shop.Orders/One").future(value, timeout=20) for _ in range(50)]
    assert all(future.result() == value for future in futures)


def connect():
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)])


if what == "serve":
    serve()
elif what == "large":
    for number in range(5):
        for method, request, length in (("Large", b"", 640_000), ("One", value * 20_000, 320_000)):
            with connect() as channel:
                assert len(channel.unary_unary(f"/shop.Orders/{method}")(request)) == length
        with connect() as channel:
            assert len(list(channel.unary_stream("/shop.Orders/Many")(b""))) == 20
elif what == "stay":
    with connect() as channel:
        channel.unary_unary("/shop.Orders/One")(value)
        print("ready", flush=True)
        sys.stdin.readline()
        work(channel, 30)
else:
    with connect() as channel:
        work(channel, 60)

    def another():
        with connect() as channel:
            for _ in range(20):
                channel.unary_unary("/shop.Orders/One")(value)

    threads = [threading.Thread(target=another) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

"""Talks to a Redis server as programs do: redis_client.py PORT CANARY."""

import sys
import threading
import time

import redis

port, canary = int(sys.argv[1]), sys.argv[2]


def connect(protocol):
    return redis.Redis(port=port, protocol=protocol)


for protocol in (2, 3):
    client = connect(protocol)
    client.set("key", canary)
    client.get("key")
    client.hset("hash", mapping={"a": canary, "b": "2"})
    client.hgetall("hash")
    client.set("large", canary * 10_000)
    assert len(client.get("large")) == 160_000
    client.config_get("maxmemory")
    client.zadd("zset", {canary: 1.5})
    client.zrange("zset", 0, -1, withscores=True)
    for _ in range(20):
        pipeline = client.pipeline(transaction=False)
        for number in range(15):
            pipeline.set(f"k{number}", number)
            pipeline.get(f"k{number}")
        pipeline.execute()
    with client.pipeline(transaction=True) as pipeline:
        pipeline.incr("counter").lpush("list", canary).expire("list", 100)
        pipeline.execute()
    for command in (("LPUSH", "key", canary), ("INCR", "key"), ("EVAL", "return nonsense", "0", canary), ("GET",)):
        try:
            client.execute_command(*command)
            raise SystemExit(f"{command} did not fail")
        except redis.ResponseError:
            pass

    # Channels: confirmations and messages, on a connection that also asks.
    listener = client.pubsub()
    listener.subscribe("news", "more", canary)
    listener.psubscribe("n*")
    for _ in range(4):
        listener.get_message(timeout=5)
    for number in range(50):
        client.publish("news", f"{canary}{number}")
    got = 0
    while got < 100:
        message = listener.get_message(timeout=5)
        assert message, got
        got += message["type"] in ("message", "pmessage")
    listener.ping()
    listener.get_message(timeout=5)
    listener.unsubscribe()
    listener.punsubscribe()
    for _ in range(4):
        listener.get_message(timeout=5)
    listener.close()

    # One that waits until another connection gives it something.
    def push():
        time.sleep(0.3)
        other = connect(protocol)
        other.rpush("queue", canary)
        other.close()

    thread = threading.Thread(target=push)
    thread.start()
    assert client.blpop("queue", timeout=10)
    thread.join()
    assert client.blpop("queue", timeout=0.2) is None
    client.close()

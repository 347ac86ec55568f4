"""What Kafka clients do: produce, fetch in a group, commit, errors; against a broker.

kafka_client.py PORT CANARY   prints how often each request was sent, as the clients count them; with PORT 0 it is a broker
itself, the one that librdkafka brings, and prints its port
"""

import json
import signal
import sys
import time

from confluent_kafka import Consumer, Producer

port, canary = int(sys.argv[1]), sys.argv[2]
last = {}


def statistics(name):
    def take(text):
        requests = {}
        for broker in json.loads(text)["brokers"].values():
            for kind, n in broker["req"].items():
                requests[kind] = requests.get(kind, 0) + n
        last[name] = requests

    return take


def settings(name, **more):
    return {"stats_cb": statistics(name), "statistics.interval.ms": 100, "client.id": "shop"} | more


if port == 0:
    # Runs as long as this process, and is found by asking it.
    broker = Producer({"test.mock.num.brokers": 1})
    print(next(iter(broker.list_topics(timeout=20).brokers.values())).port, flush=True)
    signal.pause()
servers = f"127.0.0.1:{port}"
producer = Producer(settings("producer", **{"bootstrap.servers": servers, "linger.ms": 0}))
for number in range(100):
    producer.produce("orders", canary.encode(), key=canary, headers={"secret": canary})
    producer.flush(20)
producer.produce("orders", canary.encode() * 20_000)
producer.flush(20)
consumer = Consumer(settings("consumer", **{"bootstrap.servers": servers, "group.id": "work", "auto.offset.reset": "earliest"}))
consumer.subscribe(["orders"])
taken, until = 0, time.time() + 30
while taken < 101 and time.time() < until:
    message = consumer.poll(0.2)
    if message and not message.error():
        taken += 1
        if taken % 10 == 0:
            consumer.commit(message, asynchronous=False)
assert taken == 101, taken
# Until both have told what they did.
for _ in range(5):
    consumer.poll(0.1)
    producer.poll(0.1)
consumer.close()
print(json.dumps({"requests": last, "taken": taken}))

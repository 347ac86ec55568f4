"""What AMQP clients do: declare, publish with and without confirmation, take and acknowledge, get, refusals, transactions.

amqp_client.py PORT CANARY   prints what it did as JSON
"""

import json
import sys
import threading

import pika

port, canary = int(sys.argv[1]), sys.argv[2]
value = canary.encode()
told = {"basic.publish": 0, "basic.deliver": 0, "basic.get": 0, "basic.return": 0, "errors": []}
lock = threading.Lock()


def note(what, by=1):
    with lock:
        told[what] += by


def connect():
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))


def publish(channel, queue, body, properties=None, exchange="", mandatory=False):
    channel.basic_publish(exchange, queue, body, properties, mandatory)
    note("basic.publish")


def refused(connection, code, ask):
    channel = connection.channel()
    try:
        ask(channel)
        raise SystemExit(f"no {code}")
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == code, error
        told["errors"].append(code)


connection = connect()
channel = connection.channel()
for queue in ("orders", "bills"):
    channel.queue_declare(queue)
channel.exchange_declare("news", "topic")
channel.queue_bind("bills", "news", "bills.*")
for number in range(60):
    publish(channel, "orders", value, pika.BasicProperties(headers={"secret": canary}))
confirmed = connection.channel()
confirmed.confirm_delivery()
for number in range(40):
    publish(confirmed, "bills.new", value * 2, exchange="news")
publish(confirmed, "orders", value)
publish(confirmed, "orders", value * 20_000)
try:
    publish(confirmed, "nowhere", value, mandatory=True)
    raise SystemExit("it was routed")
except pika.exceptions.UnroutableError:
    note("basic.publish")
    note("basic.return")
for _ in range(20):
    method, _properties, body = channel.basic_get("bills", auto_ack=True)
    assert body == value * 2
    note("basic.get")
refused(connection, 404, lambda channel: channel.queue_declare("missing", passive=True))
refused(connection, 404, lambda channel: channel.basic_get("missing"))
refused(connection, 406, lambda channel: channel.queue_declare("orders", durable=True))


def consume(queue, count):
    own = connect()
    channel = own.channel()
    channel.basic_qos(prefetch_count=5)
    for got, (method, _properties, body) in enumerate(channel.consume(queue, inactivity_timeout=20), 1):
        note("basic.deliver")
        channel.basic_ack(method.delivery_tag)
        if got == count:
            break
    channel.cancel()
    own.close()


threads = [threading.Thread(target=consume, args=arguments) for arguments in (("orders", 62), ("bills", 20))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
transaction = connection.channel()
transaction.tx_select()
publish(transaction, "orders", value)
transaction.tx_commit()
channel.queue_purge("orders")
channel.queue_delete("orders")
connection.close()
print(json.dumps(told))

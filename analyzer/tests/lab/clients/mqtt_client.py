"""What MQTT clients do, in versions 3.1.1 and 5: each quality of service, retained and large messages, refusals, wills.

mqtt_client.py PORT CANARY   prints what it did as JSON
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

port, canary = int(sys.argv[1]), sys.argv[2]
told = {"sent": {"0": 0, "1": 0, "2": 0}, "delivered": 0}


class Client:
    def __init__(self, name, version):
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version)
        self.client.max_inflight_messages_set(20)
        self.client.username_pw_set(canary, canary)
        self.client.will_set("wills/all", canary)
        self.connected, self.done = threading.Event(), threading.Event()
        self.wanted, self.got = 0, 0
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_subscribe = lambda *_: self.done.set()
        self.client.on_unsubscribe = lambda *_: self.done.set()
        self.client.on_message = self.message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.connected.wait(20)

    def message(self, *_):
        self.got += 1
        told["delivered"] += 1
        if self.got == self.wanted:
            self.done.set()

    def ask(self, what):
        self.done.clear()
        what()
        assert self.done.wait(20)

    def wait(self, count):
        self.done.clear()
        self.wanted = count
        if self.got < count:
            assert self.done.wait(20), (self.got, count)

    def send(self, topic, payload, qos, count):
        infos = [self.client.publish(topic, payload, qos) for _ in range(count)]
        for info in infos:
            info.wait_for_publish(20)
        told["sent"][str(qos)] += count

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


for version, name in ((mqtt.MQTTv311, "three"), (mqtt.MQTTv5, "five")):
    listener, sender = Client(f"{name}-listener", version), Client(f"{name}-sender", version)
    listener.ask(lambda: listener.client.subscribe([(f"{name}/#", 2), ("other", 0)]))
    for qos in (0, 1, 2):
        sender.send(f"{name}/news", canary, qos, 60)
        for _ in range(20):
            sender.send(f"{name}/one", canary, qos, 1)
        sender.send(f"{name}/large", canary * 10_000, qos, 2)
    listener.wait(3 * 82)
    listener.ask(lambda: listener.client.unsubscribe("other"))
    sender.end()
    listener.end()
print(json.dumps(told))

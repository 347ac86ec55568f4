"""What NATS clients do: publish, subscribe, ask and answer, headers, large messages, JetStream, refusals.

nats_client.py PORT CANARY   prints what it did as JSON
"""

import asyncio
import json
import sys

import nats
from nats.errors import NoRespondersError

port, canary = sys.argv[1:]
url = f"nats://127.0.0.1:{port}"
value = canary.encode()


async def main():
    told = {"requests": 0, "refused": 0, "published": 0, "delivered": 0}
    server = await nats.connect(url)
    client = await nats.connect(url)

    async def answer(message):
        told["delivered"] += 1
        await message.respond(value * 2)

    async def take(_message):
        told["delivered"] += 1

    await server.subscribe("ask.*", cb=answer)
    news = await server.subscribe("news.>", cb=take)
    await server.flush()
    await client.flush()
    for number in range(100):
        reply = await client.request(f"ask.{number % 5}", value, timeout=10)
        assert reply.data == value * 2
        told["requests"] += 1
    for number in range(50):
        await client.publish("news.today", value, headers={"secret": canary} if number % 2 else None)
        told["published"] += 1
        if number % 10 == 9:
            await client.flush()
            await server.flush()
    for _ in range(3):
        await client.publish("news.large", value * 20_000)
        told["published"] += 1
        await client.flush()
        await server.flush()
    await client.flush()
    await server.flush()
    # Many at once, which are answered in any order.
    answers = await asyncio.gather(*(client.request(f"ask.{n % 5}", value, timeout=10) for n in range(8)))
    told["requests"] += len(answers)
    for _ in range(10):
        try:
            await client.request("nobody.there", value, timeout=10)
            raise SystemExit("somebody answered")
        except NoRespondersError:
            told["refused"] += 1
    await news.unsubscribe()
    await server.flush()
    stream = client.jetstream()
    await stream.add_stream(name="orders", subjects=["orders.*"])
    for number in range(40):
        await stream.publish("orders.new", value)
    consumer = await stream.pull_subscribe("orders.*", durable="work")
    taken = 0
    while taken < 40:
        for message in await consumer.fetch(10, timeout=10):
            await message.ack()
            taken += 1
    told["stream"] = taken
    await client.flush()
    await client.close()
    await server.close()
    print(json.dumps(told))


asyncio.run(main())

"""What a MongoDB client does: writes, cursors, aggregations, indexes, errors, large documents, many connections.

mongodb_client.py PORT CANARY WHAT   with WHAT one of `work`, `stay` (works when a line comes in), `sleep` (until it is killed)
"""

import sys
import threading

import pymongo
import pymongo.errors

port, canary, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def connect(**more):
    # One look at the server and no more, so that none is under way at the end.
    return pymongo.MongoClient("127.0.0.1", port, appname=canary, heartbeatFrequencyMS=600_000, **more)


def fails(code, execute):
    try:
        execute()
    except pymongo.errors.OperationFailure as error:
        assert error.code == code, error
        return
    raise SystemExit(f"no {code}")


def documents(database, first, rounds):
    orders = database.orders
    orders.insert_many([{"_id": first + number, "name": canary, canary: number} for number in range(400)])
    for number in range(first, first + rounds):
        assert orders.find_one({"_id": number, "name": canary})["name"] == canary
        orders.update_one({"_id": number}, {"$set": {"name": canary * 2, "note": canary}})
        orders.find_one_and_update({"_id": number}, {"$set": {"name": canary}})
    mine = {"_id": {"$gte": first, "$lt": first + 1000}}
    # Answers in pieces, and one that is not taken to its end.
    assert len(list(orders.find(mine | {"name": canary}, batch_size=100))) == 400
    cursor = orders.find(mine, batch_size=10, comment=canary)
    next(cursor)
    cursor.close()
    assert len(list(orders.aggregate([{"$match": mine}, {"$group": {"_id": "$name"}}, {"$sort": {canary: 1}}]))) == 1
    assert orders.count_documents(mine | {"name": canary}) == 400
    assert orders.distinct("name", mine) == [canary]
    # Large ones, and a request of many sections.
    orders.insert_one({"_id": first + 900, "name": canary * 100_000})
    assert len(orders.find_one({"_id": first + 900})["name"]) == 1_600_000
    orders.insert_many([{"_id": first + 500 + number, "name": canary * 5_000} for number in range(50)])
    assert len(list(orders.find({"_id": {"$gte": first + 500, "$lt": first + 550}}))) == 50
    orders.bulk_write([
        pymongo.InsertOne({"_id": first + 901, "name": canary}),
        pymongo.UpdateMany({"_id": first + 901}, {"$set": {canary: canary}}),
        pymongo.DeleteOne({"_id": first + 901, "name": canary}),
    ])
    orders.delete_many({"_id": {"$gte": first + 500, "$lt": first + 1000}})


def errors(client, database, first):
    orders = database.orders
    # What single writes say does not make their command fail.
    fails(11000, lambda: orders.insert_one({"_id": first, "name": canary}))
    fails(9, lambda: orders.update_one({"_id": first}, {"$" + canary: {"name": canary}}))
    fails(59, lambda: database.command(canary, canary))
    fails(2, lambda: orders.find_one({"$" + canary: canary}))
    fails(40324, lambda: list(orders.aggregate([{"$" + canary: canary}])))
    fails(27, lambda: orders.drop_index(canary))
    fails(43, lambda: database.command("getMore", 12345, collection="orders"))
    # The server knows no way to log in.
    fails(59, lambda: database.command("saslStart", mechanism="PLAIN", payload=canary.encode()))
    fails(76, lambda: client.admin.command("replSetGetStatus"))


def others(client):
    shop = client.shop
    shop.orders.create_index("name", name="names")
    fails(11000, lambda: shop.orders.create_index("note" + canary, unique=True))
    assert "names" in shop.orders.index_information()
    shop.orders.drop_index("names")
    shop.create_collection("bills")
    shop.bills.insert_one({"name": canary})
    shop.bills.rename("receipts")
    assert "receipts" in shop.list_collection_names()
    assert "shop" in client.list_database_names()
    shop.drop_collection("receipts")
    client.admin.command("ping")
    client.get_database("old").stock.insert_one({"name": canary})
    client.drop_database("old")


if what == "sleep":
    connect().shop.sleep.find_one({"name": canary})
elif what == "stay":
    with connect() as client:
        client.shop.orders.insert_one({"_id": -1})
        print("ready", flush=True)
        sys.stdin.readline()
        documents(client.shop, 0, 20)
        errors(client, client.shop, 0)
else:
    with connect() as client:
        documents(client.shop, 0, 30)
        errors(client, client.shop, 0)
        others(client)

    def another(first):
        for _ in range(3):
            with connect() as client:
                documents(client.shop, first, 5)
                client.shop.orders.delete_many({"_id": {"$gte": first, "$lt": first + 1000}})

    threads = [threading.Thread(target=another, args=(1000 * number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

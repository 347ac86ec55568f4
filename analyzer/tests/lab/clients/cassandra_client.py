"""What a Cassandra client does: statements, prepared ones, batches, pages, errors, large values, many at once.

cassandra_client.py PORT CANARY WHAT VERSION [lz4 | old]   with WHAT one of `work`, `stay` (works when a line comes in), `ask`
(asks once when a line comes in), and `old` for a table of its own; prints as JSON the codes of errors that it met, and how many
requests the server says that each connection made
"""

import json
import logging
import sys

import cassandra
from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import FallthroughRetryPolicy, WhiteListRoundRobinPolicy
from cassandra.query import BatchStatement, BatchType, SimpleStatement

port, canary, what, version, *more = sys.argv[1:]
table = f"orders{version}{''.join(more)}"
codes = {}


def connect(user="cassandra", password="cassandra"):
    profile = ExecutionProfile(
        WhiteListRoundRobinPolicy(["127.0.0.1"]), FallthroughRetryPolicy(), ConsistencyLevel.ONE, request_timeout=60
    )
    cluster = Cluster(
        ["127.0.0.1"], port=int(port), protocol_version=int(version), compression="lz4" if more == ["lz4"] else False,
        auth_provider=PlainTextAuthProvider(user, password), execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=60, control_connection_timeout=60, idle_heartbeat_interval=0, application_name=canary,
        # Nothing is asked for behind the back of this script.
        schema_metadata_enabled=False, token_metadata_enabled=False,
        schema_event_refresh_window=-1, topology_event_refresh_window=-1, status_event_refresh_window=-1,
    )
    return cluster, cluster.connect()


class Unprepared(logging.Handler):
    """Counts what the driver mends without a word."""

    def emit(self, record):
        if record.msg.startswith("Re-preparing unrecognized prepared statement"):
            met(0x2500)


logger = logging.getLogger("cassandra.cluster")
logger.setLevel(logging.DEBUG)
logger.propagate = False
logger.addHandler(Unprepared())


def met(code):
    codes[code] = codes.get(code, 0) + 1


def fails(code, kind, execute):
    try:
        execute()
    except kind:
        met(code)
        return
    raise SystemExit(f"no {code}")


def prepare(session):
    return [
        session.prepare(f"INSERT INTO {table} (id, name) VALUES (?, ?)"),
        session.prepare(f"SELECT name FROM {table} WHERE id = ?"),
    ]


def statements(session, insert, select, rounds):
    for number in range(rounds):
        session.execute(f"INSERT INTO {table} (id, name) VALUES ({number}, '{canary}')")
        session.execute(f"UPDATE {table} SET name = %s WHERE id = %s", (canary * 2, number))
        assert session.execute(f"SELECT name FROM {table} WHERE id = {number}").one().name == canary * 2
        session.execute(insert, (number, canary))
        assert session.execute(select, (number,)).one().name == canary
    # Many at once, but no more than 48: of a call's buffers 96 are read, and the server takes two for an answer.
    execute_concurrent_with_args(session, insert, [(number, canary) for number in range(1000, 1300)], concurrency=40)
    # Pages of an answer.
    pages = SimpleStatement(f"SELECT id, name FROM {table}", fetch_size=60)
    assert len(list(session.execute(pages))) == rounds + 300
    for kind in (BatchType.LOGGED, BatchType.UNLOGGED):
        batch = BatchStatement(kind)
        for number in range(10):
            batch.add(insert, (number, canary))
            batch.add(SimpleStatement(f"DELETE FROM {table} WHERE id = {2000 + number}"))
        session.execute(batch, custom_payload={"secret": canary.encode()} if version != "3" else None)
    # A large value each way, traced.
    session.execute(insert, (3000, canary * 40_000))
    assert len(session.execute(select, (3000,), trace=True).one().name) == 640_000
    session.execute(f"DELETE FROM {table} WHERE id = 3000 /* {canary} */")


def errors(session, insert, rounds):
    for _ in range(rounds):
        fails(0x2000, cassandra.protocol.SyntaxException, lambda: session.execute(f"SELEC '{canary}'"))
        fails(0x2200, cassandra.InvalidRequest, lambda: session.execute(f"SELECT * FROM nowhere WHERE a = '{canary}'"))
        fails(0x2200, cassandra.InvalidRequest, lambda: session.execute(f"SELECT nothing FROM {table}"))
        fails(0x2200, cassandra.InvalidRequest, lambda: session.prepare(f"SELECT * FROM {table} WHERE name = '{canary}'"))
        fails(0x2400, cassandra.AlreadyExists, lambda: session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)"))
        two = SimpleStatement(f"SELECT name FROM {table}", consistency_level=ConsistencyLevel.TWO)
        fails(0x1000, cassandra.Unavailable, lambda: session.execute(two))
    session.execute(f"ALTER TABLE {table} ADD note text")


if what == "ask":
    cluster, session = connect()
    print("ready", flush=True)
    sys.stdin.readline()
    session.execute(f"SELECT name FROM shop.asked WHERE name = '{canary}'")
elif what == "stay":
    cluster, session = connect()
    session.set_keyspace("shop")
    session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text)")
    insert, select = prepare(session)
    print("ready", flush=True)
    sys.stdin.readline()
    statements(session, insert, select, 20)
    errors(session, insert, 1)
    cluster.shutdown()
else:
    cluster, session = connect()
    session.execute(
        "CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.set_keyspace("shop")
    session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text)")
    insert, select = prepare(session)
    statements(session, insert, select, 30)
    errors(session, insert, 3)
    fails(0x0100, NoHostAvailable, lambda: connect(canary, canary))
    # The server forgets what was prepared for a table that has changed, and the driver prepares it again.
    session.execute(insert, (4000, canary))
    # Of this connection and of the driver's own one.
    rows = session.execute("SELECT port, connection_stage, request_count FROM system_views.clients")
    counts = {str(row.port): row.request_count for row in rows if row.connection_stage == "ready"}
    cluster.shutdown()
    print(json.dumps({"codes": codes, "counts": counts}))

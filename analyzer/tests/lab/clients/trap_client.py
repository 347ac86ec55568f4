"""TLS and plain connections by turns on one thread.

trap_client.py TLS_PORT CANARY PLAIN_PORT CA ROUNDS   two TLS connections and two plain ones, a request on each a round
"""

import http.client
import ssl
import sys

tls_port, canary, plain_port, ca, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
context = ssl.create_default_context(cafile=ca)
connections = [
    http.client.HTTPSConnection("localhost", tls_port, context=context),
    http.client.HTTPConnection("localhost", plain_port),
    http.client.HTTPSConnection("localhost", tls_port, context=context),
    http.client.HTTPConnection("localhost", plain_port),
]
for turn in range(rounds):
    for number, connection in enumerate(connections):
        connection.request("GET", f"/{number}", headers={"Cookie": canary})
    # Answers in another order than requests.
    for connection in reversed(connections):
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
for connection in connections:
    connection.close()

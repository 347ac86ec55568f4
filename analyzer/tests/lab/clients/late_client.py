"""A TLS connection that is used before and after it is told to go on.

late_client.py PORT CANARY CA
"""

import http.client
import ssl
import sys

port, canary, ca = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=ca))


def ask(path):
    connection.request("GET", path, headers={"Cookie": canary})
    connection.getresponse().read()


ask("/early")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    ask("/late")
connection.close()

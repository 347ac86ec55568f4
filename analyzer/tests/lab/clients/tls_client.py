"""TLS handshakes that work and that do not, and requests behind them.

tls_client.py PORT CANARY CA   prints what it did as JSON
"""

import json
import socket
import ssl
import sys

port, canary, ca = int(sys.argv[1]), sys.argv[2], sys.argv[3]
told = {"handshakes": 0, "requests": 0, "refused": 0}


def context(version=None, trust=True, ciphers=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust:
        made.load_verify_locations(ca)
    if version:
        made.minimum_version = made.maximum_version = version
    if ciphers:
        made.set_ciphers(ciphers)
    return made


def talk(made, name, requests, session=None):
    made.set_alpn_protocols(["http/1.1"])
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with made.wrap_socket(plain, server_hostname=name, session=session) as stream:
            told["handshakes"] += 1
            for _ in range(requests):
                stream.sendall(f"GET /{canary} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.endswith(b"end"):
                    answer += stream.recv(65536)
                told["requests"] += 1
            return stream.session, stream.session_reused


def refused(made, name):
    try:
        talk(made, name, 1)
    except (ssl.SSLError, OSError):
        told["refused"] += 1
        return
    raise SystemExit("it was not refused")


for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    made = context(version)
    for number in range(20):
        talk(made, "shop.test", number % 4)
    session, _ = talk(made, "shop.test", 1)
    for _ in range(5):
        _, reused = talk(made, "shop.test", 2, session)
        told["reused"] = told.get("reused", 0) + int(reused)
    for _ in range(3):
        refused(context(version, trust=False), "shop.test")
old = context(ciphers="ALL:@SECLEVEL=0")
old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
for _ in range(4):
    refused(old, "shop.test")
for _ in range(4):
    refused(context(ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"), "shop.test")
print(json.dumps(told))

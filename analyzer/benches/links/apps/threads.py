"""A front with a thread for each connection, or with four processes: threads.py PORT BACKEND_PORT threads|prefork.

Asks A, then B. Its connections to the backend stay open, one a thread.
"""

import http.client
import http.server
import os
import socketserver
import sys
import threading

PORT, BACKEND, MODE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
LOCAL = threading.local()


def ask(path, truth):
    if not hasattr(LOCAL, "backend"):
        LOCAL.backend = http.client.HTTPConnection("127.0.0.1", BACKEND)
    LOCAL.backend.request("GET", path, headers={"X-Truth": truth})
    LOCAL.backend.getresponse().read()


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    disable_nagle_algorithm = True

    def do_GET(self):
        truth = self.headers["X-Truth"]
        ask("/a", truth)
        ask("/b", truth)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        # A process serves one connection after the other, with a request each.
        if MODE == "prefork":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"done")

    def log_message(self, *_):
        pass


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 512


class OneAfterTheOther(socketserver.TCPServer):
    allow_reuse_address, request_queue_size = True, 512


if MODE == "threads":
    Threads(("127.0.0.1", PORT), Front).serve_forever()
server = OneAfterTheOther(("127.0.0.1", PORT), Front)
for _ in range(3):
    if os.fork() == 0:
        break
server.serve_forever()

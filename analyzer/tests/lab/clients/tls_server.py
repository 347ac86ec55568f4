"""A server of HTTP/1.1 over TLS, blocking, a thread a connection.

tls_server.py PORT CERTIFICATE KEY LOG   one line in LOG for each request
"""

import http.server
import ssl
import sys
import threading

port, certificate, key, name = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
log = open(name, "w", buffering=1)
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"small")
        with lock:
            log.write(f"{self.path}\n")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
if certificate != "none":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()

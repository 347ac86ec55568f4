"""Python's http.server with a log of the truth: server.py PORT LOGFILE FOLDER VERSION

One JSON line a request: the client's port, method, path, status and body bytes.
VERSION is HTTP/1.0 (closes after each answer, http.server's default) or HTTP/1.1.
"""

import http.server
import json
import os
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = sys.argv[4]

    def log_request(self, code="-", size="-"):
        path = self.translate_path(self.path)
        out = os.path.getsize(path) if int(code) == 200 and self.command == "GET" else None
        row = {"remote": "%s:%d" % self.client_address, "method": self.command,
               "path": self.path, "status": int(code), "out": out}
        log.write(json.dumps(row) + "\n")
        log.flush()

    def log_message(self, *_):
        pass


log = open(sys.argv[2], "w", encoding="utf-8")
os.chdir(sys.argv[3])
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

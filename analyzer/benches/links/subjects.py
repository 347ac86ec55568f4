"""The subjects of the bench: what stands between the load and the backend."""

import os
import subprocess
from pathlib import Path

APPS = Path(__file__).resolve().parent / "apps"


def nginx(folder, port, backend):
    (folder / "nginx.conf").write_text(f"""
        user root; worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 2048; }}
        http {{ access_log off; keepalive_requests 100000000;
                upstream backend {{ server 127.0.0.1:{backend}; keepalive 512; }}
                server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://backend; proxy_http_version 1.1;
                          proxy_set_header Connection ""; proxy_set_header X-Truth $http_x_truth; }} }} }}
    """)
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]


def haproxy(threads):
    def command(folder, port, backend):
        (folder / "haproxy.cfg").write_text(f"""
global
    nbthread {threads}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server one 127.0.0.1:{backend}
""")
        return ["haproxy", "-f", str(folder / "haproxy.cfg")]
    return command


def envoy(workers):
    def command(folder, port, backend):
        (folder / "envoy.yaml").write_text(f"""
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          generate_request_id: false
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [ {{ match: {{ prefix: / }}, route: {{ cluster: backend }} }} ] }}
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: backend
    connect_timeout: 5s
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend} }} }} }} }} ]
""")
        lab = Path(os.environ.get("RETROSPAN_LAB", Path.home() / ".cache/retrospan-ci"))
        binary = next((lab / "venv/lib").glob("python*/site-packages/envoy/_bin/envoy"))
        return [str(binary), "-c", str(folder / "envoy.yaml"), "--concurrency", str(workers), "--use-dynamic-base-id",
                "--log-level", "error"]
    return command


def node(mode):
    return lambda _, port, backend: ["node", str(APPS / "loops.js"), str(port), str(backend), mode]


def python(mode):
    return lambda _, port, backend: ["/usr/bin/python3", str(APPS / "threads.py"), str(port), str(backend), mode]


def go(folder, port, backend):
    build(folder, "front")
    return [str(folder / "front"), str(port), str(backend)]


def build(folder, name):
    """Builds a program of `apps/`, once a folder."""
    if not (folder / name).exists():
        subprocess.run(["go", "build", "-o", str(folder / name), str(APPS / f"{name}.go")], check=True)


SUBJECTS = {
    "nginx": nginx,
    "haproxy": haproxy(1),
    "haproxy-2": haproxy(2),
    "envoy": envoy(1),
    "envoy-2": envoy(2),
    "node": node("parallel"),
    "node-limited": node("limited"),
    "node-kinds": node("kinds"),
    "node-timer": node("timer"),
    "node-background": node("background"),
    "python-threads": python("threads"),
    "python-prefork": python("prefork"),
    "go": go,
}

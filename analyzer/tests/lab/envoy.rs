//! Envoy as proxy, and which connection it carried on which.
//!
//! In: the port to listen on and the port behind. Out: a running Envoy and its
//! access log as [`Carried`] rows: the truth about links.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::Program;
use super::{free_port, tool, wait_for};

/// What the listener understands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Bytes only (`tcp_proxy`).
    Tcp,
    /// HTTP/1.1 on both sides (`http_connection_manager`).
    Http,
}

/// One row of Envoy's access log: a connection (tcp) or a request (http).
#[derive(Clone, Debug)]
pub struct Carried {
    /// The port of whoever connected to Envoy.
    pub downstream_port: u16,
    /// Envoy's own port on the connection onwards; null where it never connected.
    pub upstream_port: Option<u16>,
    /// Bytes from below to above, and back.
    pub received_bytes: i64,
    pub sent_bytes: i64,
    pub duration_ms: i64,
    /// Response code and flags; code 0 and flag DC for a client that went away (http).
    pub code: i64,
    pub flags: String,
}

/// What to start.
pub struct Plan<'a> {
    /// Names its files.
    pub name: &'a str,
    /// The program: `envoy`, or a link to it that has another name.
    pub program: PathBuf,
    pub mode: Mode,
    /// Of 127.0.0.1.
    pub port: u16,
    /// Where everything goes.
    pub upstream: SocketAddr,
    /// Threads that carry traffic.
    pub workers: usize,
}

/// A running Envoy with one listener.
pub struct Envoy {
    pub program: Program,
    pub port: u16,
    log: PathBuf,
}

impl Envoy {
    /// Starts one with two workers that sends everything on to `upstream`.
    pub fn start(name: &str, dir: &Path, mode: Mode, upstream: u16) -> Self {
        let upstream = (Ipv4Addr::LOCALHOST, upstream).into();
        let plan = Plan { name, program: tool("envoy"), mode, port: free_port(), upstream, workers: 2 };
        Self::start_as(&plan, dir, |_| {})
    }

    /// Starts one as planned, its command changed first (to place it in a namespace).
    pub fn start_as(plan: &Plan, dir: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let Plan { name, mode, port, upstream, .. } = *plan;
        let log = dir.join(format!("{name}.log"));
        let file = dir.join(format!("{name}.json"));
        fs::write(&file, config(mode, port, upstream, &log).to_string()).expect("Envoy's configuration");
        let mut command = Command::new(&plan.program);
        command.arg("-c").arg(&file);
        command.args(["--concurrency", &plan.workers.to_string(), "--disable-hot-restart", "-l", "warn"]);
        command.args(["--file-flush-interval-msec", "50"]);
        change(&mut command);
        let mut program = Program::start(name, dir, &mut command);
        program.wait_listening(port);
        Self { program, port, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// All rows logged so far; a connection is logged once both its sides are closed.
    pub fn carried(&self) -> Vec<Carried> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(parse_row).collect()
    }

    /// Waits until `count` rows are logged, then returns all there are.
    pub fn wait_carried(&self, count: usize) -> Vec<Carried> {
        wait_for(&format!("{count} rows in {}", self.log.display()), || self.carried().len() >= count);
        self.carried()
    }
}

fn parse_row(line: &str) -> Carried {
    let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("Envoy's row {line}: {e}"));
    let port = |key: &str| row[key].as_str().and_then(|a| a.rsplit(':').next()?.parse().ok());
    let number = |key: &str| row[key].as_i64().unwrap_or_default();
    Carried {
        downstream_port: port("downstream").unwrap_or_else(|| panic!("no downstream port in {line}")),
        upstream_port: port("upstream"),
        received_bytes: number("received"),
        sent_bytes: number("sent"),
        duration_ms: number("duration"),
        code: number("code"),
        flags: row["flags"].as_str().unwrap_or_default().to_owned(),
    }
}

/// The binary itself: what the Python package calls `envoy` is a script that executes it.
pub fn binary() -> PathBuf {
    let script = tool("envoy");
    let libraries = script.parent().and_then(Path::parent).expect("a folder above").join("lib");
    let versions = fs::read_dir(libraries).into_iter().flatten().flatten();
    let packed = versions.map(|version| version.path().join("site-packages/envoy/_bin/envoy"));
    packed.into_iter().find(|file| file.is_file()).unwrap_or(script)
}

fn config(mode: Mode, port: u16, upstream: SocketAddr, log: &Path) -> Value {
    let address = |to: SocketAddr| serde_json::json!({"socket_address": {"address": to.ip().to_string(), "port_value": to.port()}});
    let access_log = serde_json::json!([{
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": log,
            "log_format": {"json_format": {
                "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%", "upstream": "%UPSTREAM_LOCAL_ADDRESS%",
                "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%", "duration": "%DURATION%",
                "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%",
            }},
        },
    }]);
    let filter = match mode {
        Mode::Tcp => serde_json::json!({
            "name": "tcp",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "tcp", "cluster": "next", "access_log": access_log,
            },
        }),
        Mode::Http => serde_json::json!({
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "http", "access_log": access_log,
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "next", "timeout": "30s"}}]}]},
                "http_filters": [{"name": "router", "typed_config":
                    {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
            },
        }),
    };
    serde_json::json!({"static_resources": {
        "listeners": [{"name": "in", "address": address((Ipv4Addr::LOCALHOST, port).into()), "filter_chains": [{"filters": [filter]}]}],
        "clusters": [{
            "name": "next", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000}]},
            "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]},
        }],
    }})
}

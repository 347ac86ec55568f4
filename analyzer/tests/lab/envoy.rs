//! Envoy as proxy, and which connection it carried on which.
//!
//! In: the port to listen on and the port behind. Out: a running Envoy and its
//! access log as [`Carried`] rows: the truth about links.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::Program;
use super::{free_port, tool, wait_for};

/// What the listener understands.
#[derive(Clone, Copy, PartialEq)]
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

/// A running Envoy with one listener.
pub struct Envoy {
    pub program: Program,
    pub port: u16,
    log: PathBuf,
}

impl Envoy {
    /// Starts one with two workers that sends everything on to `upstream`.
    pub fn start(name: &str, dir: &Path, mode: Mode, upstream: u16) -> Self {
        let port = free_port();
        let log = dir.join(format!("{name}.log"));
        let file = dir.join(format!("{name}.json"));
        fs::write(&file, config(mode, port, upstream, &log).to_string()).expect("Envoy's configuration");
        let mut command = Command::new(tool("envoy"));
        command.arg("-c").arg(&file);
        command.args(["--concurrency", "2", "--disable-hot-restart", "-l", "warn"]);
        command.args(["--file-flush-interval-msec", "50"]);
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

fn config(mode: Mode, port: u16, upstream: u16, log: &Path) -> Value {
    let address =
        |port: u16| serde_json::json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
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
        "listeners": [{"name": "in", "address": address(port), "filter_chains": [{"filters": [filter]}]}],
        "clusters": [{
            "name": "next", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000}]},
            "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]},
        }],
    }})
}

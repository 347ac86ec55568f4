//! Real Jaeger: as the receiver whose API is asked back, and as a collector in
//! the middle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::process::{Program, run, run_ok};
use super::{free_port, tool};

/// A running Jaeger with in-memory storage.
pub struct Jaeger {
    _program: Program,
    pub grpc_port: u16,
    pub http_port: u16,
    query_port: u16,
}

/// A running collector that filters, samples whole traces and passes them on.
pub struct Collector {
    _program: Program,
    pub grpc_port: u16,
    pub http_port: u16,
}

fn receivers(grpc: u16, http: u16, tls: Option<&Certificate>) -> Value {
    let at = |port: u16| {
        let mut receiver = json!({"endpoint": format!("127.0.0.1:{port}")});
        if let Some(own) = tls {
            receiver["tls"] = json!({"cert_file": own.chain, "key_file": own.key});
        }
        receiver
    };
    json!({"otlp": {"protocols": {"grpc": at(grpc), "http": at(http)}}})
}

/// A certificate for `localhost`, and the authority that it is from.
pub struct Certificate {
    pub authority: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Has openssl make one, good for two days.
    pub fn make(dir: &Path) -> Self {
        let file = |name: &str| dir.join(name);
        let openssl =
            |args: &str| run_ok(Command::new(tool("openssl")).current_dir(dir).args(args.split(' ')));
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        fs::write(file("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").expect("names");
        openssl(&format!("req -x509 {key} -days 2 -keyout ca.key -out ca.pem -subj /CN=retrospan-test"));
        openssl(&format!("req {key} -keyout own.key -out own.csr -subj /CN=localhost"));
        openssl(
            "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out own.pem",
        );
        Self { authority: file("ca.pem"), chain: file("own.pem"), key: file("own.key") }
    }
}

fn start(name: &str, dir: &Path, config: &Value, port: u16) -> Program {
    let file = dir.join(format!("{name}.json"));
    fs::write(&file, config.to_string()).expect("Jaeger's configuration");
    let mut command = Command::new(tool("jaeger"));
    // Or it would trace its own queries into itself.
    command.arg("--config").arg(&file).env("OTEL_TRACES_SAMPLER", "always_off");
    let mut program = Program::start(name, dir, &mut command);
    program.wait_listening(port);
    program
}

impl Jaeger {
    /// Starts it on free ports.
    pub fn start(dir: &Path) -> Self {
        Self::receiving(dir, None)
    }

    /// The same, receiving with TLS only.
    pub fn start_with_tls(dir: &Path, certificate: &Certificate) -> Self {
        Self::receiving(dir, Some(certificate))
    }

    fn receiving(dir: &Path, tls: Option<&Certificate>) -> Self {
        let [grpc_port, http_port, query_port, query_grpc] = [(); 4].map(|()| free_port());
        let config = json!({
            "extensions": {
                "jaeger_storage": {"backends": {"mem": {"memory": {"max_traces": 100_000}}}},
                "jaeger_query": {"storage": {"traces": "mem"},
                    "http": {"endpoint": format!("127.0.0.1:{query_port}")},
                    "grpc": {"endpoint": format!("127.0.0.1:{query_grpc}")}},
            },
            "receivers": receivers(grpc_port, http_port, tls),
            "processors": {"batch": {}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "mem"}},
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["batch"],
                    "exporters": ["jaeger_storage_exporter"]}},
            },
        });
        let mut program = start("jaeger", dir, &config, grpc_port);
        program.wait_listening(http_port);
        program.wait_listening(query_port);
        Self { _program: program, grpc_port, http_port, query_port }
    }

    /// All spans of a trace as OTLP JSON, resource spans flattened: each span has
    /// its resource under `resource`. Empty while Jaeger does not know the trace.
    pub fn trace(&self, trace_id: &str) -> Vec<Value> {
        let url = format!("http://127.0.0.1:{}/api/v3/traces/{trace_id}", self.query_port);
        let output = run(Command::new(tool("curl")).args(["-s", &url]));
        let body: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut spans = Vec::new();
        for resource in list(&body["result"]["resourceSpans"]) {
            for scope in list(&resource["scopeSpans"]) {
                for span in list(&scope["spans"]) {
                    let mut span = span.clone();
                    span["resource"] = resource["resource"].clone();
                    spans.push(span);
                }
            }
        }
        spans
    }

    /// The services it knows.
    pub fn services(&self) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}/api/v3/services", self.query_port);
        let body: Value =
            serde_json::from_str(&run_ok(Command::new(tool("curl")).args(["-s", &url]))).unwrap_or_default();
        list(&body["services"]).iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }
}

impl Collector {
    /// Starts one before `next`: drops spans whose `url.path` is `/status/204`, keeps
    /// whole traces that hold a span of `/status/503` or a path that begins `/size/`.
    pub fn start(dir: &Path, next: &Jaeger) -> Self {
        let [grpc_port, http_port] = [(); 2].map(|()| free_port());
        let keep = |name: &str, values: &[&str]| {
            json!({"name": name, "type": "string_attribute", "string_attribute":
                {"key": "url.path", "values": values, "enabled_regex_matching": true}})
        };
        let config = json!({
            "receivers": receivers(grpc_port, http_port, None),
            "processors": {
                "filter/health": {"error_mode": "ignore", "traces": {"span": ["attributes[\"url.path\"] == \"/status/204\""]}},
                "tail_sampling": {"decision_wait": "1s", "num_traces": 50_000, "policies":
                    [keep("errors", &["/status/503"]), keep("sizes", &["/size/.*"])]},
                "batch": {},
            },
            "exporters": {"otlp": {"endpoint": format!("127.0.0.1:{}", next.grpc_port), "tls": {"insecure": true}}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
                "pipelines": {"traces": {"receivers": ["otlp"],
                    "processors": ["filter/health", "tail_sampling", "batch"], "exporters": ["otlp"]}},
            },
        });
        let mut program = start("collector", dir, &config, grpc_port);
        program.wait_listening(http_port);
        Self { _program: program, grpc_port, http_port }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

//! HTTP servers and what they logged.
//!
//! In: a folder to work in. Out: a running server on a free loopback port, and
//! [`Served`]: one row for each request that it says it answered.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::process::{Program, run_ok};
use super::{cache, free_port, tool, wait_for};

/// One request as its server logged it.
#[derive(Clone, Debug)]
pub struct Served {
    /// The port of whoever sent it (a proxy's, behind a proxy).
    pub remote_port: u16,
    /// Which request of its connection, from 1; null where the server does not say.
    pub nth: Option<u64>,
    pub method: String,
    pub path: String,
    pub status: i64,
    /// Whole messages on the wire, heads included; null where the server does not say.
    pub request_bytes: Option<i64>,
    pub response_bytes: Option<i64>,
    /// The response's body; null where the server does not say.
    pub body_bytes: Option<i64>,
}

/// A server, its port and its log.
pub struct Server {
    pub program: Program,
    pub port: u16,
    log: PathBuf,
}

impl Server {
    /// Its process id, children not counted.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// All log rows so far, in the order of their ends.
    pub fn served(&self) -> Vec<Served> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        parse_log(&text)
    }

    /// Waits until the log has `count` rows, then returns all there are.
    pub fn wait_served(&self, count: usize) -> Vec<Served> {
        wait_for(&format!("{count} rows in {}", self.log.display()), || self.served().len() >= count);
        self.served()
    }

    fn start(name: &str, dir: &Path, port: u16, log: PathBuf, command: &mut Command) -> Self {
        let mut program = Program::start(name, dir, command);
        program.wait_listening(port);
        Self { program, port, log }
    }
}

/// Reads the log of any of the servers; a last line still being written is left out.
pub fn parse_log(text: &str) -> Vec<Served> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| parse_row(line).unwrap_or_else(|| panic!("log row {line}"))).collect()
}

fn parse_row(line: &str) -> Option<Served> {
    let row: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    Some(Served {
        remote_port: row["remote"].as_str()?.rsplit(':').next()?.parse().ok()?,
        nth: row["nth"].as_u64(),
        method: text("method")?,
        path: text("path")?,
        status: row["status"].as_i64()?,
        request_bytes: row["request_bytes"].as_i64(),
        response_bytes: row["response_bytes"].as_i64(),
        body_bytes: row["out"].as_i64(),
    })
}

/// Bodies that nginx and Python serve: `/size-N` has N bytes.
pub const FILE_SIZES: [usize; 6] = [0, 1, 8_191, 8_192, 65_536, 1_000_000];

fn fill_folder(dir: &Path) -> PathBuf {
    let root = dir.join("files");
    fs::create_dir_all(&root).expect("a folder for files");
    for size in FILE_SIZES {
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        fs::write(root.join(format!("size-{size}")), body).expect("a file to serve");
    }
    root
}

/// nginx: files by sendfile under `/size-N`, `/status/NNN`, and a `/proxy/` to
/// another server when one is given. Two workers, one JSON row a request.
pub fn nginx(dir: &Path, upstream: Option<u16>) -> Server {
    let port = free_port();
    let log = dir.join("nginx.log");
    let root = fill_folder(dir);
    let proxy = upstream.map_or(String::new(), |port| {
        format!("location /proxy/ {{ proxy_pass http://127.0.0.1:{port}/; proxy_http_version 1.1; }}")
    });
    let statuses =
        [204, 304, 404, 500, 503].map(|s| format!("location = /status/{s} {{ return {s}; }}")).join("\n    ");
    let config = format!(
        r#"daemon off; user root; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  log_format truth escape=json '{{"remote":"$remote_addr:$remote_port","nth":$connection_requests,'
    '"method":"$request_method","path":"$request_uri","status":$status,"request_bytes":$request_length,'
    '"response_bytes":$bytes_sent,"out":$body_bytes_sent,"seconds":$request_time,"at":$msec}}';
  access_log {log} truth;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  sendfile on; tcp_nopush on; keepalive_requests 10000000; root {root};
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    {statuses}
    {proxy}
  }}
}}
"#,
        dir = dir.display(),
        log = log.display(),
        root = root.display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config).expect("nginx.conf");
    let mut command = Command::new(tool("nginx"));
    command.arg("-c").arg(&file).arg("-p").arg(dir).arg("-e").arg(dir.join("nginx.err"));
    Server::start("nginx", dir, port, log, &mut command)
}

/// The Go server of `go/main.go` on a dual-stack socket; `file_bytes` is the size of `/file`.
pub fn go(dir: &Path, file_bytes: usize) -> Server {
    go_with(dir, free_port(), file_bytes, |_| {})
}

/// The Go server on a given port, its command changed first (to place it in a namespace).
pub fn go_with(dir: &Path, port: u16, file_bytes: usize, change: impl FnOnce(&mut Command)) -> Server {
    let log = dir.join(format!("go-{port}.log"));
    let file = dir.join("served-file");
    fs::write(&file, vec![b'f'; file_bytes]).expect("a file to serve");
    let mut command = Command::new(go_binary());
    command.arg(port.to_string()).arg(&log).arg(&file);
    change(&mut command);
    Server::start("go-server", dir, port, log, &mut command)
}

fn go_binary() -> PathBuf {
    built("go")
}

/// Builds the Go program in a folder of the lab into the lab's cache, named after its source.
pub fn built(folder: &str) -> PathBuf {
    let source = super::workspace().join("analyzer/tests/lab").join(folder);
    let mut hash = DefaultHasher::new();
    let files =
        fs::read_dir(&source).expect("the Go program's folder").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "go")).collect();
    files.sort();
    for file in &files {
        fs::read(file).expect("the Go program's source").hash(&mut hash);
    }
    let binary = cache().join(format!("servers/{folder}-{:016x}", hash.finish()));
    // Tests of one process are threads: one of them builds, the others wait for it.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if !binary.is_file() {
        fs::create_dir_all(cache().join("servers")).expect("the lab's cache");
        // Two test processes may build at once: each moves its own file into place.
        let own = binary.with_extension(format!("{}", std::process::id()));
        let mut build = Command::new(tool("go"));
        build.args(["build", "-o"]).arg(&own).arg(".").current_dir(&source).env("GOTOOLCHAIN", "local");
        run_ok(&mut build);
        fs::rename(&own, &binary).expect("the built program in its place");
    }
    binary
}

/// Python's http.server over the same files as [`nginx`]; `version` as in `HTTP/1.0`.
pub fn python(dir: &Path, version: &str) -> Server {
    let port = free_port();
    let log = dir.join("python.log");
    let root = fill_folder(dir);
    let script = super::workspace().join("analyzer/tests/lab/server.py");
    let mut command = Command::new(tool("python3"));
    command.arg(script).arg(port.to_string()).arg(&log).arg(root).arg(version);
    Server::start("python-server", dir, port, log, &mut command)
}

//! Ordinary clients and load generators, and what they say about their requests.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::client::Exchange;
use super::process::{run, run_ok};
use super::{tool, wall_ns};

/// curl's account of one transfer.
#[derive(Debug)]
pub struct Curled {
    /// What the span must say; `took_ns` is curl's own total time.
    pub exchange: Exchange,
    pub exit_code: i64,
    /// How long the whole process ran, which closes its connections only after it has told its times, ns.
    pub process_ns: i64,
}

/// Fetches all `paths` of 127.0.0.1:`port` with one curl process, which keeps its
/// connection where the server lets it. `args` go in front.
pub fn curl(port: u16, paths: &[&str], args: &[&str]) -> Vec<Curled> {
    let mut command = Command::new(tool("curl"));
    command.args(["-s", "-g", "-w", "\n%{stderr}%{json}\n"]).args(args);
    for path in paths {
        command.args(["-o", "/dev/null"]).arg(format!("http://127.0.0.1:{port}{path}"));
    }
    let began_ns = wall_ns();
    // A failed transfer is data, too: --max-time ends with 28.
    let begin = Instant::now();
    let output = run(&mut command);
    let process_ns = begin.elapsed().as_nanos() as i64;
    let rows = String::from_utf8_lossy(&output.stderr).into_owned();
    let rows = rows.lines().filter(|line| !line.is_empty());
    rows.map(|row| curled(row, began_ns, process_ns)).collect()
}

fn curled(row: &str, began_ns: i64, process_ns: i64) -> Curled {
    let row: Value = serde_json::from_str(row).unwrap_or_else(|e| panic!("curl wrote {row}: {e}"));
    let number = |key: &str| row[key].as_i64().unwrap_or_else(|| panic!("no {key} from curl in {row}"));
    let seconds = row["time_total"].as_f64().expect("curl's total time");
    let url = row["url"].as_str().expect("curl's URL");
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let status = number("http_code");
    // curl counts in whole microseconds.
    let took_ns = ((seconds * 1e6).round() as i64 + 1) * 1000;
    Curled {
        exchange: Exchange {
            client_port: u16::try_from(number("local_port")).expect("a port"),
            method: row["method"].as_str().expect("curl's method").to_owned(),
            path: format!("/{path}"),
            status: (status != 0).then_some(status),
            request_bytes: number("size_request") + number("size_upload"),
            response_bytes: number("size_header") + number("size_download"),
            request_body_bytes: number("size_upload"),
            response_body_bytes: number("size_download"),
            chunked: false,
            began_ns,
            took_ns,
        },
        exit_code: number("exitcode"),
        process_ns,
    }
}

/// Makes `requests` identical requests, `concurrency` at once, with ApacheBench;
/// every one of them must succeed.
pub fn ab(port: u16, path: &str, requests: usize, concurrency: usize, keep_alive: bool) {
    let mut command = Command::new(tool("ab"));
    command.args(["-q", "-n", &requests.to_string(), "-c", &concurrency.to_string()]);
    if keep_alive {
        command.arg("-k");
    }
    let text = run_ok(command.arg(format!("http://127.0.0.1:{port}{path}")));
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("none");
        line.trim().parse::<usize>().unwrap_or_else(|_| panic!("{name} in:\n{text}"))
    };
    assert_eq!((figure("Complete requests:"), figure("Failed requests:")), (requests, 0), "{text}");
}

/// Loads a server with wrk for a second; returns how many answers it counted. Its
/// requests in flight at the end are never answered.
pub fn wrk(port: u16, path: &str, connections: usize) -> usize {
    let mut command = Command::new(tool("wrk"));
    command.args(["-t", "1", "-d", "1s", "-c", &connections.to_string()]);
    let text = run_ok(command.arg(format!("http://127.0.0.1:{port}{path}")));
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    count.and_then(|(count, _)| count.parse().ok()).unwrap_or_else(|| panic!("wrk said:\n{text}"))
}

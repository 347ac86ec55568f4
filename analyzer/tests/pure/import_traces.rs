//! `retrospan import` of traces: those of real producers become captures that every command reads, what was exported
//! comes back, and a spike in an hour of traces is found.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::{Value, json};

use crate::cli_support::*;
use crate::lab::workspace;
use crate::otlp_support::receiver;

/// The same spans, as several producers write them.
const FILES: [&str; 5] =
    ["jaeger.json", "collector.jsonl", "collector.binpb", "collector-zstd.bin", "python.binpb"];
const CANARY: &str = "hunter2";

fn testdata(name: &str) -> PathBuf {
    workspace().join("testdata/traces").join(name)
}

fn import(directory: &Path, files: &[&Path], more: &[&str]) -> Output {
    let mut command = command(directory);
    command.arg("import").args(files).args(["-o", "out.cap"]).args(more);
    command.output().expect("the program runs")
}

fn imported(files: &[&Path], more: &[&str]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = import(folder.path(), files, more);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty(), "{said}");
    (folder, said)
}

fn rows(directory: &Path, query: &str) -> Vec<Value> {
    let text = stdout(directory, &["sql", "out.cap", query, "--format", "json"]);
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

/// Every file of a folder, one after the other.
fn everything(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let all =
        entries.map(|path| if path.is_dir() { everything(&path) } else { fs::read(path).expect("a file") });
    all.flatten().collect()
}

const SPANS: &str = "SELECT trace_id, span_id, parent_span_id, remote_parent_span_id, kind, name, service, start_time, \
    duration_ns, own_ns, protocol, method, path, query, route, operation, target, status, status_text, outcome, src_addr, src_port, \
    dst_addr, dst_port, pid, process, process_id, connection_id, socket_id, link_evidence, attributes FROM spans ORDER BY start_time, span_id";

#[test]
fn what_real_producers_wrote_becomes_spans() {
    let (folder, said) = imported(&[&testdata(FILES[0])], &[]);
    assert!(
        said.starts_with("imported 26 spans of 3 services, over 2.60 s, 30 attributes left out"),
        "{said}"
    );
    let lines = |query: &str| stdout(folder.path(), &["sql", "out.cap", query, "--format", "json"]);
    snapshot("imported_spans", &lines(SPANS));
    let connections = "SELECT connection_id, hop, client_socket_id, server_socket_id, protocol, requests, discovered, bytes_to_server \
                       FROM connections ORDER BY connection_id";
    let traces = "SELECT * FROM traces ORDER BY start_time";
    let made_by = "SELECT p.process_id, p.name, p.pid, r.service, r.attributes FROM processes p JOIN imported_resources r \
                   USING (process_id) ORDER BY process_id";
    snapshot("imported_tables", &[connections, traces, made_by].map(lines).join("\n"));
}

#[test]
fn every_format_tells_the_same() {
    // Ids count in the order of a file, and Jaeger keeps attributes in an order of its own.
    let columns = "trace_id, span_id, parent_span_id, kind, name, service, CAST(start_time AS BIGINT) AS start_ns, duration_ns, own_ns, \
        protocol, operation, target, path, query, status, outcome, src_addr, dst_addr, dst_port";
    let query = format!("SELECT {columns} FROM spans ORDER BY start_time, span_id");
    let of = |name: &str| {
        let (folder, _) = imported(&[&testdata(name)], &[]);
        rows(folder.path(), &query)
    };
    let first = of(FILES[0]);
    assert_eq!(first.len(), 26);
    for name in &FILES[1..] {
        assert_eq!(of(name), first, "{name}");
    }
}

#[test]
fn no_secret_gets_into_a_file_unless_all_is_wanted() {
    for name in FILES {
        for payload in ["heads", "none"] {
            let (folder, _) = imported(&[&testdata(name)], &["--payload", payload]);
            let spans = "SELECT attributes FROM spans UNION ALL SELECT attributes FROM imported_resources";
            let text = format!("{:?}", rows(folder.path(), spans));
            let bytes = everything(folder.path());
            assert!(!text.contains(CANARY) && !bytes.windows(7).any(|w| w == CANARY.as_bytes()), "{name}");
            assert_eq!(text.contains("key=*******"), payload == "heads", "{name} {text}");
        }
        let (folder, said) = imported(&[&testdata(name)], &["--payload", "full"]);
        let card = rows(
            folder.path(),
            "SELECT attributes FROM spans WHERE attributes LIKE '%\"order.card\":\"hunter2\"%'",
        );
        assert!(card.len() == 3 && !said.contains("left out"), "{name} {said}");
    }
}

#[test]
fn files_come_packed_from_anywhere_together_and_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&fs::read(testdata("jaeger.json")).expect("a file")).expect("memory");
    let packed = folder.path().join("friday.dump");
    fs::write(&packed, gzip.finish().expect("memory")).expect("a file");
    let zstd = folder.path().join("saturday");
    let bytes = fs::read(testdata("python.binpb")).expect("a file");
    fs::write(&zstd, zstd::encode_all(&*bytes, 1).expect("memory")).expect("a file");
    let (_kept, said) = imported(&[&packed, &zstd, &testdata("collector.binpb")], &[]);
    assert!(said.contains("26 spans") && said.contains("52 repeated spans dropped"), "{said}");
    let mut command = command(folder.path());
    command.args(["import", "-", "-o", "out.cap"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(&fs::read(testdata("collector.jsonl")).expect("a file")).expect("it reads");
    drop(input);
    assert!(child.wait_with_output().expect("its end").status.success());
    assert_eq!(rows(folder.path(), "SELECT count(*) AS n FROM spans"), [json!({"n": 26})]);
    let info = stdout(folder.path(), &["info", "out.cap"]);
    assert!(info.contains("traces    standard input") && info.contains("imported_spans"), "{info}");
}

#[test]
fn the_same_files_give_the_same_capture() {
    let id = |files: &[&Path], more: &[&str]| {
        let (folder, _) = imported(files, more);
        let manifest = fs::read_to_string(folder.path().join("out.cap/manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
        manifest["capture_id"].as_str().expect("a text").to_owned()
    };
    let [jaeger, python] = ["jaeger.json", "python.binpb"].map(testdata);
    let packets = workspace().join("testdata/packets/talk.pcapng");
    assert_eq!(id(&[&jaeger], &[]), id(&[&jaeger], &[]));
    assert_eq!(id(&[&packets], &[]), id(&[&packets], &[]));
    let others = [
        id(&[&jaeger], &[]),
        id(&[&jaeger], &["--payload", "full"]),
        id(&[&python], &[]),
        id(&[&jaeger, &python], &[]),
    ];
    assert_eq!(others.iter().collect::<std::collections::BTreeSet<_>>().len(), others.len());
    let spans = |files: &[&Path]| {
        let (folder, _) = imported(files, &[]);
        rows(folder.path(), "SELECT span_id FROM spans ORDER BY start_time, span_id")
    };
    assert_eq!(spans(&[&packets]), spans(&[&packets]), "ids of spans follow from it");
}

#[test]
fn what_is_broken_is_counted_and_what_is_none_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let lines = fs::read_to_string(testdata("collector.jsonl")).expect("a file");
    let (first, second) = lines.trim_end().split_once('\n').expect("two lines");
    let broken = write(
        "broken",
        format!("{first}\n{{\"resourceSpans\":[[]}}\n{second}\n{}", &second[..900]).as_bytes(),
    );
    let (kept, said) = imported(&[&broken], &[]);
    assert!(said.contains("26 spans") && said.contains("1 broken documents"), "{said}");
    assert!(said.contains("broken: ends within a message; read up to there"), "{said}");
    assert_eq!(
        rows(kept.path(), "SELECT cause, count FROM loss"),
        [json!({"cause": "file_cut", "count": 1})]
    );
    let whole = fs::read(testdata("collector.binpb")).expect("a file");
    let (_, said) = imported(&[&write("cut", &whole[..whole.len() - 10])], &[]);
    assert!(said.contains("8 spans") && said.contains("cut: ends within a message"), "{said}");
    let jaeger = testdata("jaeger.json");
    let packets = workspace().join("testdata/packets/talk.pcapng");
    let refused = |files: &[&Path], wanted: &str| {
        let output = import(folder.path(), files, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(wanted) && said.trim_end().lines().count() == 1, "{said}");
        assert!(!folder.path().join("out.cap").exists());
    };
    refused(&[&packets, &jaeger], "talk.pcapng holds packets and");
    refused(
        &[&write("metrics", b"{\"resourceMetrics\":[]}")],
        "metrics: no traces of Jaeger or OTLP: it holds none",
    );
    refused(
        &[&write("text", b"{ \"data\": [ }")],
        "text: no traces of Jaeger or OTLP: line 1: expected value",
    );
    refused(&[&write("none", b"{\"data\":[]}")], "none: no spans");
    let no_id = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0","spanId":"1"}]}]}]}"#;
    refused(&[&write("ids", no_id)], "ids: no spans: 1 spans without ids");
    refused(&[&write("nothing", b"")], "nothing: neither a packet capture");
}

/// But for the operation of waits, which have none: of others' spans the name is one where no attribute tells it.
#[test]
fn what_was_exported_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>> = Arc::default();
    let taken = Arc::clone(&requests);
    let take = move |_, request| taken.lock().expect("a list").push(request);
    let (grpc, _) = receiver::start(Arc::new(take));
    let tutorial = workspace().join("testdata/tutorial.cap");
    let tutorial = tutorial.to_str().expect("a path");
    stdout(folder.path(), &["export", tutorial, "--otlp", &grpc, "--protocol", "grpc"]);
    let bytes: Vec<u8> =
        requests.lock().expect("a list").iter().flat_map(|request| request.encode_to_vec()).collect();
    let file = folder.path().join("exported.binpb");
    fs::write(&file, bytes).expect("a file");
    let (imported, said) = imported(&[&file], &[]);
    let columns = "span_id, trace_id, coalesce(parent_span_id, remote_parent_span_id) AS parent, kind, name, service, \
        CAST(start_time AS BIGINT) AS start_ns, CAST(end_time AS BIGINT) AS end_ns, status, outcome, path, \
        CASE WHEN kind <> 'internal' THEN operation END AS operation";
    let query = format!("SELECT {columns} FROM spans ORDER BY span_id");
    let before = stdout(folder.path(), &["sql", tutorial, &query, "--format", "json"]);
    let after = stdout(imported.path(), &["sql", "out.cap", &query, "--format", "json"]);
    assert!(before.lines().count() > 1000, "{said}");
    let differs = before.lines().zip(after.lines()).find(|(before, after)| before != after);
    assert_eq!(differs, None);
    assert_eq!(before.lines().count(), after.lines().count());
}

/// One span of the hour: who made it, which number it and its parent have in their trace, and from when to when, us.
struct Made(&'static str, u64, u64, u64, &'static str, [u64; 2]);

impl Made {
    /// As `resourceSpans` of OTLP.
    fn json(&self, trace: u64, at_us: u64) -> Value {
        const BEGIN_US: u64 = 1_790_000_000_000_000;
        let Made(service, id, parent, kind, name, [from_us, to_us]) = *self;
        let ns = |us: u64| ((BEGIN_US + at_us + us) * 1000).to_string();
        let digits = |id: u64| if id == 0 { String::new() } else { format!("{:016x}", trace * 16 + id) };
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let port = json!({"key": "server.port", "value": {"intValue": "8080"}});
        let asked = [text("http.request.method", "GET"), text("http.route", "/orders/{id}"), port];
        let attributes = if kind == INTERNAL { &asked[..0] } else { &asked[..] };
        let span = json!({"traceId": format!("ab{trace:030x}"), "spanId": digits(id), "parentSpanId": digits(parent), "name": name,
            "kind": kind, "startTimeUnixNano": ns(from_us), "endTimeUnixNano": ns(to_us), "attributes": attributes});
        json!({"resource": {"attributes": [text("service.name", service)]}, "scopeSpans": [{"spans": [span]}]})
    }
}

const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// An hour of requests through three services, two a second, as OTLP in lines; in the first three seconds of every 300
/// `stock` takes longer, within itself.
fn an_hour() -> String {
    let mut text = String::new();
    for trace in 0..7200_u64 {
        let at_us = trace * 500_000 + trace * 7919 % 300_000;
        let slow_us = if at_us % 300_000_000 < 3_000_000 { 400_000 } else { 0 };
        let end = 9_000 + trace * 104_729 % 2_000 + slow_us;
        let spans = [
            Made("edge", 1, 0, SERVER, "GET /orders/{id}", [0, end + 3_000]),
            Made("edge", 2, 1, CLIENT, "GET", [1_000, end + 2_000]),
            Made("shop", 3, 2, SERVER, "GET /orders/{id}", [1_500, end + 1_500]),
            Made("shop", 4, 3, CLIENT, "GET", [2_000, end + 1_000]),
            Made("stock", 5, 4, SERVER, "GET /stock/{id}", [2_500, end + 500]),
            Made("stock", 6, 5, INTERNAL, "collect garbage", [3_000, end]),
        ];
        let list: Vec<Value> = spans.iter().map(|span| span.json(trace, at_us)).collect();
        text.push_str(&json!({"resourceSpans": list}).to_string());
        text.push('\n');
    }
    text
}

#[test]
fn a_spike_in_an_hour_of_traces_is_found_with_its_period_and_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hour.jsonl");
    fs::write(&file, an_hour()).expect("a file");
    let (kept, said) = imported(&[&file], &[]);
    assert!(said.contains("43 200 spans of 3 services"), "{said}");
    let found = stdout(kept.path(), &["spikes", "out.cap", "--format", "json"]);
    let found: Value = serde_json::from_str(&found).expect("an object");
    let spike = &found["spikes"][0];
    let period_s = spike["period_s"].as_f64().expect("a period");
    assert!((period_s - 300.0).abs() < 1.0, "{spike}");
    assert_eq!(
        (&spike["metric"], &spike["hop"]),
        (&json!("latency"), &json!("shop -> stock:8080")),
        "{spike}"
    );
    let top = &spike["hops"][0];
    assert_eq!((&top["part"], &top["process"]), (&json!("server"), &json!("stock")), "{spike}");
    assert!(
        top["share"].as_f64().is_some_and(|share| share > 0.9),
        "time within a service is its own: {top}"
    );
    assert_eq!(spike["causes"], json!([]));
    let notes: BTreeMap<String, Value> = serde_json::from_value(found.clone()).expect("an object");
    assert!(notes["notes"].to_string().contains("made of traces, which hold no kernel events"), "{notes:?}");
    // Its statements are good ones.
    for statement in [&spike["sql"], &spike["requests_sql"]] {
        let statement = statement.as_str().expect("a statement");
        assert!(!rows(kept.path(), statement).is_empty(), "{statement}");
    }
    for command in ["overview", "spikes"] {
        let text = stdout(kept.path(), &[command, "out.cap"]);
        assert!(text.contains("stock:8080") && text.contains("edge -> shop:8080"), "{text}");
    }
}

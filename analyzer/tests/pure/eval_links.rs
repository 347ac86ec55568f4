//! `retrospan eval-links`: parents that are known are hidden, found again and counted.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::assembly_support::World;
use crate::cli_support::*;

const SHOP: &str = "shop";
const STOCK: &str = "stock";

fn span(trace: usize, id: &str, parent: Option<&str>, process: &str, at_us: usize, lasts_us: usize) -> Value {
    let trace_id = format!("{:032x}", trace + 1);
    let references: Vec<Value> = parent
        .map(|parent| json!({ "refType": "CHILD_OF", "traceID": trace_id, "spanID": parent }))
        .into_iter()
        .collect();
    let kind = json!({ "key": "span.kind", "type": "string", "value": "server" });
    json!({
        "traceID": trace_id, "spanID": id, "operationName": format!("/{process}"), "references": references,
        "startTime": 1_700_000_000_000_000_u64 + at_us as u64, "duration": lasts_us, "tags": [kind],
        "processID": process,
    })
}

/// So many requests to a shop, 5 ms apart, which last 12 ms each; each asks the stock after 2 ms.
fn shop(directory: &Path, requests: usize) -> String {
    let traces: Vec<Value> = (0..requests)
        .map(|n| {
            let (at_us, late_us) = (n * 5_000, n * 37 % 300);
            let [id, child] = [format!("{:016x}", 2 * n + 1), format!("{:016x}", 2 * n + 2)];
            let spans = [
                span(n, &id, None, SHOP, at_us, 12_000),
                span(n, &child, Some(&id), STOCK, at_us + 2_000 + late_us, 8_000),
            ];
            let named = |name: &str| json!({ "serviceName": name });
            json!({ "traceID": format!("{:032x}", n + 1), "spans": spans,
                    "processes": { SHOP: named(SHOP), STOCK: named(STOCK) } })
        })
        .collect();
    let path = directory.join("shop.json");
    fs::write(&path, json!({ "data": traces }).to_string()).expect("a file");
    path.display().to_string()
}

#[test]
fn links_are_found_again_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let file = shop(directory.path(), 400);
    let text = stdout(directory.path(), &["eval-links", &file, "--format", "json"]);
    let result: Value = serde_json::from_str(&text).expect("JSON");
    let set = &result["datasets"][0];
    assert_eq!((set["spans"].as_u64(), set["traces"].as_u64()), (Some(800), Some(400)));
    let said = ["right", "wrong", "missing"].map(|name| set["said"][name].as_u64().expect("a number"));
    assert_eq!((said[0] + said[1] + said[2], said[1]), (400, 0));
    assert!(said[0] > 380, "{said:?}");
    // The same of the capture that is made of it.
    stdout(directory.path(), &["import", &file, "-o", "shop.cap"]);
    let of_capture = stdout(directory.path(), &["eval-links", "shop.cap", "--format", "json"]);
    let of_capture: Value = serde_json::from_str(&of_capture).expect("JSON");
    assert_eq!(of_capture["datasets"][0]["said"], set["said"]);
    let text = stdout(directory.path(), &["eval-links", "shop.cap", "--margin", "40"]);
    assert!(text.contains(" 0 right, 0 wrong, 400 missing"), "{text}");
}

#[test]
fn what_has_no_parents_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roots.json");
    let roots = json!({ "data": [{ "traceID": "1", "spans": [span(0, "0000000000000001", None, SHOP, 0, 5)],
                                   "processes": { SHOP: { "serviceName": SHOP } } }] });
    fs::write(&path, roots.to_string()).expect("a file");
    let said = mistake(directory.path(), &["eval-links", "roots.json"]);
    assert!(said.contains("roots.json: no span has a parent there"), "{said}");
    let output = retrospan(directory.path(), &["spans", "roots.json", "--min-confidence", "2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("not between 0 and 1"), "{said}");
}

#[test]
fn links_that_are_not_sure_enough_are_not_made() {
    let mut world = World::new();
    let (front, back, client) = (world.process("front"), world.process("back"), world.process("client"));
    let (asked, call) = (world.connect(client, front, 80), world.connect(front, back, 81));
    let context = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{context}\r\n");
    world.request(asked, request("/").as_bytes());
    world.request(call, request("/inner").as_bytes());
    world.respond(call, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    world.respond(asked, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    world.close(call);
    world.close(asked);
    let recorded = world.capture();
    let path = recorded.capture.directory.display().to_string();
    let linked = |more: &[&str]| {
        let query = "SELECT link_evidence FROM spans WHERE link_evidence IS NOT NULL ORDER BY 1";
        stdout(recorded.folder.path(), &[&["sql", &path, query, "--format", "csv"], more].concat())
    };
    assert_eq!(linked(&[]), "link_evidence\nconnection\nconnection\ncontext\n");
    assert_eq!(linked(&["--min-confidence", "0.99"]), "link_evidence\nconnection\nconnection\n");
    // What was kept of one is not taken for the other.
    assert_eq!(linked(&[]), "link_evidence\nconnection\nconnection\ncontext\n");
}

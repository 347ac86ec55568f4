//! What services are called: by names.toml, by what the recorder found, by the program.

use std::path::{Path, PathBuf};

use retrospan_formats::tables;
use serde_json::{Value, json};

use crate::cli_support::{
    CURL, Rows, SERVER, START_BOOT_NS, START_WALL_NS, batch, cost, exchange, part, processes, sockets,
    stdout, writer,
};

const UID: &str = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e47364bf92f3577b34da6a3ce929d0e0e4736";

/// One request, answered in a pod. Two parts; the pod's name comes with the second, as a recording that was
/// interrupted has it.
fn capture(directory: &Path) -> PathBuf {
    let path = directory.join("pod.cap");
    let cgroup = format!("/kubepods/burstable/pod{UID}/{ID}");
    let mut recorded = processes();
    recorded[1]["cgroup"] = json!(cgroup);
    let place = |named: bool| {
        let name = |name: &str| if named { json!(name) } else { Value::Null };
        json!({
            "number": 1, "cgroup": cgroup, "container_id": ID, "pod_uid": UID, "pod": name("cart-7d9f"),
            "namespace": name("shop"), "container": name("web"),
        })
    };
    let mut first =
        Rows { processes: recorded.clone(), sockets: sockets(0, 1, 40_000, 0), ..Rows::default() };
    let (request, answer) =
        ("GET / HTTP/1.1\r\nhost: web\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    first.events = exchange(0, 1, 1, 5, request, answer).iter().map(|data| data.row(0)).collect();
    first.events.sort_by_key(|row| row["boot_ns"].as_i64());
    first.clock = vec![json!({"boot_ns": START_BOOT_NS, "wall_ns": START_WALL_NS})];
    let mut writer = writer(&path);
    writer.append(&tables::CONTAINERS, &batch(&tables::CONTAINERS, &[place(false)])).unwrap();
    part(&mut writer, &first, 500, Vec::new());
    recorded.remove(0);
    recorded[0]["service"] = json!("web");
    recorded[0]["service_from"] = json!("container");
    writer.append(&tables::CONTAINERS, &batch(&tables::CONTAINERS, &[place(true)])).unwrap();
    part(&mut writer, &Rows { processes: recorded, ..Rows::default() }, 1000, Vec::new());
    writer.complete(cost()).unwrap();
    path
}

fn sql(directory: &Path, capture: &Path, statement: &str) -> String {
    stdout(directory, &["sql", capture.to_str().unwrap(), statement, "--format", "csv"])
}

const SERVICES: &str = "SELECT kind, service, process FROM spans ORDER BY kind";

#[test]
fn what_the_recorder_found_names_a_service_unless_somebody_did() {
    let folder = tempfile::tempdir().unwrap();
    let capture = capture(folder.path());
    assert_eq!(
        sql(folder.path(), &capture, SERVICES),
        "kind,service,process\nclient,curl,curl\nserver,web,server\n"
    );
    let hop = "SELECT client_service, server_service FROM connections";
    assert_eq!(sql(folder.path(), &capture, hop), "client_service,server_service\ncurl,web\n");
    let given = format!("[[process]]\nname = \"billing\"\ncgroup = \"{ID}\"\n");
    std::fs::write(capture.join("names.toml"), given).unwrap();
    assert_eq!(
        sql(folder.path(), &capture, SERVICES),
        "kind,service,process\nclient,curl,curl\nserver,billing,billing\n"
    );
}

#[test]
fn a_process_is_shown_with_its_container_and_pod() {
    let folder = tempfile::tempdir().unwrap();
    let capture = capture(folder.path());
    let places = "SELECT process, service, service_from, unit, container, pod, namespace FROM process_places ORDER BY pid";
    assert_eq!(
        sql(folder.path(), &capture, places),
        "process,service,service_from,unit,container,pod,namespace\n\
         curl,,,,,,\nserver,web,container,,web,cart-7d9f,shop\n"
    );
    let ids = format!("SELECT count(*) AS n FROM processes WHERE process_id IN ({CURL}, {SERVER})");
    assert_eq!(sql(folder.path(), &capture, &ids), "n\n2\n");
    assert!(stdout(folder.path(), &["info", capture.to_str().unwrap()]).contains("\ncontainers "));
}

#[test]
fn the_statement_in_the_docs_counts_requests_by_pod() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/names.md")).unwrap();
    let statement = page.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let capture = capture(folder.path());
    assert_eq!(
        sql(folder.path(), &capture, statement),
        "pod,container,service,requests,failed\nshop/cart-7d9f,web,web,1,0\n"
    );
}

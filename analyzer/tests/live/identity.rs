//! Who a process is: its cgroup and two variables of its environment name service, container and pod, and nothing else
//! of the environment is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use retrospan_testkit::skip;
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::capture::Capture;
use crate::lab::clients::{CANARY, holds_no_canary};
use crate::lab::jaeger::Jaeger;
use crate::lab::process::{Program, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port, tool, wait_for};

const UID: &str = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e47364bf92f3577b34da6a3ce929d0e0e4736";

/// A cgroup of a test's own; the folders that were made for it go with it.
struct Group {
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl Group {
    /// Below the root of a hierarchy. `None` where that is not to be written.
    fn make(hierarchy: &Path, path: &str) -> Option<Group> {
        let mut group = Group { path: hierarchy.to_owned(), made: Vec::new() };
        for name in path.split('/') {
            group.path.push(name);
            if !group.path.is_dir() {
                fs::create_dir(&group.path).ok()?;
                group.made.push(group.path.clone());
            }
        }
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // A process that has just ended leaves it a little later. Others may be in a folder that was made for two.
            let gone = || fs::remove_dir(folder).is_ok() || fs::read_dir(folder).is_err();
            let is_shared = fs::read_dir(folder).into_iter().flatten().flatten().any(|e| e.path().is_dir());
            if !is_shared {
                wait_for("an empty cgroup", gone);
            }
        }
    }
}

/// Where cgroup v2 is mounted.
fn unified() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    mounts.find(|fields| fields.get(2) == Some(&"cgroup2")).map(|fields| PathBuf::from(fields[1]))
}

/// A server in a cgroup, with these variables.
struct Server {
    port: u16,
    program: Program,
    _home: TempDir,
}

impl Server {
    fn start(group: &Group, variables: &[(&str, &str)]) -> Server {
        let (home, port) = (folder(), free_port());
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&group.path);
        command.arg(tool("python3")).args(["-m", "http.server", "--bind", "127.0.0.1"]).arg(port.to_string());
        command.current_dir(home.path()).env("PASSWORD", CANARY).envs(variables.iter().copied());
        let mut program = Program::start("server", home.path(), &mut command);
        program.wait_listening(port);
        Server { port, program, _home: home }
    }

    fn ask(&self) {
        run_ok(Command::new(tool("curl")).arg("-s").arg(format!("http://127.0.0.1:{}/", self.port)));
    }
}

/// The one row of a statement.
fn row(capture: &Capture, query: &str) -> Value {
    let mut rows = capture.sql(query);
    assert_eq!(rows.len(), 1, "{query}: {rows:?}");
    rows.remove(0)
}

/// What `process_places` says of a server, and the service of its spans.
fn place(capture: &Capture, server: &Server) -> Value {
    row(
        capture,
        &format!(
            "SELECT s.service AS span_service, p.service, p.service_from, p.unit, p.container, p.pod
             FROM spans s JOIN process_places p USING (process_id) WHERE s.kind = 'server' AND s.dst_port = {}",
            server.port
        ),
    )
}

fn text<'a>(row: &'a Value, column: &str) -> Option<&'a str> {
    row[column].as_str()
}

/// Attributes of the resource that made the server's span, as Jaeger has it.
fn resource(capture: &Capture, jaeger: &Jaeger, server: &Server) -> Vec<(String, String)> {
    let query = "SELECT trace_id, span_id FROM spans WHERE kind = 'server' AND dst_port =";
    let span = row(capture, &format!("{query} {}", server.port));
    let (trace_id, span_id) = (text(&span, "trace_id").unwrap(), text(&span, "span_id").unwrap());
    let mut found = Value::Null;
    wait_for("the span", || {
        let spans = jaeger.trace(trace_id);
        found = spans.into_iter().find(|span| span["spanId"] == span_id).unwrap_or_default();
        !found.is_null()
    });
    let attributes = found["resource"]["attributes"].as_array().expect("attributes");
    let attribute = |pair: &Value| {
        let value = pair["value"]["stringValue"].as_str().unwrap_or_default();
        (pair["key"].as_str().unwrap_or_default().to_owned(), value.to_owned())
    };
    attributes.iter().map(attribute).collect()
}

#[test]
fn containers_units_and_variables_name_services() {
    let Some(_turn) = ebpf_or_skip("containers_units_and_variables_name_services") else { return };
    let pod_path = format!(
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{ID}.scope",
        UID.replace('-', "_")
    );
    let unit_path = r"system.slice/retrospan\x2dorders.service";
    let made =
        unified().and_then(|root| Some((Group::make(&root, &pod_path)?, Group::make(&root, unit_path)?)));
    let Some((pod, unit)) = made else {
        return skip::lacks("containers_units_and_variables_name_services", "no cgroup v2 can be made here");
    };
    let attributes = format!("service.namespace=shop,secret={CANARY},service.version=1%2E2,service.name=no");
    let variables = [("OTEL_SERVICE_NAME", "billing"), ("OTEL_RESOURCE_ATTRIBUTES", attributes.as_str())];
    // One that was there before, two that are started meanwhile.
    let orders = Server::start(&unit, &[]);
    let recording = Recording::start::<&str>(&[]);
    let (billing, plain) = (Server::start(&pod, &variables), Server::start(&pod, &[]));
    [&orders, &billing, &plain].into_iter().for_each(Server::ask);
    let capture = recording.finish();

    let short = Some(&ID[..12]);
    let of_orders = place(&capture, &orders);
    assert_eq!(text(&of_orders, "span_service"), Some("retrospan-orders"), "{of_orders}");
    assert_eq!(text(&of_orders, "service_from"), Some("unit"), "{of_orders}");
    assert_eq!(text(&of_orders, "unit"), Some("retrospan-orders.service"), "{of_orders}");
    assert_eq!((text(&of_orders, "container"), text(&of_orders, "pod")), (None, None), "{of_orders}");
    let of_billing = place(&capture, &billing);
    assert_eq!(text(&of_billing, "span_service"), Some("billing"), "{of_billing}");
    assert_eq!(text(&of_billing, "service_from"), Some("otel_service_name"), "{of_billing}");
    assert_eq!(
        (text(&of_billing, "container"), text(&of_billing, "pod")),
        (short, Some(UID)),
        "{of_billing}"
    );
    let of_plain = place(&capture, &plain);
    // What its interpreter runs: an id would say less.
    assert_eq!(text(&of_plain, "span_service"), Some("http.server"), "{of_plain}");
    assert_eq!((text(&of_plain, "service"), text(&of_plain, "container")), (None, short), "{of_plain}");
    let hops = capture.sql(&format!(
        "SELECT client_service, server_service FROM connections WHERE dst_port = {}",
        billing.port
    ));
    assert_eq!(
        (text(&hops[0], "client_service"), text(&hops[0], "server_service")),
        (Some("curl"), Some("billing"))
    );
    let runtime =
        "SELECT DISTINCT c.runtime FROM containers c JOIN processes p ON p.cgroup = c.cgroup WHERE p.pid IN";
    let runtime = row(&capture, &format!("{runtime} ({}, {})", billing.program.pid(), plain.program.pid()));
    assert_eq!(text(&runtime, "runtime"), Some("containerd"));

    let dir = folder();
    let jaeger = Jaeger::start(dir.path());
    capture.retrospan("export", &["--otlp", &format!("http://127.0.0.1:{}", jaeger.grpc_port)]);
    let told = resource(&capture, &jaeger, &billing);
    for (key, value) in [
        ("service.name", "billing"),
        ("service.namespace", "shop"),
        ("service.version", "1.2"),
        ("container.id", ID),
        ("k8s.pod.uid", UID),
    ] {
        assert!(told.contains(&(key.to_owned(), value.to_owned())), "{key}: {told:?}");
    }
    let told = resource(&capture, &jaeger, &orders);
    assert!(told.contains(&("service.name".to_owned(), "retrospan-orders".to_owned())), "{told:?}");
    assert!(
        !told.iter().any(|(key, _)| key.starts_with("k8s.") || key.starts_with("container.")),
        "{told:?}"
    );
    drop((orders, billing, plain));
    holds_no_canary(&capture);
}

#[test]
fn a_container_of_cgroup_v1_is_found_while_its_place_in_v2_says_nothing() {
    let Some(_turn) = ebpf_or_skip("a_container_of_cgroup_v1_is_found_while_its_place_in_v2_says_nothing")
    else {
        return;
    };
    let v1 = ["systemd", "pids"].map(|name| Path::new("/sys/fs/cgroup").join(name));
    let Some(group) =
        v1.iter().filter(|path| path.is_dir()).find_map(|v1| Group::make(v1, &format!("docker/{ID}")))
    else {
        let reason = "no cgroup v1 can be made here";
        return skip::lacks("a_container_of_cgroup_v1_is_found_while_its_place_in_v2_says_nothing", reason);
    };
    let before = Server::start(&group, &[]);
    let recording = Recording::start::<&str>(&[]);
    let after = Server::start(&group, &[]);
    [&before, &after].into_iter().for_each(Server::ask);
    let capture = recording.finish();
    for server in [&before, &after] {
        let place = place(&capture, server);
        assert_eq!(text(&place, "container"), Some(&ID[..12]), "{place}");
        assert_eq!(text(&place, "span_service"), Some("http.server"), "{place}");
    }
    drop((before, after));
}

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use bytemuck::{Zeroable, bytes_of};
use retrospan_formats::event::{Header, Process, Record, life};

use super::*;
use crate::host::cgroups::Cgroups;
use crate::host::environment::{Service, from};
use crate::host::procfs::{self, Found};
use crate::pipeline::processes::{KnownProcess, Processes};

const MS: u64 = 1_000_000;
/// Pids far above any real one, so that nothing is found in /proc.
const BASE: u32 = 5_000_000;
const UID: &str = "6f2a0f5e-0001-4b3c-8d9e-0123456789ab";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e47364bf92f3577b34da6a3ce929d0e0e4736";

fn table(logs: &Path) -> Processes {
    Processes::new(false, Cgroups::below(None)).with_pod_logs(PodLogs::below(logs))
}

fn found(pid: u32, cgroup: &str, service: Service) -> Found {
    Found {
        pid,
        start_boot_ns: 10 * MS,
        comm: "web".into(),
        exe: Some("/usr/bin/web".into()),
        cgroup: Some(cgroup.into()),
        service,
        ..Found::default()
    }
}

/// Service and what named it, of each process.
fn services(rows: &[KnownProcess]) -> Vec<Option<(&str, &str)>> {
    rows.iter().map(|known| known.row().service.zip(known.row().service_from)).collect()
}

/// Services of processes that are in these cgroups and have no variables.
fn in_cgroups(logs: &Path, cgroups: &[&str]) -> Vec<Option<(String, String)>> {
    let mut processes = table(logs);
    let number = |(number, path): (usize, &&str)| found(BASE + number as u32, path, Service::default());
    processes.snapshot(cgroups.iter().enumerate().map(number).collect());
    let rows = processes.take_changed();
    services(&rows).into_iter().map(|told| told.map(|(name, from)| (name.into(), from.into()))).collect()
}

fn some(name: &str, from: &str) -> Option<(String, String)> {
    Some((name.into(), from.into()))
}

#[test]
fn the_environment_goes_before_the_unit_the_container_and_the_pod() {
    let logs = tempfile::tempdir().unwrap();
    let told = Service { name: Some((Arc::from("billing"), from::SERVICE_NAME)), ..Service::default() };
    let mut processes = table(logs.path());
    processes.snapshot(vec![found(BASE, "/system.slice/web.service", told)]);
    assert_eq!(services(&processes.take_changed()), [Some(("billing", "otel_service_name"))]);

    let pod = logs.path().join(format!("pods/shop_cart-1_{UID}"));
    fs::create_dir_all(pod.join("web")).unwrap();
    fs::create_dir_all(pod.join("sidecar")).unwrap();
    fs::create_dir_all(logs.path().join("containers")).unwrap();
    let link = logs.path().join(format!("containers/cart-1_shop_web-{ID}.log"));
    std::os::unix::fs::symlink("/nowhere", link).unwrap();
    let in_pod = format!("/kubepods/burstable/pod{UID}");
    let rows = in_cgroups(
        logs.path(),
        &[
            "/system.slice/web.service",
            &format!("{in_pod}/{ID}"),
            &in_pod,
            &format!("{in_pod}/{}", ID.replace('4', "5")),
            &format!("/docker/{ID}/system.slice/inner.service"),
            "/lxc.payload.db",
            &format!("/system.slice/docker-{ID}.scope"),
            "/user.slice/user-1000.slice/session-3.scope",
            "/system.slice/ssh.service",
            "/",
        ],
    );
    let wanted = [
        some("web", "unit"),
        some("web", "container"),
        some("cart-1", "pod"),
        some("cart-1", "pod"),
        some("inner", "unit"),
        some("db", "container"),
        // An id is no name: the program is.
        None,
        None,
        None,
        None,
    ];
    assert_eq!(rows, wanted);
}

#[test]
fn each_cgroup_has_one_row() {
    let logs = tempfile::tempdir().unwrap();
    let mut processes = table(logs.path());
    let cgroup = format!("/kubepods/pod{UID}/{ID}");
    let in_it = |pid| found(pid, &cgroup, Service::default());
    processes.snapshot(vec![in_it(BASE), in_it(BASE + 1), found(BASE + 2, "/", Service::default())]);
    let rows = processes.containers.take_changed();
    let told: Vec<_> = rows.iter().map(|known| (known.row().number, known.row().cgroup)).collect();
    assert_eq!(told, [(1, cgroup.as_str()), (2, "/")]);
    let row = rows[0].row();
    assert_eq!((row.container_id, row.pod_uid, row.pod), (Some(ID), Some(UID), None));
    assert!(processes.containers.take_changed().is_empty());
}

#[test]
fn names_that_come_late_name_what_was_written_before() {
    let logs = tempfile::tempdir().unwrap();
    let mut processes = table(logs.path());
    let cgroup = format!("/kubepods/pod{UID}/{ID}");
    processes.snapshot(vec![
        found(BASE, &cgroup, Service::default()),
        found(BASE + 1, "/system.slice/web.service", Service::default()),
    ]);
    assert_eq!(services(&processes.take_changed()), [None, Some(("web", "unit"))]);
    assert_eq!(processes.containers.take_changed().len(), 2);
    fs::create_dir_all(logs.path().join(format!("pods/shop_cart-1_{UID}/web"))).unwrap();
    // The next look is allowed a second after the last one.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let rows = processes.take_changed();
    assert_eq!(services(&rows), [Some(("web", "container"))]);
    assert_eq!(rows[0].pid, BASE);
    let rows = processes.containers.take_changed();
    assert_eq!(rows.iter().map(|known| known.row().pod).collect::<Vec<_>>(), [Some("cart-1")]);
    assert!(processes.take_changed().is_empty());
}

/// A child that lives until it is dropped.
struct Sleeping(Child);

impl Sleeping {
    fn with(variables: &[(&str, &str)]) -> Sleeping {
        let mut command = Command::new("sleep");
        let child = Sleeping(command.arg("600").envs(variables.iter().copied()).spawn().unwrap());
        // The exec goes on for a moment after it is sure to succeed.
        while fs::read(format!("/proc/{}/environ", child.pid())).unwrap().is_empty() {
            std::thread::yield_now();
        }
        child
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tell(processes: &mut Processes, what: u8, pid: u32, parent_pid: u32, start_boot_ns: u64) {
    let fixed = Process { start_boot_ns, parent_pid, what, ..Process::zeroed() };
    let header = Header { pid, record: Record::Process as u8, ..Header::zeroed() };
    processes.record(&header, bytes_of(&fixed));
}

#[test]
fn of_an_environment_nothing_else_is_kept() {
    let canary = "qzxjqzxj";
    let child = Sleeping::with(&[
        ("OTEL_SERVICE_NAME", "billing"),
        ("OTEL_RESOURCE_ATTRIBUTES", &format!("service.namespace=shop,secret={canary},service.version=3")),
        ("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization={canary}")),
        ("PASSWORD", canary),
    ]);
    let logs = tempfile::tempdir().unwrap();
    let mut processes = table(logs.path());
    let start_ns = procfs::process(child.pid()).unwrap().start_boot_ns;
    tell(&mut processes, life::EXEC, child.pid(), 1, start_ns);
    let rows = processes.take_changed();
    let row = rows[0].row();
    assert_eq!((row.service, row.service_from), (Some("billing"), Some("otel_service_name")));
    assert_eq!((row.service_namespace, row.service_version), (Some("shop"), Some("3")));
    assert!(!format!("{processes:?}{rows:?}").contains(canary));
    // What it forks is the same, also where it has ended before the environment of its own program could be read.
    tell(&mut processes, life::FORK, BASE, child.pid(), start_ns + MS);
    assert_eq!(processes.take_changed()[0].row().service, Some("billing"));
    tell(&mut processes, life::EXEC, BASE, child.pid(), start_ns + MS);
    assert_eq!(processes.take_changed()[0].row().service, Some("billing"));
    // One that can be read tells by itself that it is no service.
    let other = Sleeping::with(&[]);
    let start_ns = procfs::process(other.pid()).unwrap().start_boot_ns;
    tell(&mut processes, life::FORK, other.pid(), child.pid(), start_ns);
    assert_eq!(processes.take_changed()[0].row().service, Some("billing"));
    tell(&mut processes, life::EXEC, other.pid(), child.pid(), start_ns);
    assert_eq!(processes.take_changed()[0].row().service, None);
}

#[test]
fn another_process_with_the_pid_is_not_asked() {
    let child = Sleeping::with(&[("OTEL_SERVICE_NAME", "billing")]);
    let logs = tempfile::tempdir().unwrap();
    let mut processes = table(logs.path());
    let start_ns = procfs::process(child.pid()).unwrap().start_boot_ns;
    tell(&mut processes, life::EXEC, child.pid(), 1, start_ns + 500 * MS);
    assert_eq!(processes.take_changed()[0].row().service, None);
}

//! Filters that user space decides: by program and by cgroup. Processes that are over before anybody has looked at them are
//! recorded whole or not at all.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, texts};

/// Processes of each sort.
const CHILDREN: usize = 200;

/// A server that answers each connection with `HTTP/1.1 204` and closes it.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

/// curl under another name.
fn curl_as(place: &Place, name: &str) -> PathBuf {
    let path = place.path(name);
    let found = Command::new("sh").args(["-c", "command -v curl"]).output().unwrap();
    let curl = String::from_utf8(found.stdout).unwrap();
    fs::copy(curl.trim(), &path).unwrap();
    path
}

fn fetch(program: &Path, port: u16, path: &str) {
    let url = format!("http://127.0.0.1:{port}/{path}");
    let status = Command::new(program).args(["-s", &url]).status().unwrap();
    assert!(status.success(), "{}", program.display());
}

/// The processes with this name, and how many sockets, requests and events each has.
fn sockets_of(capture: &Capture, comm: &str) -> (usize, Vec<i64>) {
    let processes = only(&rows(capture, &tables::PROCESSES), "comm", comm);
    let ids: Vec<i64> = numbers(&processes, "process_id").into_iter().flatten().collect();
    let sockets = rows(capture, &tables::SOCKETS);
    let owners = numbers(&sockets, "process_id");
    let found = numbers(&sockets, "socket_id").into_iter().zip(owners);
    let own = found.filter(|(_, owner)| owner.is_some_and(|owner| ids.contains(&owner)));
    (ids.len(), own.filter_map(|(socket, _)| socket).collect())
}

/// Kinds of the events of one socket, sorted.
fn kinds_of(capture: &Capture, sockets: &[i64]) -> Vec<Vec<String>> {
    let events = rows(capture, &tables::EVENTS);
    let (owners, kinds) = (numbers(&events, "socket_id"), texts(&events, "kind"));
    let of = |socket: i64| {
        let mut kinds: Vec<String> = owners
            .iter()
            .zip(&kinds)
            .filter(|(owner, kind)| **owner == Some(socket) && *kind != "state")
            .map(|(_, kind)| kind.clone())
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    sockets.iter().map(|&socket| of(socket)).collect()
}

#[test]
fn short_lived_processes_are_recorded_whole_or_not_at_all() {
    let test = "short_lived_processes_are_recorded_whole_or_not_at_all";
    let Some(_turn) = ebpf_or_skip(test) else { return };
    let place = Place::new();
    let (wanted, other) = (curl_as(&place, "wanted-curl"), curl_as(&place, "other-curl"));
    let port = server();
    for filter in [["--exe", "wanted-*"], ["--exclude", "exe=*/other-curl"]] {
        let path = place.path(&format!("{}.cap", filter[0]));
        let port_text = port.to_string();
        let recorder = Recorder::start(path, &[&filter[..], &["--remote-port", &port_text]].concat());
        for number in 0..CHILDREN {
            fetch(&wanted, port, &format!("{number}"));
            fetch(&other, port, "not-for-the-disk");
        }
        let capture = recorder.finish();
        let (processes, sockets) = sockets_of(&capture, "wanted-curl");
        assert_eq!((processes, sockets.len()), (CHILDREN, CHILDREN), "{filter:?}");
        for kinds in kinds_of(&capture, &sockets) {
            assert_eq!(kinds, ["close", "connect", "receive", "send"], "{filter:?}");
        }
        assert!(sockets_of(&capture, "other-curl").1.is_empty(), "{filter:?}");
        // Every socket has an owner that was wanted, and every event and row of evidence has such a socket.
        let all = numbers(&rows(&capture, &tables::SOCKETS), "socket_id");
        assert!(all.iter().flatten().all(|socket| sockets.contains(socket)), "{filter:?}");
        for table in [&tables::EVENTS, &tables::TCP, &tables::FLOWS] {
            let of = numbers(&rows(&capture, table), "socket_id");
            assert!(of.iter().flatten().all(|socket| sockets.contains(socket)), "{filter:?}, {}", table.name);
        }
        let payloads = texts(&rows(&capture, &tables::EVENTS), "payload");
        assert!(!payloads.iter().any(|payload| payload.contains("not-for-the-disk")), "{filter:?}");
        assert_eq!(rows(&capture, &tables::LOSS).num_rows(), 0, "{filter:?}");
    }
}

#[test]
fn a_program_that_was_there_before_is_judged_before_its_sockets_are_looked_at() {
    let Some(_turn) = ebpf_or_skip("a_program_that_was_there_before") else { return };
    let place = Place::new();
    // This very process: its listener and its calls.
    let own = std::env::current_exe().unwrap();
    let own = own.file_name().unwrap().to_str().unwrap().to_owned();
    for (filter, expected) in [(["--exe", &own], true), (["--exclude", &format!("exe={own}")], false)] {
        let port = server();
        let port_text = port.to_string();
        let arguments = [&filter[..], &["--port", &port_text]].concat();
        let recorder = Recorder::start(place.path(&format!("{}.cap", filter[0])), &arguments);
        let curl = curl_as(&place, "curl-before");
        fetch(&curl, port, "");
        let capture = recorder.finish();
        let sockets = rows(&capture, &tables::SOCKETS);
        let roles = texts(&sockets, "role");
        assert_eq!(roles.iter().any(|role| role == "listener"), expected, "{filter:?}");
        assert_eq!(roles.iter().any(|role| role == "server"), expected, "{filter:?}");
        assert_eq!(roles.iter().any(|role| role == "client"), !expected, "{filter:?}");
    }
}

/// A cgroup of our own in some hierarchy of this host.
struct Cgroup {
    folders: Vec<PathBuf>,
}

/// The folders in which kubelet keeps the logs of a pod.
struct PodLogs {
    folders: Vec<PathBuf>,
}

impl PodLogs {
    /// `name` is that of the pod's folder.
    fn new(name: &str, container: &str) -> std::io::Result<PodLogs> {
        let mut made = PodLogs { folders: Vec::new() };
        let mut folder = PathBuf::from("/var/log");
        for segment in ["pods", name, container] {
            folder.push(segment);
            if !folder.exists() {
                fs::create_dir(&folder)?;
                made.folders.push(folder.clone());
            }
        }
        Ok(made)
    }
}

impl Drop for PodLogs {
    fn drop(&mut self) {
        self.folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

impl Cgroup {
    /// `path`, which ends in a folder of our own, and where it is in the hierarchies.
    fn new(path: &str) -> Option<Cgroup> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let roots: Vec<&str> = mounts
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let is_wanted = fields.get(2) == Some(&"cgroup2")
                    || (fields.get(2) == Some(&"cgroup") && fields.get(3)?.contains("pids"));
                is_wanted.then(|| fields[1])
            })
            .collect();
        // Where there are both, v1 is what the path is read from, as v2 is left at its root.
        let root = roots.iter().find(|root| root.contains("pids")).or(roots.first())?;
        let mut folders = Vec::new();
        let mut folder = PathBuf::from(root);
        for segment in path.trim_start_matches('/').split('/') {
            folder.push(segment);
            if !folder.exists() {
                fs::create_dir(&folder).ok()?;
                folders.push(folder.clone());
            }
        }
        Some(Cgroup { folders })
    }

    /// The line of a shell that enters it.
    fn entering(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.folders.last().unwrap().display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

#[test]
fn cgroups_containers_units_and_pods_are_told_by_the_path() {
    let test = "cgroups_containers_units_and_pods_are_told_by_the_path";
    let Some(_turn) = ebpf_or_skip(test) else { return };
    let place = Place::new();
    let own = std::process::id();
    let id = format!("{own:x}").repeat(64).chars().take(64).collect::<String>();
    let unit = format!("retrospan-test-{own}.service");
    let path = format!("/{unit}/docker-{id}.scope");
    let Some(cgroup) = Cgroup::new(&path) else {
        return retrospan_testkit::skip::say(test, "no cgroup can be made here");
    };
    let plain = Cgroup::new(&format!("/retrospan-plain-{own}")).unwrap();
    let service = Cgroup::new(&format!("/retrospan-unit-{own}.service")).unwrap();
    // As the cgroupfs driver of kubelet names them, and the names where kubelet's logs show them.
    let uid = format!("{own:08x}-0001-4b3c-8d9e-0123456789ab");
    let pod = Cgroup::new(&format!("/kubepods/burstable/pod{uid}/{id}")).unwrap();
    let _logs = PodLogs::new(&format!("retrospan-test_cart-{own}_{uid}"), "web").expect("folders of logs");
    let (inside, outside) = (curl_as(&place, "inside-curl"), curl_as(&place, "outside-curl"));
    let port = server();
    let filters = [
        (format!("pod=retrospan-test/cart-{own}"), &pod),
        (format!("pod=cart-{own}*"), &pod),
        (format!("cgroup=/*{own}.service/*"), &cgroup),
        (format!("cgroup=/retrospan-plain-{own}"), &plain),
        (format!("container={}", &id[..12]), &cgroup),
        (format!("unit=retrospan-unit-{own}"), &service),
    ];
    for (number, (filter, cgroup)) in filters.iter().enumerate() {
        let (kind, value) = filter.split_once('=').unwrap();
        for (excluded, arguments) in [
            (false, [format!("--{kind}"), value.to_owned()]),
            (true, ["--exclude".to_owned(), filter.clone()]),
        ] {
            let port_text = port.to_string();
            let arguments: Vec<&str> =
                arguments.iter().map(String::as_str).chain(["--remote-port", &port_text]).collect();
            let recorder = Recorder::start(place.path(&format!("{number}-{excluded}.cap")), &arguments);
            let script =
                format!("{}; exec {} -s http://127.0.0.1:{port}/", cgroup.entering(), inside.display());
            assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "{filter}");
            fetch(&outside, port, "");
            let capture = recorder.finish();
            let counts = ["inside-curl", "outside-curl"].map(|comm| sockets_of(&capture, comm).1.len());
            let expected = if excluded { [0, 1] } else { [1, 0] };
            assert_eq!(counts, expected, "{arguments:?}");
        }
    }
}

/// Makes a request whenever it is told to, all from one process.
const PYTHON: &str = "
import sys, socket
for line in sys.stdin:
    c = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    c.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); c.recv(100); c.close()
    print('done', flush=True)
";

#[test]
fn a_process_that_is_moved_is_judged_again() {
    let test = "a_process_that_is_moved_is_judged_again";
    let Some(_turn) = ebpf_or_skip(test) else { return };
    if !Path::new("/usr/bin/python3").is_file() {
        return retrospan_testkit::skip::lacks(test, "there is no Python");
    }
    let place = Place::new();
    let name = format!("/retrospan-moved-{}", std::process::id());
    let Some(cgroup) = Cgroup::new(&name) else {
        return retrospan_testkit::skip::say(test, "no cgroup can be made here");
    };
    let port = server();
    let port_text = port.to_string();
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", PYTHON, &port_text])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut ask = |child: &mut std::process::Child, times: usize| {
        for _ in 0..times {
            child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
            answers.read_line(&mut String::new()).unwrap();
        }
    };
    let recorder = Recorder::start(place.path("a.cap"), &["--cgroup", &name, "--remote-port", &port_text]);
    ask(&mut child, 3);
    fs::write(cgroup.folders.last().unwrap().join("cgroup.procs"), child.id().to_string()).unwrap();
    ask(&mut child, 4);
    let out = cgroup.folders.last().unwrap().parent().unwrap().join("cgroup.procs");
    fs::write(out, child.id().to_string()).unwrap();
    ask(&mut child, 5);
    drop(child.stdin.take());
    child.wait().unwrap();
    let capture = recorder.finish();
    assert_eq!(rows(&capture, &tables::SOCKETS).num_rows(), 4);
}

#[test]
fn the_manifest_tells_the_filters_and_a_recording_of_nothing_names_them() {
    let Some(_turn) = ebpf_or_skip("the_manifest_tells_the_filters") else { return };
    let place = Place::new();
    let arguments =
        ["--exe", "no-such-program", "--exclude", "comm=x", "--sample", "1/3", "--duration", "1s"];
    let output = crate::recorder_support::record(&place.path("a.cap"), &arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let named = "nothing matched --exe no-such-program --exclude comm=x --sample 1/3; ";
    assert!(said.contains(named), "{said}");
    let options = Capture::open(&place.path("a.cap")).unwrap().manifest.options;
    assert_eq!(options["exe"], serde_json::json!(["no-such-program"]));
    assert_eq!(options["exclude"], serde_json::json!(["comm=x"]));
    assert_eq!(options["sample"], serde_json::json!(3));
}

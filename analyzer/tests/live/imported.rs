//! The same traffic recorded and captured as packets at once: both say the same of it.

use std::process::Command;

use tempfile::TempDir;

use crate::lab::capture::{Capture, retrospan};
use crate::lab::client::{Connection, Request};
use crate::lab::process::{Program, run_ok};
use crate::lab::recording::Recording;
use crate::lab::servers;
use crate::lab::{ebpf_or_skip, folder, free_port, holds_within, tool};

/// Packets of some ports, as tcpdump captures them.
struct Packets {
    program: Program,
    home: TempDir,
}

impl Packets {
    fn of(ports: &[u16]) -> Packets {
        let home = folder();
        let filter = ports.iter().map(|port| format!("port {port}")).collect::<Vec<_>>().join(" or ");
        let mut command = Command::new(tool("tcpdump"));
        command.args(["-q", "-i", "lo", "-B", "65536", "-w"]).arg(home.path().join("all.pcap")).arg(filter);
        let mut program = Program::start("tcpdump", home.path(), &mut command);
        let log = home.path().join("tcpdump.out");
        program
            .wait("listening", || std::fs::read_to_string(&log).unwrap_or_default().contains("listening on"));
        Packets { program, home }
    }

    /// The capture that they make, unless the kernel had no room for some.
    fn imported(mut self) -> Option<Capture> {
        // What lies in its buffer it writes within a second.
        let file = self.home.path().join("all.pcap");
        let length = || std::fs::metadata(&file).map_or(0, |file| file.len());
        let mut before = length();
        let quiet = || {
            std::thread::sleep(std::time::Duration::from_millis(1_500));
            std::mem::replace(&mut before, length()) == length()
        };
        assert!(holds_within(crate::lab::PATIENCE, quiet), "tcpdump has no end of packets");
        self.program.signal(libc::SIGINT);
        self.program.ended();
        if !self.program.printed().contains("\n0 packets dropped by kernel") {
            eprintln!("once more, as {}", self.program.printed());
            return None;
        }
        let dir = self.home.path().join("imported.cap");
        run_ok(retrospan().arg("import").arg(&file).arg("-o").arg(&dir));
        Some(Capture::new(dir, self.home))
    }
}

/// What of a client's spans does not depend on where they were seen.
const SAME: &str =
    "src_port, dst_port, request_number, protocol, name, method, target, operation, status, status_text,
    outcome, request_bytes, response_bytes, request_body_bytes, response_body_bytes, stream_id";

fn spans(capture: &Capture) -> Vec<String> {
    let query = format!("SELECT {SAME} FROM spans WHERE kind = 'client' ORDER BY src_port, request_number");
    capture.sql(&query).iter().map(ToString::to_string).collect()
}

/// Ports of clients and numbers of their requests, in the order in which they were begun.
fn order(capture: &Capture) -> Vec<String> {
    let query = "SELECT src_port, request_number FROM spans WHERE kind = 'client' ORDER BY start_time, src_port, request_number";
    capture.sql(query).iter().map(ToString::to_string).collect()
}

/// Runs the traffic until tcpdump has all of it.
fn both(ports: &[u16], traffic: impl Fn()) -> [Capture; 2] {
    for _ in 0..5 {
        let packets = Packets::of(ports);
        // tcpdump has all bytes of a batch: as many are recorded.
        let filters = ports.iter().flat_map(|port| ["--port".to_owned(), port.to_string()]);
        let options = ["--snaplen", "4096"].map(str::to_owned);
        let recording = Recording::start(&filters.chain(options).collect::<Vec<_>>());
        traffic();
        let live = recording.finish();
        if let Some(imported) = packets.imported() {
            return [live, imported];
        }
    }
    panic!("tcpdump has lost packets five times");
}

#[test]
fn what_was_recorded_and_what_was_captured_are_the_same_spans() {
    let Some(_turn) = ebpf_or_skip("what_was_recorded_and_what_was_captured_are_the_same_spans") else {
        return;
    };
    let home = folder();
    let nginx = servers::nginx(home.path(), None);
    let go = servers::go(home.path(), 200_000);
    let redis = free_port();
    let mut command = Command::new(tool("redis-server"));
    command
        .args(["--port", &redis.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(home.path());
    let mut program = Program::start("redis-server", home.path(), &mut command);
    program.wait_listening(redis);
    let [live, imported] = both(&[nginx.port, go.port, redis], || {
        // One client after the other: the order of their requests is known.
        let mut connection = Connection::open(nginx.port);
        for _ in 0..5 {
            let paths = ["/size-1", "/status/404", "/size-0", "/status/503"];
            connection.pipeline(&paths.map(|path| Request::new("GET", path)));
            connection.exchange(&Request::new("GET", "/size-65536"));
            connection.exchange(&Request::new("HEAD", "/size-8192"));
        }
        let mut connection = Connection::open(go.port);
        for path in ["/size/8192", "/file", "/size/0", "/status/500", "/size/300000"] {
            connection.exchange(&Request::new("GET", path));
        }
        run_ok(Command::new(tool("redis-benchmark")).args(["-p", &redis.to_string(), "-q"]).args([
            "-c",
            "1",
            "-P",
            "4",
            "-n",
            "400",
            "-t",
            "set,get,lpush,lrange_100",
        ]));
    });
    let (recorded, captured) = (spans(&live), spans(&imported));
    assert!(recorded.len() > 1_000, "{}", recorded.len());
    let differences: Vec<_> = recorded
        .iter()
        .zip(&captured)
        .filter(|(live, imported)| live != imported)
        .map(|(live, imported)| format!("{live}\n{imported}"))
        .collect();
    crate::lab::check::none_of("spans that differ", &differences);
    assert_eq!(recorded.len(), captured.len());
    assert_eq!(order(&live), order(&imported));
}

/// A server of HTTP/2 logs what it answers; here both captures must say the same of it, whatever came in which order.
#[test]
fn streams_that_were_recorded_and_captured_are_the_same_spans() {
    let Some(_turn) = ebpf_or_skip("streams_that_were_recorded_and_captured_are_the_same_spans") else {
        return;
    };
    let (home, port) = (folder(), free_port());
    let root = home.path().join("root");
    std::fs::create_dir_all(&root).expect("a folder");
    std::fs::write(root.join("page"), vec![b'p'; 700]).expect("a page");
    let mut command = Command::new(tool("nghttpd"));
    command.args(["--no-tls", "-a", "127.0.0.1", "-d"]).arg(&root).arg(port.to_string());
    let mut program = Program::start("nghttpd", home.path(), &mut command);
    program.wait_listening(port);
    let [live, imported] = both(&[port], || {
        let url = format!("http://127.0.0.1:{port}");
        for path in ["page", "none"] {
            run_ok(Command::new(tool("h2load")).args([
                "-n",
                "200",
                "-c",
                "2",
                "-m",
                "3",
                &format!("{url}/{path}"),
            ]));
        }
    });
    let (recorded, captured) = (spans(&live), spans(&imported));
    assert_eq!(recorded.len(), 400);
    assert_eq!(recorded, captured);
}

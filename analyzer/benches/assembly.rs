//! Spans assembled per second on one core, and the memory it takes.
//!
//!     cargo bench --profile dev --bench assembly -- 10000000 [http2]
//!
//! Makes a synthetic capture of about that many events (default: a million): clients, two byte-level proxies, a server; half
//! of the connections are kept, half are opened for one request (of HTTP/2: for a hundred). Then assembles it in a process of its
//! own.

#[path = "../tests/assembly_support/mod.rs"]
mod assembly_support;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use assembly_support::{Connection, World, new_capture};
use retrospan_analyzer::assembly::{Options, assemble};
use retrospan_formats::reader::Capture;

/// Requests in flight.
const CHAINS: usize = 64;
/// Requests of a connection that is not kept.
const HTTP1_REQUESTS: usize = 1;
const HTTP2_REQUESTS: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (arguments, load) = match arguments.split_last() {
        Some((&"http2", before)) => (before, Load::Http2),
        _ => (&arguments[..], Load::Http1),
    };
    let number = |events: &str| events.parse().expect("a number of events");
    match arguments {
        ["assemble", directory] => measure(Path::new(directory)),
        ["generate", directory, events] => generate(Path::new(directory), number(events), load),
        [] => run(1_000_000, load),
        [events] => run(number(events), load),
        _ => panic!("usage: assembly [EVENTS] [http2]"),
    }
}

/// What the connections speak.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Http1,
    Http2,
}

impl Load {
    /// The request of this number on its connection, and the answer, both as a recording has them.
    fn exchange(self, number: usize) -> [Vec<u8>; 2] {
        let body = [b'x'; 600];
        if self == Load::Http1 {
            let request = "GET /api/items?page=* HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\r\n";
            let head = format!(
                "HTTP/1.1 200 **\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            return [request.into(), [head.as_bytes(), &body].concat()];
        }
        let stream = 2 * number as u32 + 1;
        // RFC 7541: GET, http, then literals that are not indexed: path, authority, user agent.
        let literal = |name: &[u8], value: &str| [name, &[value.len() as u8], value.as_bytes()].concat();
        let request = [
            vec![0x82, 0x86],
            literal(&[0x04], "/api/items?page=*"),
            literal(&[0x01], "shop.example"),
            literal(&[0x0f, 58 - 15], "wrk/4.2"),
        ];
        let answer = [vec![0x88], literal(&[0x0f, 31 - 15], "text/plain")];
        let mut asked = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request.concat());
        let mut answered = frame(HEADERS, END_HEADERS, stream, &answer.concat());
        answered.extend(frame(DATA, END_STREAM, stream, &body));
        if number == 0 {
            let settings = frame(SETTINGS, 0, 0, &[]);
            asked.splice(0..0, [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat());
            answered.splice(0..0, settings);
        }
        [asked, answered]
    }
}

/// Types and flags of frames, RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn run(events: usize, load: Load) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = folder.path().join("bench.cap");
    generate(&directory, events, load);
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).arg("assemble").arg(&directory).status().expect("a second process");
    assert!(status.success(), "the measuring process failed");
}

fn generate(directory: &Path, events: usize, load: Load) {
    let mut world = World::new();
    // 200,000 events a second: as much as two busy cores make.
    world.step_ns = 5_000;
    let mut writer = new_capture(directory);
    let names = ["wrk", "edge", "inner", "shop"];
    let processes = names.map(|name| world.process(name));
    let connect = |world: &mut World| -> [Connection; 3] {
        [0, 1, 2].map(|hop| world.connect(processes[hop], processes[hop + 1], 8000 + hop as u16))
    };
    let most = if load == Load::Http1 { HTTP1_REQUESTS } else { HTTP2_REQUESTS };
    let mut chains: Vec<_> = (0..CHAINS).map(|_| (connect(&mut world), 0)).collect();
    let mut written = 0;
    while written < events {
        for (index, (chain, number)) in chains.iter_mut().enumerate() {
            let [request, answer] = load.exchange(*number);
            chain.iter().for_each(|&hop| world.request(hop, &request));
            chain.iter().rev().for_each(|&hop| world.respond(hop, &answer));
            *number += 1;
            if index % 2 == 0 && *number >= most {
                chain.iter().for_each(|&hop| world.close(hop));
                (*chain, *number) = (connect(&mut world), 0);
            }
        }
        written += world.rows.len();
        world.drain_events(&mut writer);
    }
    world.complete(writer);
}

fn measure(directory: &Path) {
    let begin = Instant::now();
    let capture = Capture::open(directory).expect("the capture opens");
    let verified = begin.elapsed().as_secs_f64();
    let mut rows = 0;
    let summary = assemble(&capture, &Options::default(), &Default::default(), &mut |_, batch| {
        rows += batch.num_rows();
        Ok(())
    });
    let summary = summary.expect("the capture assembles");
    let took = begin.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("events {}, spans {}, rows {rows}", summary.events, summary.spans);
    let cpu = cpu_seconds();
    println!("verified in {verified:.2} s, all in {took:.2} s, {cpu:.2} s of one core");
    println!("{:.0} spans per second of one core, peak memory {peak}", summary.spans as f64 / cpu);
}

/// User and system time of this process, which has one thread: what counts where others use the machine too.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

//! Spans assembled per second on one core, and the memory it takes.
//!
//!     cargo bench -p retrospan-analyzer --bench assembly -- 10000000
//!
//! Makes a synthetic capture of about that many events (default: a million): clients, two byte-level proxies, a server; half
//! of the connections are kept, half are opened for one request. Then assembles it in a process of its own.

#[path = "../tests/assembly_support/mod.rs"]
mod assembly_support;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use assembly_support::{Connection, World, new_capture};
use retrospan_analyzer::assembly::{Options, assemble};
use retrospan_formats::reader::Capture;

const GET: &[u8] =
    b"GET /api/items?page=* HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\r\n";
/// Requests in flight.
const CHAINS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["assemble", directory] => measure(Path::new(directory)),
        [] => run(1_000_000),
        ["generate", directory, events] => {
            generate(Path::new(directory), events.parse().expect("a number of events"));
        }
        [events] => run(events.parse().expect("a number of events")),
        _ => panic!("usage: assembly [EVENTS]"),
    }
}

fn run(events: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = folder.path().join("bench.cap");
    generate(&directory, events);
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).arg("assemble").arg(&directory).status().expect("a second process");
    assert!(status.success(), "the measuring process failed");
}

fn generate(directory: &Path, events: usize) {
    let mut world = World::new();
    // 200,000 events a second: as much as two busy cores make.
    world.step_ns = 5_000;
    let mut writer = new_capture(directory);
    let names = ["wrk", "edge", "inner", "shop"];
    let processes = names.map(|name| world.process(name));
    let connect = |world: &mut World| -> [Connection; 3] {
        [0, 1, 2].map(|hop| world.connect(processes[hop], processes[hop + 1], 8000 + hop as u16))
    };
    let body = [b'x'; 600];
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), &body].concat();
    let mut chains: Vec<_> = (0..CHAINS).map(|_| connect(&mut world)).collect();
    let mut written = 0;
    while written < events {
        for (index, chain) in chains.iter_mut().enumerate() {
            chain.iter().for_each(|&hop| world.request(hop, GET));
            chain.iter().rev().for_each(|&hop| world.respond(hop, &answer));
            if index % 2 == 0 {
                chain.iter().for_each(|&hop| world.close(hop));
                *chain = connect(&mut world);
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
    let summary = assemble(&capture, &Options::default(), &mut |_, batch| {
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

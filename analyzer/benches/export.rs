//! Spans exported per second of CPU, through our own transport and through `opentelemetry-otlp`.
//!
//!     cargo test --locked --bench export --no-run
//!     target/debug/deps/export-HASH CAPTURE [RUNS [GRPC_URL HTTP_URL]]
//!
//! Each run is a process of its own; ways alternate. Without URLs the receiver is another process here, which decodes
//! requests and counts spans. `read` reads the rows and drops them: what the others have on top is conversion and transport.

#[path = "../tests/otlp_support/mod.rs"]
mod otlp_support;

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use opentelemetry_sdk::trace::SpanExporter;
use otlp_support::{receiver, sdk};
use retrospan_analyzer::cli::{CaptureArgs, ExportArgs, LinkArgs};
use retrospan_analyzer::commands;
use retrospan_analyzer::otlp::endpoint::Protocol;
use retrospan_analyzer::otlp::resource::Resources;
use retrospan_analyzer::session;
use retrospan_analyzer::tables::spans::SpanBatch;
use retrospan_formats::reader::Capture;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Ways to send, in the order of a round.
const WAYS: [&str; 4] = ["read", "ours grpc", "sdk grpc", "ours http"];
/// As many as `export` has.
const IN_FLIGHT: u8 = 8;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive"] => receive(),
        ["send", way, capture, grpc, http] => measure(way, Path::new(capture), grpc, http),
        [capture] => rounds(capture, 3, None),
        [capture, runs] => rounds(capture, runs.parse()?, None),
        [capture, runs, grpc, http] => rounds(capture, runs.parse()?, Some((grpc.into(), http.into()))),
        _ => Err("export: CAPTURE [RUNS [GRPC_URL HTTP_URL]]".into()),
    }
}

fn rounds(capture: &str, runs: u32, urls: Option<(String, String)>) -> Outcome<()> {
    for run in 0..runs {
        for way in WAYS {
            let own = if urls.is_none() { Some(Counter::start()?) } else { None };
            let (grpc, http) = match (&urls, &own) {
                (Some((grpc, http)), _) => (grpc.as_str(), http.as_str()),
                (None, Some(own)) => (own.grpc.as_str(), own.http.as_str()),
                (None, None) => return Err("no receiver".into()),
            };
            let mut sender = Command::new(std::env::current_exe()?);
            let output = sender.args(["send", way, capture, grpc, http]).stderr(Stdio::inherit()).output()?;
            if !output.status.success() {
                return Err(format!("{way}: {}", output.status).into());
            }
            let counted = own.map(Counter::stop).transpose()?.unwrap_or("not counted".to_owned());
            println!(
                "run {run}, {way}: {}; receiver: {counted}",
                String::from_utf8(output.stdout)?.trim_end()
            );
        }
    }
    Ok(())
}

/// The receiver in a process of its own.
struct Counter {
    process: Child,
    grpc: String,
    http: String,
}

impl Counter {
    fn start() -> Outcome<Counter> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg("receive").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
        let (grpc, http) = line.trim_end().split_once(' ').ok_or("no URLs")?;
        Ok(Counter { grpc: grpc.to_owned(), http: http.to_owned(), process })
    }

    /// What it says that it has got.
    fn stop(mut self) -> Outcome<String> {
        drop(self.process.stdin.take());
        let mut said = String::new();
        self.process.stdout.take().ok_or("no output")?.read_to_string(&mut said)?;
        self.process.wait()?;
        Ok(said.trim_end().to_owned())
    }
}

/// Prints the URLs, and at the end of the input what came.
fn receive() -> Outcome<()> {
    let (requests, spans) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (Arc::clone(&requests), Arc::clone(&spans));
    let (grpc, http) = receiver::start(Arc::new(move |_, request| {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        counts.0.fetch_add(1, Ordering::Relaxed);
        counts.1.fetch_add(scopes.map(|scope| scope.spans.len() as u64).sum(), Ordering::Relaxed);
    }));
    println!("{grpc} {http}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{} spans in {} requests", spans.load(Ordering::Relaxed), requests.load(Ordering::Relaxed));
    Ok(())
}

fn measure(way: &str, capture: &Path, grpc: &str, http: &str) -> Outcome<()> {
    let begin = Instant::now();
    match way {
        "read" => send_sdk(capture, None)?,
        "sdk grpc" => send_sdk(capture, Some(grpc))?,
        "ours grpc" => send_ours(capture, grpc, Protocol::Grpc)?,
        "ours http" => send_ours(capture, http, Protocol::HttpProtobuf)?,
        _ => return Err("no such way".into()),
    }
    let took = begin.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("{took:.2} s, {:.2} s of CPU, peak memory {peak}", cpu_seconds()?);
    Ok(())
}

fn send_ours(capture: &Path, url: &str, protocol: Protocol) -> Outcome<()> {
    let arguments = ExportArgs {
        capture: CaptureArgs { path: capture.to_owned(), salvage: false },
        links: LinkArgs { min_confidence: 0.0 },
        otlp: Some(url.to_owned()),
        protocol: Some(protocol),
        filter: None,
        header: Vec::new(),
        in_flight: IN_FLIGHT,
    };
    commands::export::run(arguments)?;
    Ok(())
}

/// Reads the rows, and sends them where a receiver is given.
fn send_sdk(capture: &Path, url: Option<&str>) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let capture = Capture::open(capture)?;
    let url = url.map(str::to_owned);
    runtime.block_on(async {
        let context = session::open(&capture)?;
        let processes = "SELECT process_id, pid, exe, comm, argv, cgroup FROM processes";
        let processes = session::plan(&context, processes).await?.collect().await?;
        let resources = Resources::new(&capture.manifest, &processes)?;
        let channel = url.map(tonic::transport::Channel::from_shared).transpose()?;
        let channel = channel.map(|endpoint| endpoint.connect_lazy());
        let (sender, full) = tokio::sync::mpsc::channel(usize::from(IN_FLIGHT));
        let mut rows = session::plan(&context, "SELECT * FROM spans").await?.execute_stream().await?;
        let reading = async {
            let mut batcher = sdk::Batcher::default();
            while let Some(batch) = rows.next().await.transpose()? {
                let mut requests = Vec::new();
                for row in SpanBatch::new(&batch)?.rows() {
                    match &channel {
                        Some(_) => requests.extend(batcher.push(&row)),
                        None => drop(std::hint::black_box(row)),
                    }
                }
                for request in requests {
                    sender.send(request).await?;
                }
            }
            for request in batcher.rest() {
                sender.send(request).await?;
            }
            drop(sender);
            Ok::<_, Box<dyn Error>>(())
        };
        let mut exporters = HashMap::new();
        let requests = futures::stream::unfold(full, |mut full| async { Some((full.recv().await?, full)) });
        let sending = requests
            .map(|(process, spans)| {
                let channel = channel.as_ref().expect("there is a receiver");
                let exporter = exporters
                    .entry(process.clone())
                    .or_insert_with(|| Arc::new(sdk::exporter(channel, &resources, &process)));
                let exporter = Arc::clone(exporter);
                async move { exporter.export(spans).await }
            })
            .buffer_unordered(usize::from(IN_FLIGHT))
            .try_collect::<()>();
        let (read, sent) = tokio::join!(reading, sending);
        sent?;
        read
    })
}

/// User and system time of this process.
fn cpu_seconds() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

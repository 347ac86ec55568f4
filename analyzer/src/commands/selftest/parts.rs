//! What the processes do that `selftest` starts: a server of HTTP/1.1, and clients that ask it again and again.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use retrospan_random::Random;

use super::child::end_with_parent;
use crate::error::{Error, Result};

/// Argument that makes this program the server.
pub const SERVER: &str = "server";
/// What the argument begins with that makes it a client of that port.
pub const CLIENT: &str = "client:";
/// Connections of a client.
const CONNECTIONS: u64 = 3;
/// No part lives longer, whatever becomes of the rest.
const LONGEST: Duration = Duration::from_secs(300);
/// A client waits so long between two requests at least, us.
const LEAST_WAIT_US: u64 = 10_000;
/// And so much longer at most, us.
const MORE_WAIT_US: usize = 40_000;
/// An answer takes so long at least, us.
const LEAST_WORK_US: f64 = 2_000.0;
/// And this longer on average, us. What a busy host adds to that is nothing beside it, so that only pauses stand out.
const MORE_WORK_US: f64 = 5_000.0;
const REQUEST: &[u8] = b"GET /selftest HTTP/1.1\r\nHost: localhost\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// Is that part until it is ended.
pub fn run(part: &str) -> Result<ExitCode> {
    let port = part.strip_prefix(CLIENT).and_then(|port| port.parse().ok());
    let done = match (part, port) {
        (SERVER, _) => be("selftest-server").and_then(|()| serve()),
        (_, Some(port)) => be("selftest-client").and_then(|()| ask_for_ever(port)),
        _ => return Err(Error::Usage(format!("--part {part}: there is no such part"))),
    };
    done.map_err(|e| Error::Usage(format!("selftest {part}: {e}")))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes a name, which findings show, and an end.
fn be(name: &str) -> io::Result<()> {
    end_with_parent()?;
    fs::write("/proc/self/comm", name)?;
    thread::Builder::new().spawn(|| {
        thread::sleep(LONGEST);
        std::process::exit(1);
    })?;
    Ok(())
}

/// Prints its port, then answers.
fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let stream = stream?;
        thread::Builder::new().spawn(move || answer(&stream, work_us))?;
    }
    Ok(())
}

/// Answers every request of a connection. `work_us`: how long an answer takes.
fn answer(mut stream: &TcpStream, work_us: fn(&mut Random) -> f64) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut random = Random::new(stream.peer_addr()?.port().into());
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            thread::sleep(Duration::from_micros(work_us(&mut random) as u64));
            stream.write_all(RESPONSE)?;
        }
    }
}

/// Exponentially distributed beyond the least.
fn work_us(random: &mut Random) -> f64 {
    LEAST_WORK_US + MORE_WORK_US * random.exponential()
}

/// Between two requests of a client, so that clients do not keep step with each other.
fn wait_us(random: &mut Random) -> u64 {
    LEAST_WAIT_US + random.below(MORE_WAIT_US) as u64
}

fn ask_for_ever(port: u16) -> io::Result<()> {
    let more = (1..CONNECTIONS).map(|number| thread::Builder::new().spawn(move || ask_on(port, number)));
    let more = more.collect::<io::Result<Vec<_>>>()?;
    ask_on(port, 0)?;
    drop(more);
    Ok(())
}

fn ask_on(port: u16, number: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut random = Random::new(u64::from(std::process::id()) << 8 | number);
    loop {
        thread::sleep(Duration::from_micros(wait_us(&mut random)));
        ask(&mut stream)?;
    }
}

/// One request and its answer.
pub fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut response = [0; RESPONSE.len()];
    stream.read_exact(&mut response)?;
    if response == RESPONSE { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_one_request_after_the_other() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let answering = thread::spawn(move || answer(&server, |_| 0.0));
        (0..3).for_each(|_| ask(&mut client).unwrap());
        drop(client);
        answering.join().unwrap().unwrap();
    }

    #[test]
    fn an_answer_takes_milliseconds_and_never_as_long_as_a_pause() {
        let mut random = Random::new(1);
        let mut all: Vec<f64> = (0..10_000).map(|_| work_us(&mut random)).collect();
        all.sort_by(f64::total_cmp);
        assert!(all[0] >= LEAST_WORK_US && all[9_999] < 100_000.0, "{} to {}", all[0], all[9_999]);
        let mean = all.iter().sum::<f64>() / 10_000.0;
        assert!((mean - LEAST_WORK_US - MORE_WORK_US).abs() < 200.0, "{mean}");
    }

    #[test]
    fn waits_differ() {
        let mut random = Random::new(1);
        let waits: std::collections::BTreeSet<u64> = (0..1000).map(|_| wait_us(&mut random)).collect();
        assert!(waits.len() > 900, "{}", waits.len());
    }

    #[test]
    fn there_is_no_other_part() {
        assert!(run("client:").is_err() && run("proxy").is_err());
    }
}

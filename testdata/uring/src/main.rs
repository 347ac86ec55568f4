//! An HTTP server for tests whose socket calls are io_uring's: `retrospan-uring serve PORT CONNECTIONS` answers as many
//! connections, one after the other, and ends. The path says how the answer's body is sent: `/writev` as one of two buffers,
//! `/splice` through a pipe, anything else in a call of its own. `retrospan-uring get PORT PATH` asks once.

mod ring;
mod socket;

use ring::Ring;
use std::io::{Error, ErrorKind, Result, Write};

/// Of every answer.
const BODY_BYTES: usize = 20_000;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |word: &str| word.parse::<u16>().map_err(|_| usage());
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", port, connections] => serve(number(port)?, number(connections)?),
        ["get", port, path] => get(number(port)?, path),
        _ => Err(usage()),
    }
}

fn usage() -> Error {
    Error::new(ErrorKind::InvalidInput, "retrospan-uring serve PORT CONNECTIONS | get PORT PATH")
}

fn serve(port: u16, connections: u16) -> Result<()> {
    let listener = socket::listen(port)?;
    let mut ring = Ring::new()?;
    for _ in 0..connections {
        let connection = ring.accept(&listener)?;
        while let Some(request) = ring.receive_head(connection)? {
            answer(&mut ring, connection, &request)?;
        }
        ring.shut_down(connection)?;
        ring.close(connection)?;
    }
    Ok(())
}

fn answer(ring: &mut Ring, connection: i32, request: &[u8]) -> Result<()> {
    let path = request.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let body = vec![b'u'; BODY_BYTES];
    match path {
        b"/writev" => ring.send_both(connection, head.as_bytes(), &body),
        b"/splice" => {
            ring.send(connection, head.as_bytes())?;
            ring.splice(connection, &body)
        }
        _ => {
            ring.send(connection, head.as_bytes())?;
            ring.send(connection, &body)
        }
    }
}

fn get(port: u16, path: &str) -> Result<()> {
    let mut ring = Ring::new()?;
    let connection = ring.connect(port)?;
    ring.send(connection, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let head = ring.receive_head(connection)?.unwrap_or_default();
    answer.extend(head);
    while answer.len() < BODY_BYTES {
        match ring.receive(connection)? {
            bytes if bytes.is_empty() => break,
            bytes => answer.extend(bytes),
        }
    }
    ring.close(connection)?;
    writeln!(std::io::stdout(), "{} bytes", answer.len())
}

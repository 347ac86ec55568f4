//! Redis and what speaks like it (RESP2 and RESP3): the command is the operation, arguments and values are never kept.
//!
//! Commands are answered in order, so they are paired by their count. What is pushed (messages of channels, what others ask
//! where somebody watches) answers nothing. See [`commands`], [`errors`] and [`pushes`] for the words that may be
//! kept.

mod answers;
mod commands;
mod errors;
mod framing;
mod pushes;
mod requests;
mod side;
mod value;

use crate::operation::{Exchange, Operation, Status, Value, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use framing::Connection;

/// Redis.
#[derive(Clone, Copy, Debug)]
pub struct Redis;

/// The first byte, and a digit or the minus of a null; of other values the few bytes that are kept of any data are enough, unless
/// several of them come at once.
const SIGNATURES: [Signature; 7] = [
    Signature::masked(b"*0", &[0xff, 0xf0], Keep::Turn),
    Signature::masked(b"$0", &[0xff, 0xf0], Keep::Turn),
    Signature::of(b"$-1\r", Keep::Turn),
    Signature::masked(b":0", &[0xff, 0xf0], Keep::Turn),
    Signature::of(b"+OK\r", Keep::Turn),
    Signature::of(b"+QUEUED", Keep::Turn),
    Signature::masked(b">0", &[0xff, 0xf0], Keep::Turn),
];

impl Protocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn title(&self) -> &'static str {
        "redis"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    /// Answers alone tell nothing: other protocols have lines that begin so. Nor do lines of text, unless they are the first
    /// of a connection and a command that nobody else has.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        match (direction, bytes.first()) {
            (Direction::Requests, Some(b'*')) => match begins_request(bytes) {
                Verdict::Maybe if !fresh => Verdict::No,
                verdict => verdict,
            },
            (Direction::Requests, Some(&byte)) if fresh && is_inline(byte) && is_line(bytes) => {
                Verdict::Surely
            }
            _ => Verdict::No,
        }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Connection::new(before))
    }

    fn read(&self, direction: Direction, head: &[u8], last: &Operation) -> Operation {
        let mut operation = Operation::default();
        if direction == Direction::Responses {
            let word = head.strip_prefix(b"-").and_then(|rest| rest.split(|&byte| byte == b' ').next());
            operation.status.text = word.and_then(errors::error);
            return operation;
        }
        if let Some(name) = name(head) {
            operation.title = Some(name.into());
            operation.name = match &last.name {
                Some(last) if **last == *name => Some(last.clone()),
                _ => Some(name.into()),
            };
            operation.attributes.push(("db.operation.name", Value::Name(name)));
        }
        operation
    }

    fn failed(&self, status: Status) -> bool {
        status.text.is_some()
    }

    /// Semantic conventions of databases and of Redis, stable since 1.33.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("db.system.name", ValueRef::Text("redis"));
        if let Some(text) = exchange.status.text {
            tell("db.response.status_code", ValueRef::Text(text));
            tell("error.type", ValueRef::Text(text));
        }
    }
}

/// The operation that a head names: all of its first words that are known.
fn name(head: &[u8]) -> Option<&'static str> {
    let mut name = None;
    let mut text = Vec::new();
    let is_array = head.first() == Some(&b'*');
    let ends = |&byte: &u8| byte == b'\n' || (!is_array && matches!(byte, b' ' | b'\t'));
    let words = head.split(ends).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for word in words.filter(|word| !matches!(word.first(), None | Some(b'*' | b'$'))) {
        let separator: &[u8] = if text.is_empty() { b"" } else { b" " };
        text.extend([separator, &word.to_ascii_uppercase()].concat());
        let Some(known) = commands::command(&text) else { break };
        name = Some(known);
    }
    // What it wants of the server is no part of what is asked.
    if name.is_some_and(|name| name.starts_with("CLIENT REPLY ")) { Some("CLIENT REPLY") } else { name }
}

/// Whether data begins with a command in an array: its first word is there, with the line end that its length announces.
fn begins_request(bytes: &[u8]) -> Verdict {
    let Some((elements, rest)) = measure(b'*', bytes) else { return Verdict::No };
    let Some(rest) = rest else { return Verdict::Maybe };
    let Some((length, rest)) = measure(b'$', rest) else { return Verdict::No };
    if elements == 0 || !(1..=commands::MAX_COMMAND_BYTES).contains(&length) {
        return Verdict::No;
    }
    let Some(rest) = rest else { return Verdict::Maybe };
    let word = &rest[..rest.len().min(length)];
    if !word.iter().all(|byte| byte.is_ascii_graphic()) {
        return Verdict::No;
    }
    match &rest[word.len()..] {
        [b'\r', b'\n', ..] => Verdict::Surely,
        [] | [b'\r'] => Verdict::Maybe,
        _ => Verdict::No,
    }
}

/// The length in the line that begins with this type, and what follows it: None where the line goes on. None where this is no
/// such line.
fn measure(kind: u8, bytes: &[u8]) -> Option<(usize, Option<&[u8]>)> {
    let Some((&first, rest)) = bytes.split_first() else { return Some((1, None)) };
    if first != kind {
        return None;
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 7 {
        return None;
    }
    let number = rest[..digits].iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    match &rest[digits..] {
        [] | [b'\r'] => Some((1, None)),
        [b'\r', b'\n', after @ ..] if digits > 0 => Some((number, Some(after))),
        _ => None,
    }
}

/// What a command in a line of its own may begin with.
fn is_inline(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}

/// Commands of memcached, whose lines look alike.
const OF_OTHERS: [&str; 9] = ["GET", "SET", "APPEND", "INCR", "DECR", "TOUCH", "QUIT", "AUTH", "CONFIG"];

/// Whether data is a line that begins with a command of Redis alone.
fn is_line(bytes: &[u8]) -> bool {
    let Some(line) = bytes.split_inclusive(|&byte| byte == b'\n').next() else { return false };
    let Some(line) = line.strip_suffix(b"\r\n") else { return false };
    // So a server of NATS introduces itself.
    if line.starts_with(b"INFO {") {
        return false;
    }
    let word = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    commands::command(&word.to_ascii_uppercase()).is_some_and(|name| !OF_OTHERS.contains(&name))
}

#[cfg(test)]
mod tests;

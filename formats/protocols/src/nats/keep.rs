//! What of a frame may be kept: verbs, subjects and numbers; of JSON its names; of headers the trace context.

use std::ops::Range;

use super::errors;
use super::lines::{Verb, header, split_end, subject, word};
use super::payload;
use crate::context::traceparent;
use crate::frames::Runs;
use crate::parts::Direction;

/// Names that JSON objects of the handshake have. Values are not kept, but that of the first one here.
const NAMES: [&str; 35] = [
    "verbose",
    "auth_required",
    "auth_token",
    "client_id",
    "client_ip",
    "cluster",
    "connect_urls",
    "domain",
    "echo",
    "git_commit",
    "go",
    "headers",
    "host",
    "jetstream",
    "jwt",
    "lang",
    "ldm",
    "max_payload",
    "name",
    "nkey",
    "no_responders",
    "nonce",
    "pass",
    "pedantic",
    "port",
    "proto",
    "protocol",
    "server_id",
    "server_name",
    "sig",
    "tls_available",
    "tls_required",
    "user",
    "version",
    "xkey",
];

/// Tells what of a head may be kept, as far as it is there. A word that may go on is not.
pub(super) fn keep(direction: Direction, head: &[u8], runs: &mut Runs) {
    let end = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    let (line, behind) = head.split_at(end);
    let (text, end) = split_end(line);
    let verb = keep_line(direction, text, end > 0, runs);
    // A part of a line end says nothing.
    let known = text.len() - runs.at();
    runs.blank(known);
    runs.keep(end);
    match verb {
        Some(verb) if verb.has_headers() => keep_headers(behind, runs),
        Some(_) => payload::keep(behind, runs),
        None => {}
    }
}

fn keep_line(direction: Direction, text: &[u8], whole: bool, runs: &mut Runs) -> Option<Verb> {
    let is_whole = |end: usize| whole || end < text.len();
    let name = word(text, 0)?;
    runs.keep(name.start);
    let verb = Verb::of(direction, &text[name.clone()]).filter(|_| is_whole(name.end))?;
    // With the space behind it, without which it is none.
    runs.keep((name.len() + 1).min(text.len() - name.start));
    match verb {
        Verb::Info | Verb::Connect => keep_json(text, runs),
        Verb::Err if whole => errors::keep(text, runs),
        Verb::Err => {}
        _ => {
            let mut at = name.end;
            while let Some(place) = word(text, at) {
                runs.keep(place.start.saturating_sub(runs.at()));
                let kept = subject(&text[place.clone()]).filter(|_| is_whole(place.end));
                runs.keep(kept.map_or(0, str::len));
                runs.blank(place.end - runs.at());
                at = place.end;
            }
            runs.keep(text.len() - runs.at());
        }
    }
    Some(verb)
}

/// The first name in a JSON object, where that is one of the handshake.
pub(super) fn begins_object(text: &[u8]) -> bool {
    let Some(rest) = text.trim_ascii_start().strip_prefix(b"{") else { return false };
    let rest = rest.trim_ascii_start();
    let Some(end) = rest.iter().skip(1).position(|&byte| byte == b'"') else { return false };
    rest.starts_with(b"\"") && is_name(&rest[1..end + 1])
}

fn is_name(name: &[u8]) -> bool {
    NAMES.iter().any(|known| known.as_bytes() == name)
}

/// Whether a client's handshake asks for an answer to everything it says.
pub(super) fn is_verbose(text: &[u8]) -> bool {
    let mut verbose = false;
    names(text, |name, _, value| {
        if name == b"verbose" {
            verbose = text[value..].starts_with(b"true");
        }
    });
    verbose
}

fn keep_json(text: &[u8], runs: &mut Runs) {
    if let Some(brace) = text.iter().position(|&byte| byte == b'{') {
        runs.keep(brace + 1 - runs.at());
    }
    names(text, |name, place, value| {
        if !is_name(name) || place.start < runs.at() {
            return;
        }
        runs.blank(place.start - runs.at());
        runs.keep(place.len());
        if name == b"verbose" {
            let rest = &text[value..];
            let known = [&b"true"[..], b"false"].into_iter().find(|known| rest.starts_with(known));
            runs.keep(value - runs.at());
            runs.keep(known.map_or(0, <[u8]>::len));
        }
    });
}

/// Tells the names in JSON: each with its place, quotes and colon included, and where its value begins.
fn names(text: &[u8], mut tell: impl FnMut(&[u8], Range<usize>, usize)) {
    let mut at = 0;
    while let Some(quote) = memchr::memchr(b'"', &text[at..]).map(|quote| at + quote) {
        let Some(end) = string_end(text, quote + 1) else { return };
        at = end + 1;
        let skip =
            |from: usize| from + text[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let colon = skip(at);
        if text.get(colon) == Some(&b':') {
            tell(&text[quote + 1..end], quote..colon + 1, skip(colon + 1));
        }
    }
}

/// Where the string ends that goes on there.
fn string_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Lines of headers: the version with a status in front, of others the trace context.
fn keep_headers(headers: &[u8], runs: &mut Runs) {
    for (index, line) in headers.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let (text, end) = split_end(line);
        let kept = if end == 0 {
            0
        } else if index == 0 {
            payload::status_line(text).map_or(0, |(length, _)| length)
        } else {
            header(text, b"traceparent").and_then(traceparent).map_or(0, |_| text.len())
        };
        runs.keep(kept);
        runs.blank(text.len() - kept);
        runs.keep(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbose_is_a_name_and_no_value() {
        assert!(is_verbose(br#" {"lang":"x","verbose": true}"#));
        assert!(!is_verbose(br#" {"lang":"verbose","verbose":false}"#));
        assert!(!is_verbose(br#" {"name":"\"verbose\":true"}"#));
        assert!(!is_verbose(br#" {"name":"a\"#));
        assert!(begins_object(b" { \"server_id\":\"x") && !begins_object(b" {\"id\":1}"));
    }
}

//! What of a message may be kept.

use super::codes;
use super::envelope::{self, HEADER, Header, int, is_plain, long_string, short, string};
use crate::frames::Runs;
use crate::parts::Direction;
use crate::sql::{self, Dialect};

/// Tells what of a message that begins so may be kept.
pub(super) fn keep(direction: Direction, head: &[u8], runs: &mut Runs) {
    runs.keep(head.len().min(HEADER));
    let Some(header) = Header::of(direction, head).filter(|header| !header.is_compressed()) else { return };
    let left = |runs: &Runs| head.len().saturating_sub(runs.at());
    let front = header.front(head, |kept, secret| {
        runs.keep(kept.min(left(runs)));
        runs.blank(secret.min(left(runs)));
    });
    let Some(at) = front else { return };
    match header.opcode {
        codes::QUERY => {
            keep_statement(head, runs);
            keep_flags(header, head, runs);
        }
        codes::PREPARE => keep_statement(head, runs),
        codes::EXECUTE => {
            keep_id(head, runs);
            if header.version >= 5 {
                keep_id(head, runs);
            }
            keep_flags(header, head, runs);
        }
        codes::BATCH => {
            keep_rest(head, 4, runs);
            match head.get(at + 3) {
                Some(0) => keep_statement(head, runs),
                Some(1) => keep_id(head, runs),
                _ => {}
            }
        }
        codes::STARTUP => keep_options(head, runs),
        codes::ERROR => keep_rest(head, 4, runs),
        codes::RESULT => keep_result(header, head, runs),
        _ => {}
    }
}

/// So many bytes more, or as many as there are.
fn keep_rest(head: &[u8], length: usize, runs: &mut Runs) {
    runs.keep(head.len().saturating_sub(runs.at()).min(length));
}

fn keep_statement(head: &[u8], runs: &mut Runs) {
    let Some((statement, whole)) = long_string(head, runs.at()) else { return };
    runs.keep(4);
    sql::keep(statement, Dialect::Cql, whole, runs);
}

/// Consistency and flags, where they are there.
fn keep_flags(header: Header, head: &[u8], runs: &mut Runs) {
    let flags = if header.version >= 5 { 4 } else { 1 };
    keep_rest(head, 2 + flags, runs);
}

fn keep_id(head: &[u8], runs: &mut Runs) {
    if let Some(id) = envelope::id(head, runs.at()) {
        runs.keep(2 + id.len());
    }
}

/// Names of the options, and which compression is chosen.
fn keep_options(head: &[u8], runs: &mut Runs) {
    let count = short(head, runs.at()).unwrap_or(0);
    keep_rest(head, 2, runs);
    for _ in 0..count {
        let Some((name, value)) = string(head, runs.at()) else { return };
        runs.keep(2);
        if is_plain(name) {
            runs.keep(name.len())
        } else {
            runs.blank(name.len())
        }
        let Some((value, _)) = string(head, value) else { return };
        runs.keep(2);
        let harmless = matches!(name, b"COMPRESSION" | b"CQL_VERSION") && is_plain(value);
        if harmless { runs.keep(value.len()) } else { runs.blank(value.len()) }
    }
}

fn keep_result(header: Header, head: &[u8], runs: &mut Runs) {
    let kind = int(head, runs.at());
    keep_rest(head, 4, runs);
    match kind {
        // Flags and how many columns.
        Some(envelope::ROWS) => keep_rest(head, 8, runs),
        Some(envelope::PREPARED) => {
            keep_id(head, runs);
            if header.version >= 5 {
                keep_id(head, runs);
            }
        }
        Some(envelope::KEYSPACE) => {
            if let Some((name, _)) = string(head, runs.at()).filter(|(name, _)| is_plain(name)) {
                runs.keep(2 + name.len());
            }
        }
        _ => {}
    }
}

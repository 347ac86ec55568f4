//! What of messages may be kept.

use super::Inside;
use crate::frames::Runs;
use crate::mongodb::bson::{self, Element, Read};
use crate::mongodb::messages::{self, HEADER, Header, Opcode};
use crate::mongodb::{commands, request};

/// Of what stands in front of documents may be kept everything but names that are not plain.
pub(super) fn preamble(header: &Header, head: &[u8], runs: &mut Runs) {
    let strings = match header.opcode {
        Opcode::Query | Opcode::GetMore | Opcode::Update | Opcode::Insert | Opcode::Delete => (HEADER + 4, 1),
        Opcode::Command => (HEADER, 2),
        _ => (head.len(), 0),
    };
    runs.keep(head.len().min(strings.0));
    let mut at = strings.0;
    for _ in 0..strings.1 {
        let Read::Got(text) = bson::cstring(head, at, messages::MAX_NAMESPACE) else { return };
        let is_command = header.opcode == Opcode::Command && at > HEADER;
        let may_keep =
            if is_command { commands::of(text).is_some() } else { messages::plain(text).is_some() };
        if may_keep {
            runs.keep(text.len());
        } else {
            runs.blank(text.len());
        }
        runs.keep(1);
        at += text.len() + 1;
    }
    runs.keep(head.len().saturating_sub(at));
}

/// Of an element may be kept its type, its length, a name that says something, and the values that are read.
pub(super) fn element(inside: &Inside, element: &Element<'_>, head: &[u8], runs: &mut Runs) {
    let value = &head[element.head..];
    let wanted = inside.wants(element);
    runs.keep(1);
    let first = inside.is_request() && inside.asked.is_first();
    if wanted || inside.descends(element) || (first && commands::of(element.name).is_some()) {
        runs.keep(element.name.len());
    } else {
        runs.blank(element.name.len());
    }
    runs.keep(1);
    let prefix = match element.kind {
        bson::STRING | bson::DOCUMENT | 0x04 | 0x05 | 0x0c..=0x0f => 4,
        _ => 0,
    };
    let known = wanted && request::may_keep(inside.is_request(), element.kind, value);
    if known {
        runs.keep(value.len().min((element.total - element.head as u64) as usize));
    } else if element.kind == bson::EXPRESSION {
        // Its ends frame it.
        for &byte in value {
            if byte == 0 { runs.keep(1) } else { runs.blank(1) }
        }
    } else {
        runs.keep(value.len().min(prefix));
    }
}

//! Properties of MQTT 5 (section 2.2.2): of those of a message, the number that stands for its topic.

use super::packet::Start;

/// What properties say, as far as they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// The number that stands for the topic from now on, or stands for it now.
    pub(super) alias: Option<u16>,
    /// Where they end; None: not all of them are there, or they are none.
    pub(super) end: Option<usize>,
}

const TOPIC_ALIAS: usize = 0x23;

/// Reads properties whose length stands there. `keep` gets how many bytes may be kept and how many behind
/// them must not.
pub(super) fn read(start: &Start, head: &[u8], at: usize, mut keep: impl FnMut(usize, usize)) -> Properties {
    let mut told = Properties::default();
    let Some((length, from)) = start.varint(head, at) else { return told };
    keep(from - at, 0);
    let (mut at, end) = (from, from + length);
    if end as u64 > start.total {
        return told;
    }
    while at < end {
        let Some((id, value)) = start.varint(head, at) else { return told };
        let Some(next) = property(start, head, id, value) else { return told };
        if next > end {
            return told;
        }
        if next > head.len() {
            keep(value - at, head.len() - value);
            // What is missing is no more than the value of the last one.
            told.end = (next == end && id != TOPIC_ALIAS).then_some(end);
            return told;
        }
        if id == TOPIC_ALIAS {
            told.alias = start.number(head, value);
            keep(next - at, 0);
        } else {
            told_of(start, head, (at, value, next), id, &mut keep);
        }
        at = next;
    }
    told.end = Some(end);
    told
}

/// Where a property ends whose value begins there.
fn property(start: &Start, head: &[u8], id: usize, at: usize) -> Option<usize> {
    let text = |at: usize| start.text(head, at).map(|text| text.end);
    match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => Some(at + 1),
        0x13 | 0x21 | 0x22 | TOPIC_ALIAS => Some(at + 2),
        0x02 | 0x11 | 0x18 | 0x27 => Some(at + 4),
        0x0b => start.varint(head, at).map(|(_, end)| end),
        0x26 => text(at).and_then(text),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => text(at),
        _ => None,
    }
}

/// Tells what of a property may be kept: what says how long it is.
fn told_of(
    start: &Start,
    head: &[u8],
    (at, value, next): (usize, usize, usize),
    id: usize,
    keep: &mut impl FnMut(usize, usize),
) {
    let text = |at: usize| start.text(head, at).map_or(0, |text| text.len());
    match id {
        0x26 => {
            let name = text(value);
            keep(value + 2 - at, name);
            keep(2, text(value + 2 + name));
        }
        // A varint says itself where it ends.
        0x0b => keep(next - at, 0),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => keep(value + 2 - at, text(value)),
        _ => keep(value - at, next - value),
    }
}

//! What the analyzer sees in what was stored of a call: the protocol, who asks, and the messages that redaction saw in what came.

use retrospan_formats::event::{Kind, role};
use retrospan_formats::marks;

use super::Conversation;
use crate::redact::{Data, Payload, Redactor, Stream};
use crate::{Call, Direction, Memory, Part, What, detect, tunnel};

/// What of a connection's first call that was seen is recognised. `fresh`: there was none before.
fn check_call(direction: Direction, head: &[u8], length: usize, fresh: bool, is_whole: bool) {
    let data = Data {
        kind: if direction == Direction::Requests { Kind::Send } else { Kind::Receive },
        role: if fresh { role::CLIENT } else { role::UNKNOWN },
        sent: direction == Direction::Requests,
        shared: false,
        done_bytes: length as u64,
        tcp_seq: Some(1),
        flags: 0,
        head,
        stored: head.len(),
        tail: &[],
        times_ns: [0, 0],
        discovered: !fresh,
        ports: [0, 0],
    };
    let (mut redactor, mut kept) = (Redactor::default(), Vec::new());
    let bits = redactor.keep(Payload::Heads, &mut Stream::default(), &data, true, &mut kept);
    let known = fresh.then_some(direction);
    let came = detect::surely(head, fresh).or_else(|| detect::perhaps(head, fresh, known));
    let stored = detect::marked(bits);
    let short = |told: detect::Told| (told.protocol, told.direction);
    let case =
        || format!("{direction:?}, fresh: {fresh}: {} as {}", head.escape_ascii(), kept.escape_ascii());
    assert_eq!(stored.map(short), came.map(short), "{}", case());
    let Some(told) = stored.filter(|_| is_whole) else { return };
    let mut framing = tunnel::framing(told.protocol, (!fresh).then_some([0, 0]));
    let begins = bits & marks::BEGINS != 0;
    let call = Call { length: length as u64, head: &kept, begins, sent: data.sent, ..Call::default() };
    let mut parts = Vec::new();
    framing.call(told.direction, call, &mut Memory::default(), &mut parts);
    assert_eq!(messages(&parts), messages(redactor.parts()), "{}", case());
}

/// Where messages begin and end, and what their heads say.
fn messages(parts: &[Part]) -> Vec<(Option<u64>, &What)> {
    let tells = |what: &What| what.is_marker() && !matches!(what, What::MayBegin | What::Found);
    // Of a head that is cut its last byte may be blank, or not be there.
    let place = |part: &Part| {
        if matches!(part.what, What::HeadEnd(_) | What::Status(_)) { None } else { Some(part.offset) }
    };
    parts.iter().filter(|part| tells(&part.what)).map(|part| (place(part), &part.what)).collect()
}

/// Checks it of each call of a conversation, of which all is known, or only its first bytes.
pub fn check(conversation: &Conversation) {
    for (direction, bytes) in conversation {
        let lengths = (1..bytes.len().min(200)).chain((200..bytes.len()).step_by(61)).chain([bytes.len()]);
        for known in lengths.map(|length| length.min(bytes.len())) {
            for fresh in [true, false] {
                // What a later call tells of the head that goes on in it is missing here.
                check_call(*direction, &bytes[..known], known, fresh, known == bytes.len());
                check_call(*direction, &bytes[..known], bytes.len(), fresh, true);
            }
        }
    }
}

/// The calls of a file of the fuzz targets' corpus (`tests/support/framed.rs` has its form).
fn calls(data: &[u8]) -> Vec<(Direction, Vec<u8>)> {
    let (mut rest, mut calls) = (data, Vec::new());
    while let Some((&[what, head, tail], after)) = rest.split_first_chunk() {
        let (head, after) = after.split_at(after.len().min(head.into()));
        rest = &after[after.len().min(usize::from(tail) % 9)..];
        let direction = if what & 1 == 0 { Direction::Requests } else { Direction::Responses };
        if what >> 1 & 7 > 1 && !head.is_empty() {
            calls.push((direction, head.to_vec()));
        }
    }
    calls
}

#[test]
fn the_corpus_is_recognised_in_what_was_stored_of_it() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = std::fs::read_dir(corpus).expect("the corpus");
    let calls: Vec<_> = files
        .flat_map(|file| calls(&std::fs::read(file.expect("an entry").path()).expect("a file")))
        .collect();
    assert!(calls.len() > 100, "{}", calls.len());
    check(&calls);
}

#[test]
fn nothing_but_blanks_is_recognised_where_redaction_recognised_nothing() {
    for bytes in ["k", "no message of any protocol", "\u{1}\u{2}\u{3}", "1 2 3\r\n"] {
        check(&[(Direction::Requests, bytes.into()), (Direction::Responses, bytes.into())]);
    }
}

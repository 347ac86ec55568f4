//! A protocol of a length, a key and text, whose first byte of text is all that may be kept.

use super::*;
use crate::HeadInfo;
use crate::operation::{Exchange, Operation, Title, ValueRef};
use crate::protocol::{Protocol, Signature, Verdict};
use crate::testing::{self, Reader};

struct Simple;

#[derive(Debug, Default)]
struct Reading {
    lost: [u32; 2],
}

impl Codec for Reading {
    fn measure(&mut self, _: Direction, bytes: &[u8]) -> Measure {
        match bytes {
            [b'L', length, _, ..] => Measure::Frame { total: 3 + u64::from(*length), head: 5 },
            [] | [b'L'] | [b'L', _] => Measure::Need(3),
            _ => Measure::None,
        }
    }

    fn begins(&self, _: Direction, bytes: &[u8]) -> bool {
        matches!(bytes, [b'L', _, _, b'a'..=b'z', ..])
    }

    fn keep(&self, _: Direction, head: &[u8], runs: &mut Runs) {
        runs.keep(head.len().min(4));
        if head.len() > 4 {
            runs.instead(vec![b'?'; head.len() - 4]);
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let key = Some(u64::from(frame.head[2]));
        let name = frame.head.get(3).map(|&byte| char::from(byte).to_string().into());
        let title = Some(Title::Defined("simple"));
        let operation = (frame.direction == Direction::Requests)
            .then(|| Operation { name, title, ..Operation::default() }.into());
        say.message(HeadInfo { key, operation, ..HeadInfo::default() });
    }

    fn lost(&mut self, direction: Direction) {
        self.lost[direction as usize] += 1;
    }
}

impl Protocol for Simple {
    fn name(&self) -> &'static str {
        "simple"
    }

    fn title(&self) -> &'static str {
        "simple"
    }

    fn signatures(&self) -> &'static [Signature] {
        &[]
    }

    fn recognise(&self, _: Direction, _: &[u8], _: bool) -> Verdict {
        Verdict::Surely
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Reading::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    fn attributes(&self, _: &Exchange<'_>, _: &mut dyn FnMut(&'static str, ValueRef<'_>)) {}
}

fn frame(key: u8, text: &str) -> Vec<u8> {
    [&[b'L', text.len() as u8, key], text.as_bytes()].concat()
}

#[test]
fn any_cut_gives_the_same_exchanges_and_no_more_is_kept() {
    let asked = [frame(1, "get it"), frame(2, "put that"), frame(3, "")].concat();
    let conversation = [
        (Direction::Requests, asked),
        (Direction::Responses, [frame(2, "done"), frame(1, "here")].concat()),
        (Direction::Responses, frame(3, "x")),
    ];
    testing::check_any_cut(&Simple, &conversation);
    let reader = testing::read(&Simple, &conversation, &[4]);
    let names: Vec<_> = reader.exchanges().iter().map(|e| e.operation.name.as_deref()).collect();
    assert_eq!(names, [Some("g"), Some("p"), None]);
    assert!(reader.exchanges().iter().all(|e| e.end.is_some()));
    let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert!(!kept.windows(2).any(|pair| pair == b"et" || pair == b"ut" || pair == b"on"));
}

#[test]
fn holes_within_content_cost_nothing_and_others_up_to_the_next_call() {
    let mut reader = Reader::new(&Simple, None);
    reader.call(Direction::Requests, &frame(1, "a long text")[..8], 0);
    reader.gap(Direction::Requests, 6, 1);
    reader.call(Direction::Requests, &frame(2, "b"), 2);
    assert_eq!(reader.lost_bytes, 0);
    reader.gap(Direction::Requests, 6, 3);
    reader.call(Direction::Requests, b"xL\x01\x03c", 4);
    reader.call(Direction::Requests, &frame(4, "d"), 5);
    let names: Vec<_> = reader.exchanges().iter().map(|e| e.operation.name.as_deref()).collect();
    assert_eq!(names, [Some("a"), Some("b"), Some("d")]);
    assert_eq!(reader.lost_bytes, 6 + 5);
}

#[test]
fn only_bytes_of_earlier_calls_are_told_of_again() {
    let mut framing = Simple.framing(None);
    let text = frame(1, "a long text");
    for known in [4, 5] {
        let mut parts = Vec::new();
        let call = Call { length: text.len() as u64, head: &text[..known], ..Call::default() };
        framing.call(Direction::Requests, call, &mut Memory::default(), &mut parts);
        assert!(!parts.iter().any(|part| matches!(part.what, What::Earlier(_))), "{parts:?}");
    }
}

#[test]
fn a_head_that_is_cut_within_a_call_is_told_of_in_that_call() {
    let mut framing = Simple.framing(None);
    let whole = frame(1, "name and more");
    let mut parts = Vec::new();
    let call = crate::Call { length: whole.len() as u64, head: &whole[..4], ..Default::default() };
    framing.call(Direction::Requests, call, &mut Memory::default(), &mut parts);
    let runs: Vec<_> =
        parts.iter().filter(|part| part.length > 0).map(|part| (part.length, &part.what)).collect();
    assert_eq!(runs, [(4, &What::Head), (whole.len() as u64 - 4, &What::Body)]);
    assert!(parts.iter().any(|part| part.what == What::Begin));
}

/// Messages of pieces: a length of all that follows, and pieces that begin with their own; `E` ends a direction.
#[derive(Debug, Default)]
struct Pieces {
    left: u64,
}

impl Codec for Pieces {
    fn measure(&mut self, _: Direction, bytes: &[u8]) -> Measure {
        match (self.left, bytes) {
            (_, []) => Measure::Need(1),
            (0, [b'E', ..]) => Measure::Tunnel,
            (0, _) => Measure::Frame { total: 1, head: 1 },
            (_, [length, ..]) => Measure::Frame { total: u64::from(*length).min(self.left), head: 1 },
        }
    }

    fn begins(&self, _: Direction, _: &[u8]) -> bool {
        false
    }

    fn keep(&self, _: Direction, head: &[u8], runs: &mut Runs) {
        runs.keep(head.len());
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        match self.left {
            0 => {
                say.end_before();
                say.begin();
                self.left = u64::from(frame.head[0]);
            }
            left => self.left = left - frame.total,
        }
        if self.left == 0 {
            say.may_end();
        }
    }

    fn lost(&mut self, _: Direction) {
        self.left = 0;
    }

    fn rest(&self, _: Direction) -> Option<u64> {
        (self.left > 0).then_some(self.left)
    }
}

#[test]
fn what_is_left_of_a_message_is_passed_over_and_ends_are_told_late() {
    let mut framed = Framed::new(Pieces::default(), None);
    let mut parts = Vec::new();
    let mut call = |head: &[u8], length: u64, parts: &mut Vec<Part>| {
        framed.call(
            Direction::Requests,
            Call { length, head, ..Call::default() },
            &mut Memory::default(),
            parts,
        );
    };
    // A piece of 3 and the begin of one of 2; the last one is missing.
    call(&[6, 3, 0, 0, 2], 7, &mut parts);
    call(&[1, 1, b'E', 0], 4, &mut parts);
    let ends = |what: &What| {
        matches!(what, What::End { .. } | What::MayEnd | What::Begin | What::Lost | What::Tunnel)
    };
    let told: Vec<_> =
        parts.iter().filter(|part| ends(&part.what)).map(|part| (part.offset, &part.what)).collect();
    let late = What::End { exact: false };
    assert_eq!(
        told,
        [
            (0, &late),
            (0, &What::Begin),
            (7, &What::MayEnd),
            (7, &late),
            (7, &What::Begin),
            (9, &What::MayEnd),
            (9, &What::Tunnel),
        ]
    );
}

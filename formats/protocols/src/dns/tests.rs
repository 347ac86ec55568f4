mod conversation;
mod secrets;

use conversation::{Conversation, Found, Message, in_every_cut};

use super::*;
use crate::detect;
use crate::parts::{Call, HeadInfo, Part, What};
use crate::protocol::Memory;
use Direction::{Requests, Responses};

fn names(found: &Found) -> Vec<Option<&str>> {
    found.requests.iter().map(|(_, operation)| operation.name.as_deref()).collect()
}

fn targets(found: &Found) -> Vec<Option<&str>> {
    found.requests.iter().map(|(_, operation)| operation.target.as_deref()).collect()
}

#[test]
fn requests_and_answers_tell_their_ids_however_they_are_cut() {
    let asked = [
        Message::asks(7, "www.Example.com", 1).bytes(),
        Message::asks(0x1234, "_sip._tcp.example.com", 33).edns().bytes(),
        Message::asks(65_535, "", 6).bytes(),
        Message::asks(3, "example.com", 65_280).bytes(),
    ];
    // In another order.
    let answered = [
        Message::answers(65_535, "", 6, 0).records(2).bytes(),
        Message::answers(7, "www.Example.com", 1, 0).records(1).edns().bytes(),
        Message::answers(3, "example.com", 65_280, 4).edns().bytes(),
        Message::answers(0x1234, "_sip._tcp.example.com", 33, 3).edns().bytes(),
    ];
    in_every_cut(&[(Requests, asked.concat()), (Responses, answered.concat())], |found, cut| {
        assert_eq!(found.keys(), [Some(7), Some(0x1234), Some(65_535), Some(3)]);
        assert_eq!(names(found), [Some("A"), Some("SRV"), Some("SOA"), None]);
        if !cut {
            let asked =
                [Some("www.example.com"), Some("_sip._tcp.example.com"), Some("."), Some("example.com")];
            assert_eq!(targets(found), asked);
        }
        let answers: Vec<_> = found.answers.iter().map(|info| (info.key, info.status.text)).collect();
        assert_eq!(
            answers,
            [
                (Some(65_535), Some("NOERROR")),
                (Some(7), Some("NOERROR")),
                (Some(3), Some("NOTIMP")),
                (Some(0x1234), Some("NXDOMAIN"))
            ]
        );
        assert!(found.answers.iter().all(|info| !info.goes_on && info.answers.is_none()));
        assert_eq!((found.ends, found.lost), ([4, 4], 0));
    });
}

#[test]
fn a_length_that_comes_alone_begins_a_message() {
    let (asked, answered) = (Message::asks(9, "a.test", 28), Message::answers(9, "a.test", 28, 0));
    let apart = |message: &Message| {
        let bytes = message.bytes();
        [bytes[..2].to_vec(), bytes[2..].to_vec()]
    };
    let [length, rest] = apart(&asked);
    let told = detect::perhaps(&length, true, Some(Requests)).expect("it may be one");
    assert_eq!(told.protocol.name(), "dns");
    let [answer_length, answer] = apart(&answered);
    let calls = [(Requests, length), (Requests, rest), (Responses, answer_length), (Responses, answer)];
    let found = Conversation { calls: [&calls[..], &calls[..]].concat() }.read();
    assert_eq!((targets(&found), found.keys()), (vec![Some("a.test"); 2], vec![Some(9); 2]));
    assert_eq!((found.answers.len(), found.lost), (2, 0));
}

#[test]
fn only_a_whole_question_is_recognised() {
    let recognised = |direction, bytes: &[u8]| Dns.recognise(direction, bytes, false);
    let (asked, answered) = (Message::asks(1, "a.test", 1).edns(), Message::answers(1, "a.test", 1, 2));
    assert_eq!(recognised(Requests, &asked.bytes()), Verdict::Surely);
    assert_eq!(recognised(Responses, &answered.bytes()), Verdict::Surely);
    assert_eq!(recognised(Responses, &asked.bytes()), Verdict::No);
    assert_eq!(recognised(Requests, &answered.bytes()), Verdict::No);
    let bytes = asked.bytes();
    for length in 0..14 + 8 + 4 {
        assert_eq!(recognised(Requests, &bytes[..length]), Verdict::No, "{length}");
    }
    // Everything but the id and a few bits of the flags matters.
    for (at, bits) in (0..14 + 8 + 4).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit))) {
        let mut other = bytes.clone();
        other[at] ^= bits;
        let may_differ = match at {
            // A longer record of EDNS, RD, AD and CD.
            0 | 1 | 4 => true,
            2 | 3 => true,
            5 => bits & 0x30 != 0,
            // Another name, type, class.
            14..=25 => true,
            // IXFR has its version here, and a signature may follow EDNS.
            11 | 13 => true,
            _ => false,
        };
        assert!(may_differ || recognised(Requests, &other) == Verdict::No, "{at} {bits}");
    }
    for text in ["GET / HTTP/1.1\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "\0\u{1}", "\0\0\0\u{8}\u{4}\u{2}", ""] {
        assert_eq!(Dns.recognise(Requests, text.as_bytes(), true), Verdict::No, "{text:?}");
    }
}

#[test]
fn an_answer_of_several_messages_goes_on_until_it_fails_or_the_id_is_asked_again() {
    let part = |id, name, code| Message::answers(id, name, 252, code).records(3).bytes();
    let calls = [
        (Requests, [Message::asks(5, "zone", 252).bytes(), Message::asks(6, "zone", 1).bytes()].concat()),
        (Responses, [part(5, "zone", 0), Message::answers(6, "zone", 1, 0).bytes(), part(5, "", 0)].concat()),
        (Responses, Message::answers(5, "zone", 252, 2).bytes()),
        (Requests, Message::asks(5, "zone", 1).bytes()),
        (Responses, Message::answers(5, "zone", 1, 0).bytes()),
        (Requests, Message::asks(8, "zone", 251).bytes()),
        (Responses, Message::answers(8, "zone", 251, 5).bytes()),
    ];
    in_every_cut(&calls, |found, _| {
        let answers: Vec<_> = found.answers.iter().map(|info| (info.key.unwrap(), info.goes_on)).collect();
        assert_eq!(
            answers,
            [(5, true), (6, false), (5, true), (5, false), (5, false), (8, false)],
            "{:?}",
            found.answers
        );
        assert_eq!((found.ends, found.lost), ([4, 6], 0));
    });
}

#[test]
fn what_is_missing_shifts_nothing() {
    let asked: Vec<_> = (0..6).map(|id| Message::asks(id, "a.long.name.test", 1).edns().bytes()).collect();
    let answered: Vec<_> =
        (0..6).map(|id| Message::answers(id, "a.long.name.test", 1, 0).records(40).bytes()).collect();
    let calls: Vec<_> = asked.into_iter().map(|bytes| (Requests, bytes)).collect();
    for lost in 0..6 {
        for gap in [false, true] {
            let mut conversation = Conversation { calls: calls.clone() };
            conversation.calls.extend(answered.iter().rev().map(|bytes| (Responses, bytes.clone())));
            // Not seen at all, or moved by a call of which nothing is known.
            let found = conversation.read_without(6 + lost, gap);
            let keys: Vec<_> = found.answers.iter().filter_map(|info| info.key).collect();
            let expected: Vec<_> = (0..6u64).rev().filter(|&id| id != 5 - lost as u64).collect();
            assert_eq!((keys, found.ends), (expected, [6, 5]), "{lost}");
            let found = conversation.read_without(lost, gap);
            let expected: Vec<_> = (0..6u64).filter(|&id| id != lost as u64).map(Some).collect();
            // The first one alone shows what is spoken.
            assert_eq!(found.keys(), expected, "{lost}");
        }
    }
}

#[test]
fn of_a_message_whose_question_is_cut_the_id_is_known() {
    let name = "x".repeat(60) + "." + &"y".repeat(60);
    let (first, asked) = (Message::asks(1, "a", 1), Message::asks(2, &name, 1));
    let answered = Message::answers(2, &name, 1, 3).records(2);
    let calls = vec![
        (Requests, first.bytes()),
        (Requests, asked.bytes()),
        (Responses, answered.bytes()),
        (Responses, Message::answers(1, "a", 1, 0).bytes()),
    ];
    let found = Conversation { calls }.read_known(64);
    assert_eq!(found.keys(), [Some(1), Some(2)]);
    assert_eq!((names(&found), targets(&found)), (vec![Some("A"), None], vec![Some("a"), None]));
    let answers: Vec<_> = found.answers.iter().map(|info| (info.key, info.status.text)).collect();
    assert_eq!(answers, [(Some(2), Some("NXDOMAIN")), (Some(1), Some("NOERROR"))]);
    // It may have been a transfer; its answer is none of a transfer.
    assert!(found.answers.iter().all(|info| !info.goes_on));
    assert_eq!((found.ends, found.lost), ([2, 2], 0));
}

#[test]
fn a_status_of_edns_is_read_where_it_is_and_unknown_where_it_may_be() {
    let status = |message: &Message| head::status(&message.bytes()).text;
    let answer = |code| Message::answers(1, "a.test", 1, code);
    assert_eq!(status(&answer(0).edns()), Some("NOERROR"));
    assert_eq!(status(&answer(0).extended(1)), Some("BADVERS"));
    assert_eq!(status(&answer(7).extended(1)), Some("BADCOOKIE"));
    assert_eq!(status(&answer(0).records(1).edns()), Some("NOERROR"));
    let (ask, bytes) = (Message::asks(1, "a.test", 1).edns(), answer(0).extended(1).bytes());
    // All of the answer, and without its end.
    for (known, expected) in [(bytes.len(), Some("BADVERS")), (28, None)] {
        let calls = vec![(Requests, ask.bytes()), (Responses, bytes.clone())];
        let found = Conversation { calls }.read_known_of(Responses, known);
        assert_eq!(found.answers.iter().map(|info| info.status.text).collect::<Vec<_>>(), [expected]);
    }
    in_every_cut(&[(Requests, ask.bytes()), (Responses, bytes)], |found, _| {
        assert_eq!(
            found.answers[0].status,
            Status { code: Some(16), text: Some("BADVERS"), ..Status::default() }
        );
    });
}

#[test]
fn messages_that_ask_nothing_and_answer_nothing_are_none() {
    let session = |id| Message { opcode: codes::DSO, questions: 0, ..Message::asks(id, "", 1) };
    let pushed = session(0).bytes();
    let calls = [
        (Requests, [Message::asks(4, "a", 1).bytes(), session(0).bytes(), session(5).bytes()].concat()),
        (Responses, [pushed, Message::answers(4, "a", 1, 0).bytes()].concat()),
    ];
    in_every_cut(&calls, |found, _| {
        assert_eq!(names(found), [Some("A"), Some("DSO"), Some("DSO")]);
        assert_eq!((found.keys(), &found.unanswered), (vec![Some(4), None, Some(5)], &vec![1]));
        assert_eq!((found.answers.len(), found.lost), (1, 0));
    });
}

#[test]
fn changes_of_zones_are_named() {
    let of = |opcode, kind| Message { opcode, ..Message::asks(1, "zone.test", kind) };
    for (opcode, name) in [(codes::NOTIFY, "NOTIFY"), (codes::UPDATE, "UPDATE")] {
        let bytes = of(opcode, codes::SOA).bytes();
        assert_eq!(Dns.recognise(Requests, &bytes, false), Verdict::Surely);
        assert_eq!(Dns.recognise(Requests, &of(opcode, 1).bytes(), false), Verdict::No);
        let operation = Dns.read(Requests, &bytes, &Operation::default());
        assert_eq!((operation.name.as_deref(), operation.title.as_deref()), (Some(name), Some(name)));
        assert_eq!(operation.target.as_deref(), Some("zone.test"));
    }
}

#[test]
fn other_bytes_are_lost_and_the_next_message_is_read() {
    let found = Conversation {
        calls: vec![
            (Requests, Message::asks(1, "a", 1).bytes()),
            // Shorter than any message.
            (Requests, b"\0\x05hello".to_vec()),
            (Requests, b"\0\x30not a message, however long it may be".to_vec()),
            (Requests, Message::asks(2, "b", 1).bytes()),
            (Responses, Message::answers(2, "b", 1, 0).bytes()),
        ],
    }
    .read();
    assert_eq!((found.keys(), found.answers.len()), (vec![Some(1), Some(2)], 1));
    assert_eq!(found.lost, 7 + 39);
}

#[test]
fn failed_is_who_could_not_answer_or_would_not() {
    let failed = (0..24).filter(|&code| {
        let status = Status { code: Some(code), text: codes::rcode(code), ..Status::default() };
        Dns.failed(status)
    });
    assert_eq!(failed.collect::<Vec<_>>(), [2, 4, 5, 9]);
}

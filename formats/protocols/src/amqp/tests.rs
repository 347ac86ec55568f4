//! Conversations of bytes built here.

use super::*;
use crate::testing::{self, Reader};
use crate::{PROTOCOLS, Status};
use Direction::{Requests, Responses};

/// What must never be kept.
const SECRET: &str = "hunter2";

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let start = [&[kind][..], &channel.to_be_bytes(), &(payload.len() as u32).to_be_bytes()].concat();
    [&start[..], payload, &[0xce]].concat()
}

fn method(channel: u16, class: u16, id: u16, arguments: &[&[u8]]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes()[..], &id.to_be_bytes(), &arguments.concat()].concat())
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// The frames of a message: its method, its header, its body.
fn message(method: Vec<u8>, channel: u16, body: &[&str]) -> Vec<Vec<u8>> {
    let size = body.concat().len() as u64;
    let header = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0x80, 0], &text(SECRET)].concat();
    let bodies = body.iter().map(|part| frame(3, channel, part.as_bytes()));
    [method, frame(2, channel, &header)].into_iter().chain(bodies).collect()
}

fn publish(channel: u16, exchange: &str, key: &str, body: &[&str]) -> Vec<Vec<u8>> {
    message(method(channel, 60, 40, &[&[0, 0], &text(exchange), &text(key), &[0]]), channel, body)
}

fn deliver(channel: u16, key: &str, body: &[&str]) -> Vec<Vec<u8>> {
    let arguments = [&text(SECRET)[..], &[0, 0, 0, 0, 0, 0, 0, 1, 0], &text(""), &text(key)];
    message(method(channel, 60, 60, &arguments), channel, body)
}

fn settle(channel: u16, id: u16, tag: u64, multiple: bool) -> Vec<u8> {
    method(channel, 60, id, &[&tag.to_be_bytes(), &[u8::from(multiple)]])
}

fn close(channel: u16, class: u16, id: u16, code: u16, failed: [u16; 2]) -> Vec<u8> {
    let failed = failed.map(u16::to_be_bytes).concat();
    method(channel, class, id, &[&code.to_be_bytes(), &text(SECRET), &failed])
}

fn declare(channel: u16, queue: &str, bits: u8) -> Vec<u8> {
    method(channel, 50, 10, &[&[0, 0], &text(queue), &[bits], &[0, 0, 0, 8], SECRET.as_bytes(), b"!"])
}

fn ok(channel: u16, class: u16, id: u16) -> Vec<u8> {
    method(channel, class, id, &[])
}

fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let login = ["PLAIN", SECRET].map(text).concat();
    let open = [ok(1, 20, 10), ok(2, 20, 10)].concat();
    let mut first = publish(1, "events", "order.paid", &[SECRET, SECRET]);
    let mut second = publish(2, "", "jobs", &[SECRET]);
    let interleaved = [
        first.remove(0),
        second.remove(0),
        second.remove(0),
        first.remove(0),
        first.remove(0),
        second.remove(0),
    ];
    let got = [&[0; 8][..], &[0], &text("events"), &text("order.paid"), &[0, 0, 0, 0]].concat();
    let got = message(method(2, 60, 71, &[&got]), 2, &[SECRET, SECRET]);
    let delivered = deliver(2, "jobs", &[SECRET, SECRET]);
    let returned = method(1, 60, 50, &[&[1, 56], &text(SECRET), &text("events"), &text("nobody")]);
    let bind = [&[0, 0][..], &text("jobs"), &text("events"), &text("order.*"), &[1], &[0; 4]];
    vec![
        (Requests, b"AMQP\0\0\x09\x01".to_vec()),
        (Responses, method(0, 10, 10, &[&[0, 9], SECRET.as_bytes()])),
        (Requests, method(0, 10, 11, &[SECRET.as_bytes(), &login])),
        (Responses, method(0, 10, 30, &[&[0; 8]])),
        (Requests, [method(0, 10, 31, &[&[0; 8]]), method(0, 10, 40, &[&text("/"), &[0, 0]])].concat()),
        (Responses, ok(0, 10, 41)),
        (Requests, open),
        (Responses, [ok(2, 20, 11), ok(1, 20, 11)].concat()),
        (Requests, [ok(1, 85, 10), declare(2, "jobs", 0), declare(1, "a b", 16)].concat()),
        (Responses, [declared(2), ok(1, 85, 11)].concat()),
        (Requests, interleaved.concat()),
        (Requests, first.concat()),
        (Requests, publish(1, "events", "nobody", &[]).concat()),
        (Requests, publish(1, "events", "order.paid", &[SECRET]).concat()),
        (Responses, [message(returned, 1, &[SECRET]).concat(), settle(1, 80, 2, true)].concat()),
        (Responses, [settle(1, 120, 3, false), frame(8, 0, &[])].concat()),
        (Requests, method(2, 60, 20, &[&[0, 0], &text("jobs"), &text(SECRET), &[0], &[0; 4]])),
        (
            Responses,
            [ok(2, 60, 21), delivered[0].clone(), delivered[1].clone(), delivered[2].clone()].concat(),
        ),
        (Responses, [declared(9), delivered[3].clone()].concat()),
        (Requests, [settle(2, 80, 1, false), method(2, 60, 70, &[&[0, 0], &text("jobs"), &[0]])].concat()),
        (Responses, got[..3].concat()),
        (Responses, got[3].clone()),
        (Requests, [method(2, 60, 70, &[&[0, 0], &text("jobs"), &[0]]), method(2, 50, 20, &bind)].concat()),
        (Responses, ok(2, 60, 72)),
        (Requests, [publish(1, "events", "x", &[]).concat(), declare(1, "gone", 1)].concat()),
        (Responses, close(1, 20, 40, 404, [50, 10])),
        (Requests, ok(1, 20, 41)),
        (Responses, method(2, 60, 30, &[&text(SECRET), &[1]])),
        (Requests, close(0, 10, 50, 200, [0, 0])),
        (Responses, ok(0, 10, 51)),
    ]
}

fn declared(channel: u16) -> Vec<u8> {
    method(channel, 50, 11, &[&text("jobs"), &[0; 8]])
}

fn rows(reader: &Reader) -> Vec<String> {
    let row = |e: &testing::Exchange| {
        let end = match (e.end, e.cancelled, e.one_way) {
            (Some(end), None, false) => format!("answered {end}"),
            (None, Some(by), false) => format!("given up by {by:?}"),
            (None, None, true) => "one-way".to_owned(),
            (None, None, false) => "open".to_owned(),
            other => format!("{other:?}"),
        };
        let Status { code, text, failed } = e.status;
        let status = if failed { format!(" {code:?} {text:?}") } else { String::new() };
        let turned = if e.turned { "server: " } else { "" };
        let target = e.operation.target.as_deref().unwrap_or("-");
        format!("{turned}{} {target} {} {end}{status}", e.operation.name.as_deref().unwrap_or("-"), e.start)
    };
    reader.exchanges().iter().map(row).collect()
}

#[test]
fn methods_and_messages_make_exchanges() {
    let reader = testing::read(&Amqp, &conversation(), &[]);
    let expected = [
        "connection.open - 4 answered 5",
        "channel.open - 6 answered 7",
        "channel.open - 6 answered 7",
        "confirm.select - 8 answered 9",
        "queue.declare jobs 8 answered 9",
        "queue.declare - 8 one-way",
        "basic.publish events 10 answered 14",
        "basic.publish jobs 10 one-way",
        "basic.publish events 12 answered 14",
        "basic.publish events 13 answered 15 None Some(\"NACK\")",
        "server: basic.return events 14 one-way",
        "basic.consume jobs 16 answered 17",
        "server: basic.deliver jobs 17 one-way",
        "basic.get jobs 19 answered 21",
        "basic.get jobs 22 answered 23",
        "queue.bind jobs 22 one-way",
        "basic.publish events 24 given up by Responses",
        "queue.declare gone 24 answered 25 Some(404) Some(\"NOT_FOUND\")",
        "server: channel.close - 25 answered 26 Some(404) Some(\"NOT_FOUND\")",
        "server: basic.cancel - 27 one-way",
        "connection.close - 28 answered 29",
    ];
    assert_eq!(rows(&reader), expected);
    assert_eq!(reader.lost_bytes, 0);
    let asked = |exchange: usize| reader.exchanges()[exchange].asked;
    assert_eq!([asked(6), asked(7), asked(12)], [Some(11), Some(10), Some(18)]);
    let [first, second] = [&reader.exchanges()[6], &reader.exchanges()[7]];
    let bytes = |frames: Vec<Vec<u8>>| frames.concat().len() as u64;
    assert_eq!(first.request_bytes, bytes(publish(1, "events", "order.paid", &[SECRET, SECRET])));
    assert_eq!(second.request_bytes, bytes(publish(2, "", "jobs", &[SECRET])));
    let key = "messaging.rabbitmq.destination.routing_key";
    assert_eq!(first.operation.text(key).map(|key| &**key), Some("order.paid"));
    assert_eq!(first.operation.title.as_deref(), Some("basic.publish events"));
}

#[test]
fn any_cut_gives_the_same_and_keeps_no_secret() {
    let conversation = conversation();
    testing::check_any_cut(&Amqp, &conversation);
    testing::check_stored(&Amqp, &conversation);
    for cuts in [&[][..], &[1], &[9], &[64, 3], &[1000]] {
        for (_, kept) in testing::read(&Amqp, &conversation, cuts).kept() {
            let kept = String::from_utf8_lossy(&kept);
            for part in ["hunt", "unter2", "nter", "a b", "PLAIN"] {
                assert!(!kept.contains(part), "{cuts:?}: {kept}");
            }
        }
    }
}

#[test]
fn a_closed_connection_answers_what_was_wrong() {
    let conversation = [
        (Requests, [ok(1, 20, 10), ok(2, 20, 10), declare(1, "jobs", 0)].concat()),
        (Responses, close(0, 10, 50, 530, [20, 10])),
        (Requests, ok(0, 10, 51)),
    ];
    let expected = [
        "channel.open - 0 answered 1 Some(530) Some(\"NOT_ALLOWED\")",
        "channel.open - 0 answered 1 Some(530) Some(\"NOT_ALLOWED\")",
        "queue.declare jobs 0 given up by Responses",
        "server: connection.close - 1 answered 2 Some(530) Some(\"NOT_ALLOWED\")",
    ];
    assert_eq!(rows(&testing::read(&Amqp, &conversation, &[])), expected);
}

#[test]
fn nothing_is_invented_after_a_loss() {
    let mut reader = Reader::new(&Amqp, None);
    reader.call(Requests, b"AMQP\0\0\x09\x01", 0);
    reader.call(Requests, &[ok(1, 20, 10), ok(1, 85, 10)].concat(), 1);
    reader.call(Responses, &[ok(1, 20, 11), ok(1, 85, 11)].concat(), 2);
    reader.call(Requests, &publish(1, "", "jobs", &["a"]).concat(), 3);
    // Any number of messages.
    reader.gap(Requests, 5000, 4);
    reader.call(Requests, b"in the middle of something", 5);
    reader.call(Requests, &publish(1, "", "jobs", &["b"]).concat(), 6);
    reader.call(Responses, &settle(1, 80, 1, false), 7);
    reader.call(Responses, &settle(1, 80, 9, true), 8);
    // An answer was among what was lost: who never asks ahead has got it.
    reader.call(Requests, &declare(1, "jobs", 0), 9);
    reader.gap(Responses, 30, 10);
    reader.call(Requests, &declare(1, "jobs", 0), 11);
    reader.call(Responses, &declared(1), 12);
    // Who asks ahead may still wait for it.
    reader.call(Requests, &[declare(1, "jobs", 0), declare(1, "jobs", 0)].concat(), 13);
    reader.call(Responses, &declared(1), 14);
    reader.gap(Responses, 30, 15);
    reader.call(Requests, &declare(1, "jobs", 0), 16);
    reader.call(Responses, &declared(1), 17);
    let expected = [
        "channel.open - 1 answered 2",
        "confirm.select - 1 answered 2",
        "basic.publish jobs 3 answered 7",
        "basic.publish jobs 6 one-way",
        "queue.declare jobs 9 open",
        "queue.declare jobs 11 answered 12",
        "queue.declare jobs 13 answered 14",
        "queue.declare jobs 13 open",
        "queue.declare jobs 16 open",
    ];
    assert_eq!(rows(&reader), expected);
}

#[test]
fn what_is_cut_off_is_not_guessed() {
    let mut reader = Reader::new(&Amqp, None);
    let mut send = |direction, frame: &[u8], known: usize| {
        reader.call(direction, &frame[..known], 0);
        reader.gap(direction, (frame.len() - known) as u64, 0);
    };
    send(Requests, b"AMQP\0\0\x09\x01", 8);
    send(Requests, &ok(1, 20, 10), 12);
    send(Responses, &ok(1, 20, 11), 12);
    // Whether it waits is not known, until another one has got an answer.
    send(Requests, &declare(1, "jobs", 16), 15);
    send(Requests, &method(1, 60, 10, &[&[0; 7]]), 11);
    send(Responses, &ok(1, 60, 11), 11);
    send(Requests, &publish(1, "", "jobs", &["some body"]).concat(), 20);
    let expected = [
        "channel.open - 0 answered 0",
        "queue.declare - 0 one-way",
        "basic.qos - 0 answered 0",
        "basic.publish jobs 0 one-way",
    ];
    let rows = rows(&reader);
    assert_eq!(rows[..3], expected[..3]);
}

#[test]
fn is_recognised_in_the_middle_by_methods_of_one_side() {
    for (direction, bytes) in conversation() {
        let both =
            [ok(1, 20, 41), close(1, 20, 40, 404, [50, 10]), close(0, 10, 50, 200, [0, 0]), ok(0, 10, 51)];
        let tells = bytes.starts_with(b"A") || bytes[0] == 1 && !both.contains(&bytes) && bytes.len() > 30;
        for fresh in [false, true] {
            let verdict = Amqp.recognise(direction, &bytes, fresh);
            assert!(verdict == Verdict::Surely || !tells || verdict == Verdict::No, "{bytes:?}");
            for other in PROTOCOLS.iter().filter(|other| other.name() != "amqp") {
                let verdict = other.recognise(direction, &bytes, fresh);
                assert!(verdict < Verdict::Surely, "{} {bytes:?}", other.name());
            }
        }
    }
    let jobs = publish(3, "", "jobs", &[SECRET]);
    let verdict = |direction, bytes: &[u8]| Amqp.recognise(direction, bytes, false);
    assert_eq!(verdict(Requests, &jobs.concat()), Verdict::Surely);
    assert_eq!(verdict(Requests, &jobs.concat()[..40]), Verdict::Surely);
    assert_eq!(verdict(Responses, &jobs.concat()), Verdict::No);
    assert_eq!(verdict(Responses, &deliver(3, "jobs", &[SECRET]).concat()), Verdict::Surely);
    assert_eq!(verdict(Requests, &[settle(1, 80, 1, false), ok(1, 20, 10)].concat()), Verdict::Surely);
    // Both sides settle, close, and send what is in messages.
    for bytes in
        [settle(1, 80, 1, false), ok(1, 20, 41), jobs[1].clone(), frame(8, 0, &[]), jobs[0][..12].to_vec()]
    {
        assert_eq!([Requests, Responses].map(|way| verdict(way, &bytes)), [Verdict::No; 2], "{bytes:?}");
    }
    assert_eq!(Amqp.recognise(Requests, b"AMQ", true), Verdict::Maybe);
}

#[test]
fn version_1_and_others_are_not_it() {
    let others: [&[u8]; 8] = [
        b"AMQP\0\x01\0\0",
        b"AMQP\x03\x01\0\0",
        b"AMQP\x01\x01\0\x0a",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        &[0; 64],
        &[1; 64],
    ];
    for bytes in others {
        for direction in [Requests, Responses] {
            assert_eq!(Amqp.recognise(direction, bytes, true), Verdict::No, "{bytes:?}");
        }
    }
    let mut reader = Reader::new(&Amqp, None);
    reader.call(Requests, b"AMQP\x03\x01\0\0", 0);
    reader.call(Requests, &ok(1, 20, 10), 1);
    assert_eq!(reader.exchanges(), []);
}

#[test]
fn a_frame_without_its_end_is_none() {
    let mut reader = Reader::new(&Amqp, None);
    let mut wrong = declare(1, "jobs", 0);
    *wrong.last_mut().unwrap() = 0;
    reader.call(Requests, &[wrong, declare(1, "jobs", 0)].concat(), 0);
    reader.call(Requests, &declare(2, "mail", 0), 1);
    assert_eq!(rows(&reader), ["queue.declare mail 1 open"]);
}

//! Message heads longer than the snap length: read on up to their end, however they are moved.

use crate::kernel_support::{self, Event, Pair, Recording, only, own_sockets, turn};
use retrospan_formats::event::{Kind, MAX_HEAD_BYTES};
use retrospan_recorder::pipeline::losses::without_room;
use std::io::{IoSlice, Read, Write};

const SNAP: usize = 1024;

/// A head of exactly so many bytes, without a long line or with a long target.
fn head(bytes: usize, start: &str) -> Vec<u8> {
    let mut text = format!("{start}\r\n").into_bytes();
    let mut line = 0;
    while text.len() + 4 + 60 < bytes {
        text.extend_from_slice(format!("X-{line:04}: {:a>40}\r\n", "").as_bytes());
        line += 1;
    }
    let left = bytes - text.len() - 2;
    if left > 5 {
        text.extend_from_slice(format!("Y: {:b>1$}\r\n", "", left - 5).as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// Data to be sent and received in pieces of at most so many bytes.
struct Move {
    data: Vec<u8>,
    sent_in: usize,
    received_in: usize,
}

impl Move {
    fn whole(data: Vec<u8>) -> Move {
        Move { data, sent_in: usize::MAX, received_in: 1 << 20 }
    }
}

/// What the sends and receives of each were recorded with, one connection each.
fn moved(moves: &[Move]) -> Option<Vec<[Vec<Event>; 2]>> {
    let recording = Recording::start(&own_sockets())?;
    let mut ends = Vec::new();
    for Move { data, sent_in, received_in } in moves {
        let mut pair = Pair::open();
        pair.client.set_nodelay(true).expect("an option");
        data.chunks((*sent_in).min(data.len())).for_each(|piece| pair.client.write_all(piece).expect("send"));
        let mut left = data.len();
        let mut room = vec![0; *received_in];
        while left > 0 {
            let most = left.min(*received_in);
            left -= pair.server.read(&mut room[..most]).expect("receive");
        }
        ends.push(pair.sockets());
    }
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().all(|counters| without_room(counters) == 0), "a ring was full: {losses:?}");
    let events = |ends: &kernel_support::Ends| {
        [only(&ends.client_calls(&records), Kind::Send), only(&ends.server_calls(&records), Kind::Receive)]
    };
    Some(ends.iter().map(events).collect())
}

/// The bytes of a head that these calls were recorded with: all of each call but the last, or the head is cut.
fn recorded(events: &[Event]) -> Vec<u8> {
    let mut all = Vec::new();
    for event in events {
        all.extend_from_slice(&event.head);
        all.extend_from_slice(&event.more);
        if event.head.len() + event.more.len() < event.call.done_bytes as usize {
            break;
        }
    }
    all
}

#[test]
fn a_long_head_is_read_to_its_end_and_no_further() {
    let _turn = turn();
    let mut cases = Vec::new();
    for start in ["GET / HTTP/1.1", "HTTP/1.1 200 OK", "a-b /x HTTP/1.0"] {
        for bytes in [1017, 1024, 1025, 1146, 2047, 2048, 2049, 4097, 10_000, 16_000, MAX_HEAD_BYTES] {
            for body in [0, 2, 30_000] {
                cases.push((bytes, Move::whole([head(bytes, start), vec![b'x'; body]].concat())));
            }
        }
    }
    let (lengths, moves): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let Some(events) = moved(&moves) else { return };
    for ((bytes, Move { data, .. }), [sent, received]) in lengths.into_iter().zip(&moves).zip(events) {
        assert!(head_bytes_are_right(bytes), "{bytes}");
        let stored = if data.len() > SNAP { SNAP.min(data.len() - 8) } else { data.len() };
        assert_eq!(sent[0].head, data[..stored], "{bytes} of {}", data.len());
        assert!(recorded(&sent) == data[..stored.max(bytes)], "{bytes} of {}", data.len());
        if let [whole] = received.as_slice() {
            assert!(recorded(&received) == data[..stored.max(bytes)], "{bytes} of {}", data.len());
            assert_eq!(whole.more.len(), bytes.saturating_sub(stored));
        }
    }
}

fn head_bytes_are_right(bytes: usize) -> bool {
    let head = head(bytes, "GET / HTTP/1.1");
    head.len() == bytes && head.ends_with(b"\r\n\r\n")
}

#[test]
fn a_head_beyond_the_budget_is_cut() {
    let _turn = turn();
    let Some(events) = moved(&[Move::whole(head(20_000, "GET / HTTP/1.1"))]) else { return };
    assert_eq!(recorded(&events[0][0]).len(), MAX_HEAD_BYTES);
}

#[test]
fn a_long_head_is_read_in_whatever_pieces_it_is_moved() {
    let _turn = turn();
    let mut cases = Vec::new();
    for bytes in [1025, 2500] {
        let data = [head(bytes, "POST /x HTTP/1.1"), vec![b'x'; 500]].concat();
        for (sent_in, received_in) in [(1, 512), (3, 100), (700, 1), (1024, 1024), (4000, 77)] {
            cases.push((bytes, Move { data: data.clone(), sent_in, received_in }));
        }
    }
    let (lengths, moves): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let Some(events) = moved(&moves) else { return };
    for ((bytes, Move { data, sent_in, received_in }), events) in lengths.into_iter().zip(&moves).zip(events)
    {
        for events in events {
            let found = recorded(&events);
            let sizes = |event: &Event| (event.call.done_bytes, event.head.len(), event.more.len());
            let calls: Vec<_> = events.iter().map(sizes).collect();
            assert!(
                found.len() >= bytes && found == data[..found.len()],
                "{bytes} {sent_in} {received_in}: bytes, head and more of each call: {calls:?}"
            );
            let more: usize = events.iter().map(|event| event.more.len()).sum();
            assert!(more <= bytes, "no body: {more} of {bytes}, {sent_in} {received_in}");
        }
    }
}

#[test]
fn a_long_head_is_read_from_many_buffers() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let data = [head(9000, "GET /x HTTP/1.1"), vec![b'x'; 50]].concat();
    let mut ends = Vec::new();
    for piece in [10, 50, 333, 2000] {
        let mut pair = Pair::open();
        let slices: Vec<_> = data.chunks(piece).map(IoSlice::new).collect();
        assert_eq!(pair.client.write_vectored(&slices).expect("send"), data.len());
        ends.push(pair.sockets());
    }
    let (records, ..) = recording.finish();
    for ends in ends {
        let sent = only(&ends.client_calls(&records), Kind::Send);
        assert!(recorded(&sent) == data[..9000], "{}", recorded(&sent).len());
    }
}

#[test]
fn a_start_line_longer_than_the_snap_length_is_read_on() {
    let _turn = turn();
    let start = format!("GET /{} HTTP/1.1", "p".repeat(3000));
    let data = [head(5000, &start), vec![b'x'; 500]].concat();
    let preface = b"PROXY TCP4 127.0.0.1 127.0.0.1 1234 80\r\n";
    let proxied = [preface.as_slice(), &data].concat();
    let Some(events) = moved(&[Move::whole(data.clone()), Move::whole(proxied.clone())]) else { return };
    assert!(recorded(&events[0][0]) == data[..5000]);
    assert!(recorded(&events[1][0]) == proxied[..5000 + preface.len()]);
}

#[test]
fn what_is_no_head_is_not_read_on() {
    let _turn = turn();
    let text = "The quick brown fox jumps over it.\n".repeat(1000);
    let words = "word /with a slash and no version\n".repeat(1000);
    let long_word = "a".repeat(30_000);
    let texts = [text.as_bytes(), words.as_bytes(), long_word.as_bytes(), &[0x16; 30_000]];
    let Some(events) = moved(&texts.map(|text| Move::whole(text.to_vec()))) else { return };
    for [sent, _] in events {
        assert_eq!((sent[0].head.len(), sent[0].more.len()), (SNAP, 0));
    }
}

#[test]
fn heads_in_both_directions_do_not_disturb_each_other() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let mut pair = Pair::open();
    let (request, answer) = (head(3000, "GET /x HTTP/1.1"), head(3000, "HTTP/1.1 400 Bad Request"));
    let mut room = vec![0; 3000];
    for (from, to) in [(0, 1500), (1500, 3000)] {
        pair.client.write_all(&request[from..to]).expect("send");
        pair.server.read_exact(&mut room[from..to]).expect("receive");
        pair.server.write_all(&answer[from..to]).expect("send");
        pair.client.read_exact(&mut room[from..to]).expect("receive");
    }
    let ends = pair.sockets();
    drop(pair);
    let (records, ..) = recording.finish();
    for (events, whole) in [
        (only(&ends.client_calls(&records), Kind::Send), &request),
        (only(&ends.server_calls(&records), Kind::Receive), &request),
        (only(&ends.server_calls(&records), Kind::Send), &answer),
        (only(&ends.client_calls(&records), Kind::Receive), &answer),
    ] {
        assert!(recorded(&events) == **whole);
    }
}

/// A chunked body with chunks of these many bytes, chunk extensions and a trailer field.
fn chunked(sizes: &[usize]) -> Vec<u8> {
    let mut body = Vec::new();
    for size in sizes {
        body.extend_from_slice(format!("{size:X};e=1\r\n{:q>size$}\r\n", "").as_bytes());
    }
    body.extend_from_slice(b"0\r\nX-Sum: abc\r\n\r\n");
    body
}

#[test]
fn chunk_sizes_behind_a_head_are_read_as_far_as_the_budget_goes() {
    let _turn = turn();
    let body = chunked(&[700, 3, 2000, 16, 5000]);
    let mut moves = Vec::new();
    for bytes in [48, 1010, 1024, 1500] {
        moves.push(Move::whole([head(bytes, "POST / HTTP/1.1"), body.clone()].concat()));
        let answer = [head(bytes, "HTTP/1.1 200 OK"), body.clone()].concat();
        for (sent_in, received_in) in [(bytes, 1 << 20), (usize::MAX, bytes), (400, 2000)] {
            moves.push(Move { data: answer.clone(), sent_in, received_in });
        }
    }
    let Some(events) = moved(&moves) else { return };
    for (Move { data, sent_in, received_in }, events) in moves.iter().zip(events) {
        for events in events {
            assert!(recorded(&events) == *data, "{} in {sent_in} and {received_in}", data.len());
        }
    }
}

#[test]
fn what_begins_like_chunks_is_read_no_further_than_the_budget() {
    let _turn = turn();
    let text = "404 page not found, and why: ".repeat(2000);
    let data = [head(500, "HTTP/1.1 404 Not Found"), text.into_bytes()].concat();
    let Some(events) = moved(&[Move::whole(data.clone()), Move { data, sent_in: 900, received_in: 700 }])
    else {
        return;
    };
    for events in events.iter().flatten() {
        let read: usize = events.iter().map(|event| event.more.len()).sum();
        assert!(read <= MAX_HEAD_BYTES, "{read}");
    }
}

/// A call within a chunk that holds but a few letters may look like the begin of a method.
#[test]
fn chunk_sizes_are_read_behind_calls_that_might_begin_a_request() {
    let _turn = turn();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (few, many) = ([b'q'; 700], [b'q'; 2000]);
    let data = [&head[..], b"2bc\r\n", &few, b"\r\n7d0\r\n", &many, b"\r\n0\r\n\r\n"].concat();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let moved = |letters: usize| {
        let mut pair = Pair::open();
        pair.client.set_nodelay(true).expect("an option");
        let (first, rest) = data.split_at(head.len() + 20);
        let (second, rest) = rest.split_at(letters);
        [first, second, rest].into_iter().for_each(|piece| pair.client.write_all(piece).expect("send"));
        pair.server.read_exact(&mut vec![0; data.len()]).expect("receive");
        pair.sockets()
    };
    let letters = [1, 7, 8, 22, 31, 40];
    let ends = letters.map(moved);
    let (records, losses, _) = recording.finish();
    assert!(losses.iter().all(|counters| without_room(counters) == 0), "a ring was full: {losses:?}");
    for (letters, ends) in letters.into_iter().zip(&ends) {
        let sent = only(&ends.client_calls(&records), Kind::Send);
        assert_eq!(recorded(&sent).len(), data.len(), "behind {letters} letters");
        assert!(recorded(&sent) == data, "behind {letters} letters");
    }
}

//! Which bytes of the data are kept.

use crate::kernel_support::{Event, Pair, Recording, only, own_sockets, turn};
use retrospan_formats::event::{Kind, flags};
use std::io::{IoSlice, Read, Write};

/// Sends each piece with one call and returns the events of the sends.
fn sends_of(snap_bytes: u32, pieces: &[Vec<u8>]) -> Option<Vec<Event>> {
    let recording = Recording::start(&probes_options(snap_bytes))?;
    let mut pair = Pair::open();
    for piece in pieces {
        pair.client.write_all(piece).expect("send");
        pair.server.read_exact(&mut vec![0; piece.len()]).expect("receive");
    }
    let ends = pair.sockets();
    drop(pair);
    let (records, ..) = recording.finish();
    let sent = only(&ends.client_calls(&records), Kind::Send);
    assert_eq!(sent.len(), pieces.len());
    Some(sent)
}

fn probes_options(snap_bytes: u32) -> retrospan_recorder::kernel::Options {
    retrospan_recorder::kernel::Options { snap_bytes, ..own_sockets() }
}

/// Bytes that differ from their neighbours and begin no message.
fn filler(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

#[test]
fn the_first_bytes_after_a_turn_are_kept_over_several_calls() {
    let _turn = turn();
    let pieces = [filler(500), filler(400), filler(400), filler(400)];
    let Some(sent) = sends_of(1024, &pieces) else { return };
    assert_eq!(sent.iter().map(|event| event.head.len()).collect::<Vec<_>>(), [500, 400, 124, 64]);
    assert_eq!(
        sent.iter().map(|event| event.has(flags::TURN)).collect::<Vec<_>>(),
        [true, false, false, false]
    );
    for (event, piece) in sent.iter().zip(&pieces) {
        assert_eq!(event.head, piece[..event.head.len()]);
    }
    for event in &sent[2..] {
        assert_eq!(event.tail, pieces[3][392..]);
        assert!(event.has(flags::PAYLOAD_CUT) && event.has(flags::PAYLOAD_TAIL));
    }
    assert!(!sent[0].has(flags::PAYLOAD_CUT) && sent[0].tail.is_empty());
}

#[test]
fn a_message_head_is_kept_without_a_turn() {
    let _turn = turn();
    let head = |start: &str| [start.as_bytes(), &filler(900)].concat();
    let pieces = [
        filler(2000),
        filler(100),
        head("GET / HTTP/1.1\r\n"),
        head("HTTP/1.1 103"),
        head("NOTHING "),
        filler(3000),
    ];
    let Some(sent) = sends_of(1024, &pieces) else { return };
    assert_eq!(sent.iter().map(|event| event.head.len()).collect::<Vec<_>>(), [1024, 64, 916, 912, 112, 64]);
    assert_eq!(sent[1].tail, pieces[1][92..]);
    for (event, piece) in sent.iter().zip(&pieces) {
        assert_eq!(event.head, piece[..event.head.len()]);
    }
}

#[test]
fn each_class_of_record_holds_what_it_should() {
    let _turn = turn();
    let sizes = [1, 127, 128, 129, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 4104, 4105, 60_000];
    let pieces: Vec<Vec<u8>> =
        sizes.iter().map(|&size| [b"GET /", filler(size).as_slice()].concat()[..size].to_vec()).collect();
    let Some(sent) = sends_of(4096, &pieces) else { return };
    for (event, piece) in sent.iter().zip(&pieces) {
        let kept = event.head.len() + event.tail.len();
        assert_eq!(event.head, piece[..event.head.len()]);
        assert_eq!(event.tail, piece[piece.len() - event.tail.len()..]);
        assert_eq!(event.has(flags::PAYLOAD_CUT), kept < piece.len());
        if piece.len() > 4104 {
            assert_eq!((event.head.len(), event.tail.len()), (4096, 8));
        } else if piece.len() > 5 {
            assert_eq!(kept, piece.len());
        }
    }
}

#[test]
fn nothing_is_kept_where_nothing_is_wanted() {
    let _turn = turn();
    let Some(sent) = sends_of(0, &[filler(500), b"GET / HTTP/1.1\r\n\r\n".to_vec()]) else { return };
    for event in sent {
        assert_eq!((event.head.len(), event.tail.len()), (0, 0));
        assert!(event.has(flags::PAYLOAD_CUT) && !event.has(flags::LENGTH_ONLY));
    }
}

#[test]
fn many_buffers_are_gathered_in_order() {
    let _turn = turn();
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let mut pair = Pair::open();
    let data = filler(3000);
    let pieces = |sizes: &[usize]| {
        let mut rest = data.as_slice();
        let mut slices = Vec::new();
        for &size in sizes {
            let (piece, after) = rest.split_at(size);
            slices.push(IoSlice::new(piece));
            rest = after;
        }
        slices
    };
    // Ten empty and forty short ones; a long one that takes several steps; a tail spread over four.
    let many = [vec![0; 10], vec![5; 40], vec![700]].concat();
    let spread = vec![2000, 3, 0, 2, 2, 1];
    for sizes in [&many, &spread] {
        let total: usize = sizes.iter().sum();
        assert_eq!(pair.client.write_vectored(&pieces(sizes)).expect("send"), total);
        let mut one = vec![0; 7];
        let mut other = vec![0; total - 7];
        let mut into = [std::io::IoSliceMut::new(&mut one), std::io::IoSliceMut::new(&mut other)];
        assert_eq!(pair.server.read_vectored(&mut into).expect("receive"), total);
    }
    let ends = pair.sockets();
    drop(pair);
    let (records, ..) = recording.finish();
    for events in
        [only(&ends.client_calls(&records), Kind::Send), only(&ends.server_calls(&records), Kind::Receive)]
    {
        assert_eq!((events[0].call.asked_bytes, events[0].call.done_bytes), (900, 900));
        assert_eq!(events[0].head, data[..900]);
        assert_eq!((events[1].call.asked_bytes, events[1].call.done_bytes), (2008, 2008));
        assert_eq!(events[1].head, data[..124]);
        assert_eq!(events[1].tail, data[2000..2008]);
    }
}

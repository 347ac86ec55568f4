use retrospan_formats::event::flags;
use retrospan_protocols::redact::Payload;

use crate::import::made::{Talk, told, udp};

const PORTS: [u16; 2] = [40_000, 53];

#[test]
fn datagrams_are_events_of_whoever_asked() {
    let mut talk = Talk::new(Payload::Full);
    talk.packet(&udp(0, PORTS, 1, b"who?"));
    talk.packet(&udp(1, PORTS, 2, b"me"));
    // Begins with the answer.
    talk.packet(&udp(1, [40_001, 53], 3, b"you"));
    let (rows, sockets, summary) = talk.over();
    assert_eq!(told(&rows), ["> who?", "< me", "< you"]);
    assert_eq!((rows[0].tcp_seq, rows[0].done_bytes, rows[0].flags), (None, 4, flags::NO_SEQ));
    let ends: Vec<_> = sockets.iter().map(|s| (s.local.port(), s.protocol, s.discovered)).collect();
    assert_eq!(ends, [(40_000, "udp", false), (40_001, "udp", true)]);
    assert_eq!((summary.udp_sockets, summary.bytes), (2, 9));
}

#[test]
fn a_copy_is_dropped_and_what_is_sent_again_is_not() {
    let mut talk = Talk::new(Payload::Full);
    talk.packet(&udp(0, PORTS, 1, b"who?"));
    talk.packet(&udp(0, PORTS, 1, b"who?"));
    talk.packet(&udp(0, PORTS, 2, b"who?"));
    talk.now_ns += 5_000_000;
    talk.packet(&udp(0, PORTS, 2, b"who?"));
    let (rows, _, summary) = talk.over();
    assert_eq!((rows.len(), summary.repeated), (3, 1));
}

#[test]
fn an_idle_socket_ends() {
    let mut talk = Talk::new(Payload::None);
    for _ in 0..3 {
        talk.packet(&udp(0, PORTS, 1, b"who?"));
        talk.now_ns += 40_000_000_000;
    }
    talk.now_ns += 40_000_000_000;
    talk.packet(&udp(0, PORTS, 1, b"who?"));
    let (rows, sockets, _) = talk.over();
    assert_eq!(sockets.len(), 2);
    assert!(rows.iter().all(|row| row.payload.is_none() && row.flags & flags::PAYLOAD_CUT != 0));
    assert_eq!(sockets[0].closed_ns, Some(81_000_002_000));
}

#[test]
fn what_was_cut_is_a_length() {
    let mut talk = Talk::new(Payload::Full);
    talk.cut_packet(&udp(0, PORTS, 1, b"who?"), 30);
    let (rows, ..) = talk.over();
    assert_eq!((told(&rows), rows[0].done_bytes), (vec!["> wh".to_owned()], 4));
}

use std::fs;
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::import::made::{FIN_ACK, PORTS, Talk, tcp, told};
use crate::import::packets::PacketFile;
use crate::import::packets::tests::pcap;
use crate::import::tcp::bits::ACK;

const REQUEST: &str = "GET /shop?id=secret-1 HTTP/1.1\r\nHost: a.example\r\nCookie: secret-2\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nSet-Cookie: secret-3\r\nContent-Length: 8\r\n\r\nsecret-4";

/// Rows of a request and its answer, cut into packets at these places.
fn split(payload: Payload, cuts: [&[usize]; 2]) -> Vec<String> {
    let mut talk = Talk::new(payload);
    talk.connect();
    for (end, text) in [REQUEST, ANSWER].into_iter().enumerate() {
        let places = [&[0], cuts[end], &[text.len()]].concat();
        for pair in places.windows(2) {
            talk.say(end, ACK, &text.as_bytes()[pair[0]..pair[1]]);
        }
    }
    told(&talk.over().0)[3..].to_vec()
}

/// All that was kept of one direction.
fn joined(told: &[String], mark: &str) -> String {
    told.iter().filter_map(|row| row.strip_prefix(mark)).collect()
}

#[test]
fn only_heads_are_kept_and_without_their_secrets() {
    let whole = split(Payload::Heads, [&[], &[]]);
    assert!(
        whole[0].starts_with("> GET /shop?id=******** HTTP/1.1\r\nHost: a.example\r\nCookie: **"),
        "{whole:?}"
    );
    assert!(
        whole[1].starts_with("< HTTP/1.1 200 **\r\nSet-Cookie: ********\r\nContent-Length: 8\r\n\r\n"),
        "{whole:?}"
    );
    assert!(!whole.concat().contains("secret"));
    // What looks like a secret is blank there, too.
    let full = ANSWER.replace("secret-3", "********");
    assert_eq!(joined(&split(Payload::Full, [&[30], &[7]]), "< "), full);
    assert!(split(Payload::None, [&[], &[]]).iter().all(|row| row.len() == 2));
}

#[test]
fn a_head_split_at_any_byte_is_kept_as_if_it_were_whole() {
    let whole = split(Payload::Heads, [&[], &[]]);
    let head = ANSWER.len() - 8;
    for at in 1..REQUEST.len() {
        let told = split(Payload::Heads, [&[at], &[at.min(head)]]);
        assert_eq!(joined(&told, "> "), joined(&whole, "> "), "{at}");
        assert_eq!(joined(&told, "< "), joined(&whole, "< "), "{at}");
        let first = |kept: &str, at: usize| kept.len() - "> ".len() == at;
        assert!(first(&told[0], at), "{told:?}");
    }
    let every: Vec<usize> = (1..REQUEST.len()).collect();
    let told = split(Payload::Heads, [&every, &[]]);
    assert_eq!(joined(&told, "> "), joined(&whole, "> "));
}

#[test]
fn what_waits_for_its_head_is_written_all_the_same() {
    let mut talk = Talk::new(Payload::Heads);
    talk.connect();
    talk.say(0, ACK, b"GET /shop HT");
    talk.now_ns += 2_000_000_000;
    talk.say(0, ACK, b"TP/1.1\r\nHost: a\r\n\r\n");
    let (rows, ..) = talk.over();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[4].stamp.ns - rows[3].stamp.ns, 2_000_001_000);
    let mut talk = Talk::new(Payload::Heads);
    talk.connect();
    talk.say(0, ACK, b"GET /shop HT");
    talk.say(1, FIN_ACK, b"");
    assert_eq!(told(&talk.over().0)[3..].len(), 2);
}

#[test]
fn a_cut_packet_has_its_length() {
    let mut talk = Talk::new(Payload::Heads);
    talk.connect();
    let packet = talk.made(0, ACK, REQUEST.as_bytes());
    talk.cut_packet(&packet, 40 + 20);
    talk.say(1, ACK, ANSWER.as_bytes());
    let (rows, _, summary) = talk.over();
    assert_eq!((rows[3].done_bytes, rows[4].done_bytes), (REQUEST.len() as u64, ANSWER.len() as u64));
    assert_eq!(summary.bytes, (REQUEST.len() + ANSWER.len()) as u64);
    assert!(!told(&rows).concat().contains("secret"));
}

/// A capture file, read to its end.
fn read(file: Vec<u8>) -> Option<Summary> {
    PacketFile::new(Box::new(Cursor::new(file))).ok()?.map(|file| check(file, Payload::Heads))
}

/// What the fuzzer found stays found, and the files that it begins with are read.
#[test]
fn the_corpus_is_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/packets");
    let mut files = 0;
    for entry in fs::read_dir(corpus).expect("the corpus") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        read(bytes);
        files += 1;
    }
    assert!(files > 0);
}

proptest! {
    /// Packets of any order, with any byte changed, are survived.
    #[test]
    fn damaged_packets_are_survived(
        order in prop::collection::vec((0..8_usize, 0..120_usize, any::<u8>(), 0..3_000_000_000_i64), 1..60),
    ) {
        let mut talk = Talk::new(Payload::None);
        let mut packets = vec![talk.made(0, 2, b""), talk.made(1, 18, b"")];
        packets.extend([talk.made(0, ACK, REQUEST.as_bytes()), talk.made(1, ACK, ANSWER.as_bytes())]);
        packets.extend([talk.made(0, FIN_ACK, b""), talk.made(1, FIN_ACK, b"")]);
        packets.extend([tcp(1, PORTS, 3, 4, 4, b""), talk.made(0, ACK, &[7; 400])]);
        let mut now_ns = 0;
        let mut made = Vec::new();
        for (which, at, with, after_ns) in order {
            let mut packet = packets[which].clone();
            if let Some(byte) = packet.get_mut(at) {
                *byte ^= if at % 3 == 0 { with } else { 0 };
            }
            now_ns += after_ns;
            made.push((now_ns, packet));
        }
        let made: Vec<(i64, &[u8])> = made.iter().map(|(ns, packet)| (*ns, &packet[..])).collect();
        let summary = read(pcap(101, &made)).expect("a file");
        prop_assert_eq!(summary.packets, made.len() as u64);
    }

    #[test]
    fn any_bytes_are_survived(kind in 0..5_usize, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let links = [0, 1, 113, 276, 239];
        let magic = [&b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a"[..], &pcap(links[kind], &[(0, &bytes)])];
        read([magic[0], &bytes].concat());
        read(magic[1].to_vec());
        read(bytes);
    }
}

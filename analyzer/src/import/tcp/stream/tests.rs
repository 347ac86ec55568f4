use proptest::prelude::*;

use super::*;

/// A stream, and what came out of it.
#[derive(Default)]
struct Made {
    stream: Stream,
    counts: Counts,
    now: i64,
    /// Sequence number, first and last time, bytes, length.
    pieces: Vec<(u32, i64, i64, Vec<u8>, usize)>,
    fin_ns: Option<i64>,
}

impl Made {
    fn of(seq: u32) -> Made {
        let mut made = Made::default();
        made.stream.begin(seq);
        made
    }

    fn run(&mut self, step: impl FnOnce(&mut Stream, Stamp, &mut Counts, Sink<'_>)) {
        self.now += 1;
        let now = Stamp { ns: self.now, packet: self.now as u64 };
        let (pieces, fin_ns) = (&mut self.pieces, &mut self.fin_ns);
        step(&mut self.stream, now, &mut self.counts, &mut |out| match out {
            Out::Piece(p) => {
                pieces.push((p.seq, p.first_ns, p.stamp.ns, p.data.known.to_vec(), p.data.length))
            }
            Out::Fin(stamp) => *fin_ns = Some(stamp.ns),
        });
    }

    fn segment(&mut self, seq: u32, bytes: &[u8], fin: bool) {
        let data = Slice::whole(bytes);
        self.run(|stream, now, counts, out| stream.segment(now, seq, data, fin, counts, out));
    }

    fn ack(&mut self, seq: u32, with_data: bool) {
        self.run(|stream, now, counts, out| stream.acknowledge(now, seq, with_data, counts, out));
    }

    fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.3.clone()).collect()
    }
}

#[test]
fn what_came_too_early_is_there_when_the_hole_is_filled() {
    let mut made = Made::of(10);
    made.segment(13, b"def", true);
    made.segment(10, b"abc", false);
    assert_eq!(made.pieces, [(10, 2, 2, b"abc".to_vec(), 3), (13, 1, 2, b"def".to_vec(), 3)]);
    assert_eq!(made.fin_ns, Some(2));
    assert_eq!(made.counts, Counts::default());
}

#[test]
fn the_first_bytes_count_and_probes_are_none() {
    let mut made = Made::of(10);
    made.segment(10, b"abc", false);
    made.segment(12, b"?", false);
    made.segment(10, b"XYZdef", false);
    made.segment(10, b"abc", false);
    made.segment(20, b"kl", false);
    made.segment(19, b"jKLm", false);
    made.segment(16, b"ghi", false);
    assert_eq!(made.bytes(), b"abcdefghijklm");
    assert_eq!(made.counts, Counts { repeated: 2, holes: 0 });
}

#[test]
fn a_hole_that_was_acknowledged_is_skipped() {
    let mut made = Made::of(10);
    made.segment(20, b"late", false);
    made.ack(24, false);
    assert!(made.pieces.is_empty(), "the packet may be the next one");
    made.ack(24, true);
    assert_eq!(made.pieces, [(20, 1, 1, b"late".to_vec(), 4)]);
    made.segment(10, b"too late..", false);
    assert_eq!(made.counts, Counts { repeated: 1, holes: 1 });
    // What was acknowledged before it came leaves a hole at once.
    made.ack(30, true);
    made.segment(30, b"more", false);
    assert_eq!((made.pieces.len(), made.counts.holes), (2, 2));
}

#[test]
fn nothing_waits_for_ever() {
    let mut made = Made::of(10);
    made.segment(20, b"late", true);
    made.now = WAIT_NS;
    made.run(|stream, now, counts, out| stream.tick(now, counts, out));
    assert_eq!((made.bytes(), made.fin_ns), (b"late".to_vec(), Some(1)));
    let mut made = Made::of(0);
    for at in 0..20 {
        made.segment(100 + at * 70_000, &vec![1; 70_000], false);
    }
    assert_eq!((made.pieces.len(), made.counts.holes), (20, 1));
    let mut made = Made::of(0);
    made.segment(5, b"a", false);
    made.segment(9, b"b", true);
    made.run(|stream, now, counts, out| stream.finish(now, counts, out));
    assert_eq!((made.bytes(), made.fin_ns.is_some(), made.counts.holes), (b"ab".to_vec(), true, 2));
}

#[test]
fn lengths_of_cut_packets_are_kept() {
    let mut made = Made::of(0);
    let cut = Slice { known: b"ab", length: 10 };
    made.run(|stream, now, counts, out| stream.segment(now, 0, cut, false, counts, out));
    made.segment(10, b"c", false);
    assert_eq!(made.pieces, [(0, 1, 1, b"ab".to_vec(), 10), (10, 2, 2, b"c".to_vec(), 1)]);
}

proptest! {
    /// Any cut, order and overlap of the same bytes.
    #[test]
    fn any_segments_of_the_same_bytes_give_them_once(
        start in prop_oneof![Just(u32::MAX - 50), any::<u32>()],
        length in 1..200_usize,
        order in prop::collection::vec((0..200_usize, 1..60_usize), 0..60),
    ) {
        let bytes: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
        let mut made = Made::of(start);
        let rest = (0..length).step_by(7).map(|from| (from, 7));
        for (from, many) in order.into_iter().chain(rest).filter(|(from, _)| *from < length) {
            let to = (from + many).min(length);
            made.segment(start.wrapping_add(from as u32), &bytes[from..to], to == length);
        }
        prop_assert_eq!(made.bytes(), bytes);
        prop_assert!(made.fin_ns.is_some());
        prop_assert_eq!(made.counts.holes, 0);
        let mut at = start;
        for piece in &made.pieces {
            prop_assert_eq!(piece.0, at);
            prop_assert!(piece.1 <= piece.2);
            at = at.wrapping_add(piece.4 as u32);
        }
    }

    /// Nonsense makes no panic, and no byte twice.
    #[test]
    fn hostile_segments_are_survived(
        steps in prop::collection::vec((any::<u32>(), 0..70_000_usize, any::<u8>()), 0..50),
    ) {
        let mut made = Made::default();
        for (seq, length, what) in steps {
            match what % 4 {
                0 => made.ack(seq, what & 64 != 0),
                1 => made.segment(seq % 1000, &vec![0; length % 300], what & 64 != 0),
                _ => made.segment(seq, &vec![0; length], what & 64 != 0),
            }
            made.now += i64::from(what) * 10_000_000;
        }
        made.run(|stream, now, counts, out| stream.finish(now, counts, out));
        prop_assert!(!made.stream.waits());
    }
}

//! Bytes as calls of a connection, and what must hold of the parts that framing makes of them.

use retrospan_protocols::{Call, Direction, Memory, Part, Protocol, What};

/// Feeds a connection of a protocol as the bytes tell, and checks that the parts of every call cover it, without gap or
/// overlap, and that what was remembered of other connections changes nothing.
pub fn check(protocol: &dyn Protocol, data: &[u8]) {
    let (mut plain, mut remembering) = (protocol.framing(None), protocol.framing(None));
    // What is remembered is of one direction each.
    let mut memory: [Memory; 2] = Default::default();
    let mut offsets = [0u64; 2];
    let mut now_ns = 0;
    let mut rest = data;
    while let Some((&[what, head, size], after)) = rest.split_first_chunk() {
        let direction = if what & 1 == 0 { Direction::Requests } else { Direction::Responses };
        let (head, after) = after.split_at(after.len().min(usize::from(head)));
        let (tail, after) = after.split_at(after.len().min(usize::from(size) % 9));
        rest = after;
        let (mut parts, mut same) = (Vec::new(), Vec::new());
        let offset = &mut offsets[usize::from(what & 1)];
        let begin = *offset;
        match what >> 1 & 7 {
            0 => {
                let length = 1 + u64::from(what) * 1_000;
                plain.gap(direction, length, &mut parts);
                remembering.gap(direction, length, &mut same);
                *offset += length;
            }
            1 => {
                plain.close(direction, &mut parts);
                remembering.close(direction, &mut same);
            }
            kind => {
                let hole = if kind == 2 { u64::from(what) * 100 } else { 0 };
                let length = (head.len() + tail.len()) as u64 + hole;
                // Calls in order, some of which overlap; on which end of the connection differs too.
                now_ns += i64::from(what >> 5);
                let call = Call {
                    length,
                    head,
                    spare: 0,
                    tail,
                    begins: size >= 252,
                    sent: what & 16 == 0,
                    times_ns: [now_ns, now_ns + i64::from(what >> 4)],
                };
                plain.call(direction, call, &mut Memory::default(), &mut parts);
                remembering.call(direction, call, &mut memory[direction as usize], &mut same);
                *offset += length;
            }
        }
        assert_eq!(parts, same, "memory changes nothing");
        covers(&parts, begin, *offset);
    }
}

/// A start line that was not whole at once is confirmed where it began: nothing else points back.
fn covers(parts: &[Part], begin: u64, end: u64) {
    let (mut at, mut may_begin) = (begin, None);
    for part in parts {
        if matches!(part.what, What::Earlier(_)) {
            assert!(part.offset + part.length <= begin, "{parts:?}");
            continue;
        }
        assert_eq!(part.what.is_marker(), part.length == 0, "{parts:?}");
        if part.what == What::MayBegin {
            may_begin = Some(part.offset);
        }
        let goes_back = matches!(part.what, What::Begin | What::Resume(_) | What::End { exact: false });
        let confirms = goes_back && (part.offset < begin || may_begin == Some(part.offset));
        assert!(part.offset == at || confirms, "{parts:?}");
        at += part.length;
    }
    assert_eq!(at, end, "{parts:?}");
}

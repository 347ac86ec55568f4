//! The PROXY protocol: a load balancer writes the client's addresses in front of the first request.
//!
//! Versions 1 and 2 of <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>, sections 2.1 and 2.2. What frames
//! the addresses is kept, they themselves are not.

use crate::parts::What;

/// Where in the preamble the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preamble {
    /// Version 1, after `PROXY `: bytes of the line so far, and how many of [`PROTOCOLS`]' entry.
    Line { bytes: u8, place: LinePlace },
    /// Version 2: bytes of the signature and the four that follow it; the last two say how many more come.
    Header { bytes: u8, left: u16 },
    /// The addresses of version 2.
    Addresses { left: u16 },
}

/// What of a line of version 1 the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinePlace {
    /// One of [`PROTOCOLS`], as many bytes of it.
    Protocol {
        which: Option<u8>,
        bytes: u8,
    },
    /// Addresses. `any`: of an unknown protocol, so that anything may stand here.
    Addresses {
        any: bool,
    },
    LineEnd,
}

/// What becomes of a byte of the preamble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Is(What, Preamble),
    /// It is the last one.
    End(What),
    /// This is none.
    Invalid,
}

/// The signature of version 2.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of it before the first that ends no line.
pub(super) const LINE_ENDS: u8 = 4;
const HEADER_BYTES: u8 = SIGNATURE.len() as u8 + 4;
/// The longest line of version 1, its end included.
const MAX_LINE_BYTES: u8 = 107;
const PROTOCOLS: [&[u8]; 3] = [b"TCP4", b"TCP6", b"UNKNOWN"];
/// The word that a line of version 1 begins with.
pub(super) const WORD: &[u8] = b"PROXY";

impl Preamble {
    /// After `PROXY ` and before `byte`, where that is no request's target.
    pub(super) fn line(byte: u8) -> Option<Preamble> {
        let place = LinePlace::Protocol { which: None, bytes: 0 };
        matches!(byte, b'T' | b'U').then_some(Preamble::Line { bytes: WORD.len() as u8 + 1, place })
    }

    /// Version 2, after the line ends that it begins with.
    pub(super) const HEADER: Preamble = Preamble::Header { bytes: LINE_ENDS, left: 0 };

    pub(super) fn step(self, byte: u8) -> Step {
        match self {
            Preamble::Line { bytes: MAX_LINE_BYTES, .. } => Step::Invalid,
            Preamble::Line { bytes, place } => line_step(bytes + 1, place, byte),
            Preamble::Header { bytes, left } => header_step(bytes, left, byte),
            Preamble::Addresses { left: 1 } => Step::End(What::Secret),
            Preamble::Addresses { left } => {
                Step::Is(What::Secret, Preamble::Addresses { left: left.saturating_sub(1) })
            }
        }
    }
}

fn line_step(bytes: u8, place: LinePlace, byte: u8) -> Step {
    let go = |what, place| Step::Is(what, Preamble::Line { bytes, place });
    match (place, byte) {
        (LinePlace::LineEnd, b'\n') => Step::End(What::Framing),
        (LinePlace::LineEnd, _) => Step::Invalid,
        (LinePlace::Protocol { which, bytes: matched }, _) => {
            let matched = usize::from(matched);
            let whole = which.is_some_and(|which| PROTOCOLS[usize::from(which)].len() == matched);
            if whole {
                let any = which == Some(2);
                return match byte {
                    b' ' => go(What::Framing, LinePlace::Addresses { any }),
                    b'\r' if any => go(What::Framing, LinePlace::LineEnd),
                    _ => Step::Invalid,
                };
            }
            // `TCP4` and `TCP6` differ in their last byte alone.
            let before = which.map_or(&b""[..], |which| &PROTOCOLS[usize::from(which)][..matched]);
            let next = PROTOCOLS
                .iter()
                .position(|protocol| protocol.starts_with(before) && protocol.get(matched) == Some(&byte));
            match next {
                Some(which) => {
                    let place = LinePlace::Protocol { which: Some(which as u8), bytes: matched as u8 + 1 };
                    go(What::Framing, place)
                }
                None => Step::Invalid,
            }
        }
        (LinePlace::Addresses { .. }, b'\r') => go(What::Framing, LinePlace::LineEnd),
        (LinePlace::Addresses { .. }, b' ') => go(What::Framing, place),
        (LinePlace::Addresses { any }, _) => {
            let is_address = byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'*');
            let fits = is_address || (any && !matches!(byte, b'\n' | 0));
            if fits { go(What::Secret, place) } else { Step::Invalid }
        }
    }
}

fn header_step(bytes: u8, left: u16, byte: u8) -> Step {
    if SIGNATURE.get(usize::from(bytes)).is_some_and(|&expected| expected != byte) {
        return Step::Invalid;
    }
    let is_length = bytes >= HEADER_BYTES - 2;
    let left = if is_length { left << 8 | u16::from(byte) } else { left };
    if bytes + 1 < HEADER_BYTES {
        return Step::Is(What::Framing, Preamble::Header { bytes: bytes + 1, left });
    }
    if left == 0 {
        return Step::End(What::Framing);
    }
    Step::Is(What::Framing, Preamble::Addresses { left })
}

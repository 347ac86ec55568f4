//! What of a call's bytes may be stored: heads and framing, with `*` for what must not be kept.
//!
//! What stands between kept bytes is `*`, too, and what follows the last of them is cut off. So who reads what was kept
//! finds the same messages: their secrets are blank, but they are there.

use crate::parts::{Part, What};

/// What stands for a byte that must not be kept.
pub const BLANK: u8 = b'*';

/// What [`copy`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Some bytes were kept, or left blanks.
    pub any: bool,
    /// Some were blanked.
    pub blanked: bool,
}

/// Appends `bytes`, which begin at `at` in the call whose parts these are, up to the last of a head or of framing,
/// blanking those that may not be kept.
pub fn copy(parts: &[Part], bytes: &[u8], at: u64, out: &mut Vec<u8>) -> Kept {
    if bytes.is_empty() {
        return Kept { any: false, blanked: false };
    }
    let before = out.len();
    let mut blanked = false;
    let of_call = |part: &&Part| part.length > 0 && !matches!(part.what, What::Earlier(_));
    let call_start = parts.iter().find(of_call).map_or(0, |part| part.offset);
    for part in parts.iter().filter(of_call).filter(|part| has_place(&part.what)) {
        let place = |offset: u64| (offset - call_start).saturating_sub(at).min(bytes.len() as u64) as usize;
        let run = place(part.offset)..place(part.offset + part.length);
        if run.is_empty() {
            continue;
        }
        if out.len() < before + run.start {
            blanked = true;
            out.resize(before + run.start, BLANK);
        }
        match &part.what {
            What::Secret => {
                blanked = true;
                out.resize(before + run.end, BLANK);
            }
            What::Instead(instead) => {
                blanked = true;
                let from = (call_start + at + run.start as u64 - part.offset) as usize;
                out.extend_from_slice(&instead[from..from + run.len()]);
            }
            _ => out.extend_from_slice(&bytes[run]),
        }
    }
    Kept { any: out.len() > before, blanked }
}

/// Puts into `kept`, whose bytes begin at this offset of the direction, what parts of a later call say may be kept of it after
/// all. `bytes`: what it was redacted from.
pub fn reveal(parts: &[Part], bytes: &[u8], offset: u64, kept: &mut Vec<u8>) {
    for part in parts {
        let What::Earlier(instead) = &part.what else { continue };
        let begin = part.offset.max(offset);
        let end = (part.offset + part.length).min(offset + bytes.len() as u64);
        if begin >= end {
            continue;
        }
        let run = (begin - offset) as usize..(end - offset) as usize;
        if kept.len() < run.end {
            kept.resize(run.end, BLANK);
        }
        let from = (begin - part.offset) as usize;
        let source = match instead {
            Some(instead) => &instead[from..from + run.len()],
            None => &bytes[run.clone()],
        };
        kept[run].copy_from_slice(source);
    }
}

/// Whether the bytes show where in a message they stand, so that they are kept or leave blanks.
fn has_place(what: &What) -> bool {
    matches!(what, What::Head | What::Secret | What::Instead(_) | What::Framing)
}

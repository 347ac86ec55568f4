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
    let with_bytes = parts.iter().find(|part| part.length > 0);
    let call_start = with_bytes.map_or(0, |part| part.offset);
    for part in parts.iter().filter(|part| part.length > 0 && has_place(&part.what)) {
        let place = |offset: u64| (offset - call_start).saturating_sub(at).min(bytes.len() as u64) as usize;
        let run = place(part.offset)..place(part.offset + part.length);
        if run.is_empty() {
            continue;
        }
        if out.len() < before + run.start {
            blanked = true;
            out.resize(before + run.start, BLANK);
        }
        if part.what == What::Secret {
            blanked = true;
            out.resize(before + run.end, BLANK);
        } else {
            out.extend_from_slice(&bytes[run]);
        }
    }
    Kept { any: out.len() > before, blanked }
}

/// Whether the bytes show where in a message they stand, so that they are kept or leave blanks.
fn has_place(what: &What) -> bool {
    matches!(what, What::Head | What::Secret | What::Framing)
}

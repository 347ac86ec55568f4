//! Keyed hashes of the values that redaction blanks, so that a request is known again although nobody can read it.
//!
//! SipHash-2-4 under 128 random bits of this recording, cut to 32 bits. The key is in this process's memory alone: without it
//! neither a guessed value can be tried nor two recordings be compared (docs/decisions/016-hashes-of-secrets.md).

use std::fmt;

use retrospan_formats::secrets::{self, MAX_ENTRIES, SecretHash};
use siphasher::sip::SipHasher24;

use crate::{Part, Protocol};

/// Tells the hashes of a call's secrets.
pub struct Hashes {
    keyed: SipHasher24,
    /// [`secrets`] of the last call.
    column: Vec<u8>,
    /// A name and its value.
    text: Vec<u8>,
}

impl fmt::Debug for Hashes {
    /// Nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashes").finish_non_exhaustive()
    }
}

impl Hashes {
    /// Under a key that must be drawn at random and told nobody.
    pub fn with_key(key: [u8; 16]) -> Hashes {
        Hashes { keyed: SipHasher24::new_with_key(&key), column: Vec::new(), text: Vec::new() }
    }

    /// Those of the last call.
    pub fn column(&self) -> &[u8] {
        &self.column
    }

    /// Forgets them.
    pub fn begin(&mut self) {
        self.column.clear();
    }

    /// Adds those of the values among the bytes behind the first `known` of a call. `stored`: how many of `head` may be.
    pub fn tell(&mut self, protocol: &dyn Protocol, parts: &[Part], head: &[u8], stored: usize, known: u64) {
        let Hashes { keyed, column, text } = self;
        let mut left = MAX_ENTRIES;
        protocol.secret_values(parts, head, stored, &mut |name, value| {
            let Ok(offset) = u16::try_from(known.saturating_add(value.start as u64)) else { return };
            if left > 0 {
                left -= 1;
                // With its name: values that everybody knows under one name must not give away the same under another.
                text.clear();
                text.extend(name.iter().map(u8::to_ascii_lowercase));
                text.extend_from_slice(&head[value]);
                secrets::push(column, SecretHash { offset, hash: keyed.hash(text) as u32 });
            }
        });
    }
}

//! One direction of a pair of connections: whether what leaves is what came, as far as its bytes are known.

use std::collections::VecDeque;

/// Bytes of each call that are compared.
pub(super) const COMPARED_BYTES: usize = 64;
/// Calls remembered per direction or thread.
pub(super) const MAX_REMEMBERED: usize = 64;

/// The first bytes of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct PayloadPrefix {
    bytes: [u8; COMPARED_BYTES],
    length: u8,
}

impl PayloadPrefix {
    pub(super) fn of(bytes: &[u8]) -> PayloadPrefix {
        let length = bytes.len().min(COMPARED_BYTES);
        let mut prefix = PayloadPrefix { bytes: [0; COMPARED_BYTES], length: length as u8 };
        prefix.bytes[..length].copy_from_slice(&bytes[..length]);
        prefix
    }

    pub(super) fn get(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What a call moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved<'a> {
    /// How far into the stream, modulo 2^32; None where that is not certain.
    pub(super) at: Option<u32>,
    pub(super) length: u64,
    /// The first bytes, as far as they are known and compared.
    pub(super) prefix: &'a [u8],
}

impl Moved<'_> {
    /// It begins at this position: nothing is missing before it.
    pub(super) fn is_at(&self, position: u64) -> bool {
        self.at == Some(position as u32)
    }
}

/// One direction of a pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Copying {
    pub(super) received: u64,
    pub(super) sent: u64,
    /// First bytes of what was received, by position, as far as it was not sent yet.
    pub(super) chunks: VecDeque<(u64, PayloadPrefix)>,
}

impl Copying {
    /// Takes in what was received; false where something before it is missing.
    pub(super) fn receive(&mut self, moved: &Moved<'_>) -> bool {
        if !moved.is_at(self.received) {
            return false;
        }
        self.chunks.push_back((self.received, PayloadPrefix::of(moved.prefix)));
        self.received += moved.length;
        if self.chunks.len() > MAX_REMEMBERED {
            self.chunks.pop_front();
        }
        true
    }

    /// Takes in what was sent; false where it is not what was received.
    pub(super) fn send(&mut self, moved: &Moved<'_>) -> bool {
        let fits = moved.is_at(self.sent)
            && self.sent + moved.length <= self.received
            && self.same_bytes(self.sent, moved.prefix);
        if fits {
            self.sent += moved.length;
            self.forget_sent();
        }
        fits
    }

    /// What is sent at `position` agrees with what was received there, as far as both are known.
    pub(super) fn same_bytes(&self, position: u64, sent: &[u8]) -> bool {
        self.chunks.iter().all(|(at, received)| {
            let (from, skip) = if *at >= position { (*at - position, 0) } else { (0, position - *at) };
            let sent = sent.get(from as usize..).unwrap_or_default();
            let received = received.get().get(skip as usize..).unwrap_or_default();
            equal(sent, received)
        })
    }

    pub(super) fn forget_sent(&mut self) {
        while self.chunks.get(1).is_some_and(|(at, _)| *at <= self.sent) {
            self.chunks.pop_front();
        }
    }
}

/// Blanked bytes may be anything.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    let length = a.len().min(b.len());
    // Mostly they are the same, which is told at once.
    a[..length] == b[..length] || a.iter().zip(b).all(|(a, b)| a == b || *a == b'*' || *b == b'*')
}

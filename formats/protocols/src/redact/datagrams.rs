//! What of datagrams between two ends may reach the disk: the heads of messages of the protocols that are read.

use crate::blank::{self, Kept};
use crate::detect;
use crate::parts::{Call, Direction};
use crate::protocol::{Framing, Memory};

/// What is known of the datagrams between two ends.
#[derive(Debug, Default)]
pub struct Datagrams {
    /// What is spoken, and whether the end whose datagrams are sent asks.
    framed: Option<(Box<dyn Framing>, bool)>,
    begun: bool,
    /// By direction.
    memory: [Memory; 2],
}

impl Datagrams {
    /// Appends what may be kept of a datagram of this length, whose first bytes are known.
    pub fn keep(&mut self, sent: bool, length: u64, known: &[u8], out: &mut Vec<u8>) -> Kept {
        let fresh = !std::mem::replace(&mut self.begun, true);
        if self.framed.is_none()
            && let Some(told) = detect::datagram(known, fresh)
        {
            let asks = sent == (told.direction == Direction::Requests);
            self.framed = told.protocol.datagrams(!fresh).map(|framing| (framing, asks));
        }
        let Some((framing, asks)) = &mut self.framed else { return Kept { any: false, blanked: false } };
        let direction = if sent == *asks { Direction::Requests } else { Direction::Responses };
        let mut parts = Vec::new();
        framing.call(
            direction,
            Call { length, head: known, sent, ..Call::default() },
            &mut self.memory[direction as usize],
            &mut parts,
        );
        blank::copy(&parts, known, 0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_kept_and_what_is_not_understood_is_not() {
        let question = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x1c\x00\x01";
        let mut answer =
            [&question[..], b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x01\x00\x10secret-in-record"].concat();
        (answer[2], answer[7]) = (0x81, 1);
        let mut datagrams = Datagrams::default();
        let mut kept = Vec::new();
        datagrams.keep(true, question.len() as u64, question, &mut kept);
        assert_eq!(kept, question);
        kept.clear();
        datagrams.keep(false, answer.len() as u64, &answer, &mut kept);
        assert!(
            kept.starts_with(&answer[..question.len()]) && !kept.windows(6).any(|bytes| bytes == b"secret")
        );
        kept.clear();
        Datagrams::default().keep(true, 9, b"something", &mut kept);
        assert_eq!(kept, b"");
    }
}

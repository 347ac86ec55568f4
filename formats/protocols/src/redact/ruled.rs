//! What the user's rules, and the look of secrets, change of what is kept.

use retrospan_formats::event::{Kind, flags};

use super::{Data, Redactor, Stream, rules, scrub};

/// How far one direction was read for secrets among what is kept as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scrubbed {
    /// Sequence number of the next byte.
    next: Option<u32>,
    pub(super) open: scrub::Open,
}

impl Stream {
    /// What the bytes of a call that are kept as they are begin in the middle of, and where those behind them stand.
    pub(super) fn scrubbed(&self, data: &Data<'_>, known: u64) -> Scrubbed {
        let before = self.scrubbed[Stream::scrubbed_place(data)];
        let next = data.tcp_seq.map(|seq| seq.wrapping_add(data.done_bytes as u32));
        let first = data.tcp_seq.map(|seq| seq.wrapping_add(known as u32));
        let follows = before.next.is_some() && before.next == first;
        Scrubbed { next, open: if follows { before.open } else { scrub::Open::Nothing } }
    }

    /// Where both ends share what is read, either may read on.
    pub(super) fn scrubbed_place(data: &Data<'_>) -> usize {
        2 * usize::from(data.kind == Kind::Receive) + usize::from(data.sent && !data.shared)
    }
}

impl Redactor {
    /// Appends a datagram between these ports as it is, without what looks like a secret; whether anything was blanked.
    pub fn keep_datagram(&self, known: &[u8], ports: [u16; 2], out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        out.extend_from_slice(known);
        scrub::scrub(&mut out[begin..], &mut scrub::Open::Nothing, false, self.rules.of(ports))
    }

    /// Keeps of a call's heads what is blank by default, or the other way round, where rules say so; returns flags. `kept`: what
    /// else was kept of it.
    pub(super) fn follow_rules(
        &self,
        stream: &mut Stream,
        data: &Data<'_>,
        known: u64,
        kept: &mut [u8],
    ) -> u32 {
        let rules = self.rules.of(data.ports);
        if let Some((protocol, _)) = stream.framed.as_ref().filter(|_| rules.reveals()) {
            let rest = data.beyond(known);
            let before = data.head.len() - rest.head.len();
            protocol.secret_values(&self.parts, rest.head, rest.stored, &mut |name, value| {
                let Some((end, name)) = name.split_last() else { return };
                let place = before + value.start..before + value.end;
                let is_meant = |subject: &rules::Subject| rules::is_named(subject, name, *end == b':');
                if !rules.blanks(true, is_meant) && place.end <= kept.len() {
                    kept[place].copy_from_slice(&rest.head[value]);
                }
            });
        }
        if !rules.redacts() {
            return 0;
        }
        let mut scrubbed = stream.scrubbed(data, known);
        let blanked = scrub::lines(kept, &mut scrubbed.open, rules);
        stream.scrubbed[Stream::scrubbed_place(data)] = scrubbed;
        if blanked { flags::REDACTED } else { 0 }
    }
}

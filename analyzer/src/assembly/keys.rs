//! Which request an answer belongs to where both say so by a key ([`retrospan_protocols::Protocol::has_keys`]).
//!
//! A key names one exchange as long as it is open, and what was missed or not understood names none: so nothing shifts the
//! pairing of what follows. No client uses a key again while it is owed the answer. Where one seems to, that answer was
//! missed; if nothing was, the client does what it must not, and neither exchange gets what could be the other's.

use std::collections::VecDeque;

use crate::assembly::span::{OpenSpans, SpanIndex};

/// The keys of one connection.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Those that several open requests have, which cannot be told apart.
    doubtful: Vec<u64>,
    /// Answers may have come until then that nobody saw or understood, boot time ns.
    unplaced_ns: i64,
}

/// Why it is not known whose bytes of answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// Their calls are not in the capture.
    Missing,
    /// They were not kept, or their framing could not read them. Framing that tells of an end behind them knows whose it is.
    NotUnderstood,
}

/// What the key of a request says of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// None that is open has it, or all of them are damaged, as this one is.
    No,
    /// One has it whose answer may have been complete, and so it was.
    After(SpanIndex),
    /// One has it whose answer was missed.
    Missed(SpanIndex),
}

impl Default for Keys {
    fn default() -> Keys {
        Keys { doubtful: Vec::new(), unplaced_ns: i64::MIN }
    }
}

impl Keys {
    /// Answers may have come that nobody saw or understood. Returns requests whose key tells now that theirs was among them.
    pub fn unplaced(
        &mut self,
        how: Unplaced,
        now_ns: i64,
        open: &VecDeque<SpanIndex>,
        live: &mut OpenSpans,
    ) -> Vec<SpanIndex> {
        self.unplaced_ns = now_ns;
        for &index in open {
            if let Some(span) = live.get_mut(index) {
                // A part of what was begun is missing.
                let begun = span.response.is_some();
                match how {
                    Unplaced::Missing => span.damaged |= begun,
                    Unplaced::NotUnderstood => span.torn |= begun,
                }
            }
        }
        let mut missed = Vec::new();
        for key in self.doubtful.drain(..) {
            let mut same: Vec<_> = open.iter().copied().filter(|&index| has(index, key, live)).collect();
            same.pop();
            missed.extend(same);
        }
        missed
    }

    /// The answer of this span may have been missed, or its begin.
    pub fn may_have_missed(&self, index: SpanIndex, live: &OpenSpans) -> bool {
        live.get(index).is_some_and(|span| self.unplaced_ns >= span.start_ns)
    }

    /// Looks for the key of the request at `index` among the others that are open.
    pub fn reuse(&mut self, index: SpanIndex, open: &VecDeque<SpanIndex>, live: &mut OpenSpans) -> Reuse {
        let Some(key) = live.get(index).and_then(|span| span.key) else { return Reuse::No };
        let same = |&&other: &&SpanIndex| other != index && has(other, key, live);
        let Some(&other) = open.iter().find(same) else {
            self.doubtful.retain(|&doubtful| doubtful != key);
            return Reuse::No;
        };
        let is_doubtful = self.doubtful.contains(&key);
        let missed = self.may_have_missed(other, live);
        if let Some(span) = live.get_mut(other).filter(|_| !is_doubtful) {
            if let Some(response) = span.response.as_mut().filter(|response| response.extent.may_end) {
                response.extent.complete = true;
                return Reuse::After(other);
            }
            if missed {
                span.damaged = true;
                return Reuse::Missed(other);
            }
        }
        if !is_doubtful {
            self.doubtful.retain(|&doubtful| open.iter().any(|&index| has(index, doubtful, live)));
            self.doubtful.push(key);
        }
        for index in [other, index] {
            if let Some(span) = live.get_mut(index) {
                span.damaged = true;
            }
        }
        Reuse::No
    }

    /// Those whose answer was missed, if this client waits for its answers before it asks again: they are damaged.
    pub fn missed(&self, open: &VecDeque<SpanIndex>, live: &mut OpenSpans) -> Vec<SpanIndex> {
        let missed = |&index: &SpanIndex| {
            let missed = self.may_have_missed(index, live);
            let Some(span) = live.get_mut(index) else { return false };
            let missed = missed && !span.key.is_some_and(|key| self.doubtful.contains(&key));
            span.damaged |= missed && span.unparsed_ns.is_none();
            missed
        };
        open.iter().copied().filter(missed).collect()
    }
}

/// Whether the span has this key, and is owed an answer or more of one.
fn has(index: SpanIndex, key: u64, live: &OpenSpans) -> bool {
    live.get(index).is_some_and(|span| span.key == Some(key) && !span.answered())
}

/// The request that an answer of this key belongs to: the first that has none yet, or whose answer may go on.
pub fn waiting(key: u64, open: &VecDeque<SpanIndex>, live: &OpenSpans) -> Option<SpanIndex> {
    open.iter().copied().find(|&index| {
        let goes_on = || live.get(index)?.response.map(|response| response.extent.endless);
        has(index, key, live) && goes_on().unwrap_or(true)
    })
}

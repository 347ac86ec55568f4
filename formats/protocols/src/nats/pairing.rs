//! Which answers belong to which requests.
//!
//! A request names the subject of its answer, which is used once. What a consumer asks for comes under the
//! subject that it was published to, and names stream and consumer instead.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) key: u64,
    /// What it was published to.
    pub(super) subject: Option<Arc<str>>,
}

/// Requests by the subjects of their answers.
#[derive(Debug, Default)]
pub(super) struct Replies {
    young: HashMap<Box<str>, Waiting>,
    /// Those before: forgotten when there are as many young ones.
    old: HashMap<Box<str>, Waiting>,
}

/// Requests of a generation; those that nobody answers must not cost memory.
const MAX_WAITING: usize = 2048;

impl Replies {
    pub(super) fn insert(&mut self, reply: &str, waiting: Waiting) {
        if self.young.len() == MAX_WAITING {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(reply);
        self.young.insert(reply.into(), waiting);
    }

    /// Takes out the request that is answered at that subject.
    pub(super) fn take(&mut self, reply: &str) -> Option<Waiting> {
        self.young.remove(reply).or_else(|| self.old.remove(reply))
    }

    /// Forgets that one.
    pub(super) fn remove(&mut self, key: u64) {
        self.young.retain(|_, waiting| waiting.key != key);
        self.old.retain(|_, waiting| waiting.key != key);
    }

    /// Takes out the only request that was published to that subject; None: there are none, or several.
    pub(super) fn take_published(&mut self, subject: &str) -> Option<Waiting> {
        let is = |waiting: &&Waiting| waiting.subject.as_deref() == Some(subject);
        let mut all = self.young.values().chain(self.old.values()).filter(is);
        let only = all.next().filter(|_| all.next().is_none())?.clone();
        self.remove(only.key);
        Some(only)
    }
}

/// What consumers have asked for, in order.
#[derive(Debug, Default)]
pub(super) struct Pulls(VecDeque<Pull>);

#[derive(Debug)]
struct Pull {
    /// Stream and consumer.
    consumer: Box<str>,
    key: u64,
    /// So many messages are still to come, if there are as many.
    left: u64,
}

/// Requests of consumers remembered at most.
const MAX_PULLS: usize = 256;

impl Pulls {
    pub(super) fn push(&mut self, consumer: &str, key: u64, messages: u64) {
        if self.0.len() == MAX_PULLS {
            self.0.pop_front();
        }
        self.0.push_back(Pull { consumer: consumer.into(), key, left: messages });
    }

    /// A message came for this consumer: the request that it answers, and whether more may come.
    pub(super) fn message(&mut self, consumer: &str) -> Option<(u64, bool)> {
        let index = self.0.iter().position(|pull| &*pull.consumer == consumer)?;
        let pull = &mut self.0[index];
        pull.left -= 1;
        let (key, goes_on) = (pull.key, pull.left > 0);
        if !goes_on {
            self.0.remove(index);
        }
        Some((key, goes_on))
    }

    /// No more messages come for that request.
    pub(super) fn remove(&mut self, key: u64) {
        self.0.retain(|pull| pull.key != key);
    }

    /// Messages may have been missed: how many are still to come is not known.
    pub(super) fn lost(&mut self) {
        self.0.clear();
    }
}

/// Stream and consumer of a subject by which messages are asked for (`$JS.API.CONSUMER.MSG.NEXT.S.C`, or with
/// a domain).
pub(super) fn asked_consumer(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix("$JS.")?;
    let at = rest.find("API.CONSUMER.MSG.NEXT.")?;
    let consumer = &rest[at + "API.CONSUMER.MSG.NEXT.".len()..];
    (consumer.split('.').count() == 2).then_some(consumer)
}

/// Stream and consumer of a subject by which a message is acknowledged: `$JS.ACK.S.C.` and five numbers, or
/// with domain and account before the stream and perhaps a word at the end.
pub(super) fn acknowledged_consumer(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix("$JS.ACK.")?;
    let dots = rest.bytes().filter(|&byte| byte == b'.').count();
    let skipped = if dots >= 8 { 2 } else { 0 };
    let mut places = rest.match_indices('.').map(|(at, _)| at);
    let begin = if skipped == 0 { 0 } else { places.nth(skipped - 1)? + 1 };
    let end = places.nth(1)?;
    (dots >= 6).then(|| &rest[begin..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers() {
        assert_eq!(asked_consumer("$JS.API.CONSUMER.MSG.NEXT.S.C"), Some("S.C"));
        assert_eq!(asked_consumer("$JS.hub.API.CONSUMER.MSG.NEXT.S.C"), Some("S.C"));
        assert_eq!(asked_consumer("$JS.API.CONSUMER.INFO.S.C"), None);
        assert_eq!(acknowledged_consumer("$JS.ACK.S.C.1.2.2.1796013651045553998.0"), Some("S.C"));
        assert_eq!(acknowledged_consumer("$JS.ACK.hub.acc.S.C.1.2.2.179.0"), Some("S.C"));
        assert_eq!(acknowledged_consumer("$JS.ACK.hub.acc.S.C.1.2.2.179.0.rnd"), Some("S.C"));
        assert_eq!(acknowledged_consumer("$JS.ACK.S.C.1"), None);
        assert_eq!(acknowledged_consumer("orders.1"), None);
    }

    #[test]
    fn requests_that_nobody_answers_are_forgotten() {
        let mut replies = Replies::default();
        for key in 0..10_000u64 {
            replies.insert(&format!("_INBOX.{key}"), Waiting { key, subject: None });
        }
        assert!(replies.young.len() + replies.old.len() <= 2 * MAX_WAITING);
        assert!(replies.take("_INBOX.1").is_none());
        assert_eq!(replies.take("_INBOX.9999").map(|waiting| waiting.key), Some(9999));
    }
}

//! Which request a response answers, as far as that is certain: it decides what the response is like.
//!
//! On one connection the k-th final response answers the k-th request, so one message that is not understood would shift
//! all that follow. Therefore what is not understood is remembered as such, and until the count is certain again the
//! request of a response is [`Asked::UNKNOWN`]. It is certain again once a client that has never sent a
//! request ahead sends one while no answer is under way: it has waited for all answers before.

use std::collections::VecDeque;

/// What a request says about its answer.
pub(crate) trait Asked: Copy + Default + Eq {
    /// The request is not known.
    const UNKNOWN: Self;

    /// What follows it may be no message of this protocol any more; its answer decides.
    fn may_switch(self) -> bool;
}

/// Requests that wait for their response, in order, and what is not certain about that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue<A> {
    waiting: VecDeque<Waiting<A>>,
    /// Requests that have begun.
    begun: u64,
    /// A final response came before any request that it could answer.
    ahead: Option<Ahead>,
    /// The connection was seen from its first byte, so no request can have come before.
    from_start: bool,
    /// Clients send several requests at once, and then wait for all of their answers: that alone is not
    /// [`Queue::pipelined`].
    in_batches: bool,
    /// A request was sent while another one waited.
    pub(crate) pipelined: bool,
    /// Responses may have been missed since the first of `waiting` began.
    responses_missed: bool,
    /// A final response, or what may be one, was seen since the last byte of a request.
    pub(crate) answered: bool,
    /// So it was since a request began last.
    responded: bool,
    /// Since then, bytes came that were no head where a response may begin: the next one may be behind them.
    beyond_head: bool,
    /// A response is under way.
    pub(crate) answering: bool,
    /// A response switched the connection to another protocol.
    pub(crate) tunnel: bool,
    /// A request waits that may switch protocols (CONNECT): what follows it is a tunnel or a request, and which is not known yet.
    pub(crate) switching: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting<A> {
    Request {
        asked: A,
        number: u64,
        /// By a response that came before it.
        may_be_answered: bool,
    },
    /// Bytes that may hold any number of requests.
    Unknown,
}

/// A response that came before its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    /// When the call ended that moved its head, ns.
    end_ns: i64,
}

/// The time of the call that moves bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct When {
    /// It sent them.
    pub(crate) sent: bool,
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
}

/// Requests remembered at most; a peer that never answers must not cost memory.
const MAX_WAITING: usize = 4096;

impl<A: Asked> Queue<A> {
    /// `from_start`: see the field of that name.
    pub(crate) fn new(from_start: bool) -> Queue<A> {
        Queue { from_start, ..Queue::default() }
    }

    /// The same for a protocol whose clients send requests in batches.
    pub(crate) fn in_batches(from_start: bool) -> Queue<A> {
        Queue { in_batches: true, ..Queue::new(from_start) }
    }

    /// A request begins.
    pub(crate) fn begin(&mut self, when: When) {
        self.begun += 1;
        self.switching = false;
        let certain = !self.responses_missed && !self.waiting.contains(&Waiting::Unknown);
        let may_be_answered =
            |waiting: &Waiting<A>| matches!(waiting, Waiting::Request { may_be_answered: true, .. });
        // In a batch, no answer has come since the request before.
        let ahead = !self.in_batches || self.responded;
        if ahead && certain && self.waiting.iter().any(|waiting| !may_be_answered(waiting)) {
            self.pipelined = true;
        }
        if !self.pipelined && !self.answering {
            if self.waiting.iter().all(may_be_answered) && !self.waiting.is_empty() {
                // They were, for the client went on without another response.
                self.waiting.clear();
                self.ahead = None;
            } else if self.responded {
                self.waiting.clear();
                self.responses_missed = false;
            }
        }
        // A client takes no answer before it asks, but two of its threads may report so.
        if self.ahead.is_some_and(|ahead| when.sent && when.start_ns > ahead.end_ns) {
            self.ahead = None;
        }
        (self.responded, self.beyond_head) = (false, false);
    }

    /// What the request that began last says of its answer is known.
    pub(crate) fn request(&mut self, asked: A) {
        self.switching = asked.may_switch();
        let number = self.begun.saturating_sub(1);
        self.push(Waiting::Request { asked, number, may_be_answered: self.ahead.is_some() });
    }

    /// Bytes came, or are missing, where requests are.
    pub(crate) fn unknown_requests(&mut self) {
        if self.waiting.back() != Some(&Waiting::Unknown) {
            self.push(Waiting::Unknown);
        }
        (self.responded, self.beyond_head) = (false, false);
    }

    fn push(&mut self, waiting: Waiting<A>) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(waiting);
        } else {
            self.responses_missed = true;
        }
    }

    /// Bytes came, or are missing, where responses are. `seen`: some call moved them.
    pub(crate) fn unknown_responses(&mut self, seen: bool) {
        self.responses_missed |= !self.waiting.is_empty();
        self.beyond_head |= seen;
        (self.responded, self.answered) = (true, true);
    }

    /// Whether a response may begin: a request waits for it, or may wait.
    pub(crate) fn awaits_response(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the next bytes where responses are must be the head of one, if they look like that.
    pub(crate) fn awaits_head(&self) -> bool {
        self.awaits_response() && !self.beyond_head
    }

    /// A final response has a head: takes out the request that it answers. Returns what it says of its answer and, where that is certain,
    /// its number.
    pub(crate) fn response(&mut self, when: When) -> (A, Option<u64>) {
        let known = self.next();
        (self.responded, self.answered, self.switching) = (true, true, false);
        match self.waiting.front() {
            None => {
                if self.from_start {
                    self.ahead = Some(Ahead { end_ns: when.end_ns });
                }
            }
            Some(Waiting::Request { .. }) => {
                self.waiting.pop_front();
            }
            // It answers one of those, or the request behind them: that one waits no longer for certain.
            Some(Waiting::Unknown) => {
                self.waiting.remove(1);
            }
        }
        known
    }

    /// The request, and its number,  that the next final response answers, as far as they are certain.
    pub(crate) fn next(&self) -> (A, Option<u64>) {
        match self.waiting.front() {
            Some(&Waiting::Request { asked, number, may_be_answered: false }) => {
                // With one request alone a missed response was an interim one, or else this one answers nothing.
                if !self.responses_missed || self.is_only_request(number) {
                    return (asked, Some(number));
                }
                let same =
                    |other: &Waiting<A>| matches!(other, Waiting::Request { asked: a, .. } if *a == asked);
                (if self.waiting.iter().all(same) { asked } else { A::UNKNOWN }, None)
            }
            _ => (A::UNKNOWN, None),
        }
    }

    /// It is the only one that waits, and the last that began: no other can be answered.
    fn is_only_request(&self, number: u64) -> bool {
        self.waiting.len() == 1 && !self.pipelined && number + 1 == self.begun
    }
}

//! Which request a response answers, as far as that is certain: its method decides whether the response has a body.
//!
//! On one connection the k-th final response answers the k-th request, so one message that is not understood would shift
//! all that follow. Therefore what is not understood is remembered as such, and until the count is certain again the
//! method of a response's request is [`Method::Unknown`]. It is certain again once a client that has never sent a
//! request ahead sends one while no answer is under way: it has waited for all answers before.

use std::collections::VecDeque;

/// What a request's method says about the body of its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    #[default]
    Other,
    /// The request is not known.
    Unknown,
}

/// Requests that wait for their response, in order, and what is not certain about that.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchanges {
    waiting: VecDeque<Waiting>,
    /// Requests that have begun.
    begun: u64,
    /// A final response came before any request that it could answer.
    ahead: Option<Ahead>,
    /// The connection was seen from its first byte, so no request can have come before.
    from_start: bool,
    /// A request was sent while another one waited.
    pub(super) pipelined: bool,
    /// Responses may have been missed since the first of `waiting` began.
    responses_missed: bool,
    /// A final response, or what may be one, was seen since the last byte of a request.
    pub(super) answered: bool,
    /// So it was since a request began last.
    responded: bool,
    /// Since then, bytes came that were no head where a response may begin: the next one may be behind them.
    beyond_head: bool,
    /// A response is under way.
    pub(super) answering: bool,
    /// A response switched the connection to another protocol.
    pub(super) tunnel: bool,
    /// A CONNECT waits for its response: what follows it is a tunnel or a request, and which is not known yet.
    pub(super) connecting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Request {
        method: Method,
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
pub(super) struct When {
    /// It sent them.
    pub(super) sent: bool,
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
}

/// Requests remembered at most; a peer that never answers must not cost memory.
const MAX_WAITING: usize = 4096;

impl Exchanges {
    /// `from_start`: see the field of that name.
    pub(super) fn new(from_start: bool) -> Exchanges {
        Exchanges { from_start, ..Exchanges::default() }
    }

    /// A request begins.
    pub(super) fn begin(&mut self, when: When) {
        self.begun += 1;
        self.connecting = false;
        let certain = !self.responses_missed && !self.waiting.contains(&Waiting::Unknown);
        let may_be_answered =
            |waiting: &Waiting| matches!(waiting, Waiting::Request { may_be_answered: true, .. });
        if self.waiting.iter().any(|waiting| !may_be_answered(waiting)) && certain {
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

    /// The method of the request that began last is known.
    pub(super) fn request(&mut self, method: Method) {
        self.connecting = method == Method::Connect;
        let number = self.begun.saturating_sub(1);
        self.push(Waiting::Request { method, number, may_be_answered: self.ahead.is_some() });
    }

    /// Bytes came, or are missing, where requests are.
    pub(super) fn unknown_requests(&mut self) {
        if self.waiting.back() != Some(&Waiting::Unknown) {
            self.push(Waiting::Unknown);
        }
        (self.responded, self.beyond_head) = (false, false);
    }

    fn push(&mut self, waiting: Waiting) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(waiting);
        } else {
            self.responses_missed = true;
        }
    }

    /// Bytes came, or are missing, where responses are. `seen`: some call moved them.
    pub(super) fn unknown_responses(&mut self, seen: bool) {
        self.responses_missed |= !self.waiting.is_empty();
        self.beyond_head |= seen;
        (self.responded, self.answered) = (true, true);
    }

    /// Whether a response may begin: a request waits for it, or may wait.
    pub(super) fn awaits_response(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the next bytes where responses are must be the head of one, if they look like that.
    pub(super) fn awaits_head(&self) -> bool {
        self.awaits_response() && !self.beyond_head
    }

    /// A final response has a head: takes out the request that it answers. Returns its method and, where that is certain,
    /// its number.
    pub(super) fn response(&mut self, when: When) -> (Method, Option<u64>) {
        let known = self.next();
        (self.responded, self.answered, self.connecting) = (true, true, false);
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

    /// The method and number of the request that the next final response answers, as far as they are certain.
    pub(super) fn next(&self) -> (Method, Option<u64>) {
        match self.waiting.front() {
            Some(&Waiting::Request { method, number, may_be_answered: false }) => {
                // With one request alone a missed response was an interim one, or else this one answers nothing.
                if !self.responses_missed || self.is_only_request(number) {
                    return (method, Some(number));
                }
                let same =
                    |other: &Waiting| matches!(other, Waiting::Request { method: m, .. } if *m == method);
                (if self.waiting.iter().all(same) { method } else { Method::Unknown }, None)
            }
            _ => (Method::Unknown, None),
        }
    }

    /// It is the only one that waits, and the last that began: no other can be answered.
    fn is_only_request(&self, number: u64) -> bool {
        self.waiting.len() == 1 && !self.pipelined && number + 1 == self.begun
    }
}

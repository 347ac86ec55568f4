//! What goes in and what comes out.

/// A request that a process received: a possible parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The caller's name for it.
    pub id: u64,
    /// The process that received it.
    pub process: u32,
    /// What was asked. Requests of one operation are taken to work alike.
    pub operation: u32,
    /// When it was received, ns.
    pub begin_ns: i64,
    /// When it was answered, ns.
    pub end_ns: i64,
}

/// A call that a process made: its parent is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The caller's name for it. An [`Incoming`] of the same id is never its parent.
    pub id: u64,
    /// The process that made it.
    pub process: u32,
    /// Whom it called, and for what.
    pub callee: u32,
    /// When it was sent, ns.
    pub begin_ns: i64,
    /// When its answer was received, ns.
    pub end_ns: i64,
    /// The [`Incoming`] that caused it, where other evidence tells. It is kept, and learnt from.
    pub certain: Option<u64>,
}

/// What is said of an [`Outgoing`] span.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The call.
    pub id: u64,
    /// The most probable parent; none where no request was in hand.
    pub parent: Option<u64>,
    /// Its probability.
    pub probability: f64,
    /// How much more probable it is than the next best, "no parent" included, in nats.
    pub margin_nats: f64,
    /// Whether it may be said: see [`crate::link::Options`].
    pub spoken: bool,
    /// The next best, best first.
    pub refused: Vec<Refused>,
}

/// A candidate that was not taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refused {
    /// None: that no request caused the call.
    pub parent: Option<u64>,
    /// Its probability.
    pub probability: f64,
    /// What speaks most against it.
    pub why: Why,
}

/// Why a candidate was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Requests of its operation do not make this call at this point.
    Order,
    /// It would have made the call unusually soon or late.
    Delay,
    /// What came after: it would have been answered at an unusual moment, or calls of others would be left over.
    After,
    /// Nothing but a parent was missing: calls without one are rare.
    Background,
}

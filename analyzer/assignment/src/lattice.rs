//! What happens in a process, and what may be said of it.

use crate::model::{Call, Score, Times};
use crate::record::Record;

/// What bounds the work.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// States of a component, at most.
    pub states: usize,
    /// What is less probable than the best by more than so many nats is dropped.
    pub nats: f64,
    /// Calls and answers after which a component is decided although doubt is left.
    pub layers: usize,
}

impl Limits {
    /// States times requests of a component, at most.
    const WORK: usize = 1_024;
    /// Requests that one call may belong to, at most.
    pub const REQUESTS: usize = 16;

    /// States of a component of so many requests, at most.
    pub fn states_for(&self, requests: usize) -> usize {
        self.states.min(Limits::WORK / requests.max(1)).max(8)
    }
}

/// The parent of no call.
pub const NOBODY: u32 = u32::MAX;

/// What happens, in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A request comes.
    Came(u32),
    /// A call is made.
    Called(u32),
    /// A request is answered.
    Answered(u32),
}

/// Requests and calls of one process.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Requests.
    pub requests: Vec<Times>,
    /// Calls.
    pub calls: Vec<Call>,
    /// By call: the parent that is known, or [`NOBODY`].
    pub certain: Vec<u32>,
    /// By call: a request that is the same span, or [`NOBODY`].
    pub itself: Vec<u32>,
    /// In the order of time.
    pub events: Vec<Event>,
}

/// One possible link.
#[derive(Clone, Copy, Debug)]
pub struct Possible<'a> {
    /// The request, or [`NOBODY`].
    pub request: u32,
    /// What it had called before.
    pub record: &'a Record,
    /// Its probability among the hypotheses that were kept.
    pub probability: f64,
    /// The probability of those that were dropped for want of room.
    pub lost: f64,
    /// Whether no other had waited longer.
    pub oldest: bool,
    /// How it was judged.
    pub score: Score,
}

/// Takes what the sweep finds.
pub trait Sink {
    /// A call was this request's, in this way.
    fn called(&mut self, call: u32, possible: &Possible<'_>);
    /// A request was answered after these calls.
    fn answered(&mut self, request: u32, record: &Record, probability: f64);
}

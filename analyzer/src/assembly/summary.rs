//! What may be chosen of an assembly, and what one found.

use crate::tables::dimensions::ClockStep;

/// What may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How long a decided span waits for its relatives, ns of event time.
    pub settle_ns: i64,
    /// Write table `messages`.
    pub messages: bool,
    /// No span gets a parent by evidence that is less sure, from 0 to 1.
    pub min_confidence: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options { settle_ns: 1_000_000_000, messages: true, min_confidence: 0.0 }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events read.
    pub events: u64,
    /// Rows of `spans`.
    pub spans: u64,
    /// Rows of `traces`.
    pub traces: u64,
    /// Rows of `connections`.
    pub connections: u64,
    /// Rows of `messages`.
    pub messages: u64,
    /// Bytes whose calls are not in the capture.
    pub missing_bytes: u64,
    /// Connections of a proxy that did not stay equal to their partner.
    pub broken_pairs: u64,
    /// Where the wall clock was set during the recording.
    pub clock_steps: Vec<ClockStep>,
}

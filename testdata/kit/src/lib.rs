//! What the tests of all crates share: captures and series that are made with a known truth, how a test says that it was skipped,
//! and whose turn it is.
//!
//! It knows the capture format and nothing of the recorder or the analyzer, which are tested with it.

pub mod capture;
pub mod series;
pub mod skip;
mod turns;

pub use turns::{Turn, turn};

//! What the tests of all crates share: how a test says that it was skipped, and whose turn it is.

pub mod skip;
mod turns;

pub use turns::{Turn, turn};

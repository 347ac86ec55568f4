//! From the rings of the CPUs to one sorted run of records.

pub mod drain;
pub mod filling;
pub mod merge;
pub mod snapshot;

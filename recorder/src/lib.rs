//! Records socket events into a Retrospan capture.

pub mod btf;
pub mod probes;

//! Tests that need nothing but this repository: no root and no eBPF.

#[path = "../recorder_support/mod.rs"]
mod recorder_support;
mod support;

mod golden;
mod hashes;
mod object;
mod refused;

//! Tests that need nothing but this repository: no root and no eBPF.

mod support;

mod golden;
mod object;

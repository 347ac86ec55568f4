//! Tests of the kernel programs, and of the recorder as a program: they need root and eBPF. Without them they are
//! skipped.
//!
//! Most record this very process. The tests of a file run together, those of two files never: see
//! `retrospan_testkit::turn`.

mod kernel_support;
#[path = "../recorder_support/mod.rs"]
mod recorder_support;

mod calls;
mod crowds;
mod datagrams;
mod early;
mod evidence_arrivals;
mod evidence_counters;
mod evidence_sched;
mod evidence_tcp;
mod evidence_usage;
mod evidence_wakes;
mod exchange;
mod fast_open;
mod filters;
mod hashes;
mod heads;
mod judging;
mod losses;
mod payload;
mod processes;
mod record;
mod record_truth;
mod rolling;
mod rules;
mod safety;
mod sampling;
mod selecting;
mod sequence;
mod shedding;
mod snapshot;
mod states;
mod tls;
mod unix;

//! Tests that record real servers: they need root, eBPF and what `.ci/setup` installs. Without them they are skipped.
//!
//! The tests of a file run together, those of two files never: see `retrospan_testkit::turn`.

#[path = "../lab/mod.rs"]
mod lab;

mod connecting;
mod crash;
mod dns;
mod duckdb;
mod giving_up;
mod hostile_traffic;
mod http_proxies;
mod jaeger;
mod real_traffic;
mod redaction;
mod redis;
mod seed_chain;
mod selftest;
mod spikes;

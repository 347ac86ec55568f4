//! Tests that record real servers: they need root, eBPF and what `.ci/setup` installs. Without them they are skipped.
//!
//! The tests of a file run together, those of two files never: see `retrospan_testkit::turn`.

#[path = "../lab/mod.rs"]
mod lab;

mod caches;
mod calls;
mod cassandra;
mod causes;
mod connecting;
mod crash;
mod databases;
mod dns;
mod dubbo;
mod duckdb;
mod encrypted;
mod giving_up;
mod hostile_traffic;
mod http_proxies;
mod identity;
mod imported;
mod jaeger;
mod links;
mod messages;
mod mongodb;
mod real_traffic;
mod redaction;
mod redis;
mod sampled;
mod seed_chain;
mod selftest;
mod spikes;
mod thrift;
mod tls;
mod unix;

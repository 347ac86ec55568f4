//! Records socket events into a Retrospan capture.
//!
//! The way of a record: [`probes`] (kernel) -> [`drain`] (rings) -> [`order`] (one sorted run) ->
//! [`pipeline`], which asks [`processes`], [`sockets`] and [`redact`] -> [`columns`] and [`rows`] (Arrow) ->
//! [`files`] (the writer's thread). Evidence for causes goes the same way ([`evidence`]), or is sampled about once
//! a second ([`usage`], [`throttles`]); [`own_work`] is what we did ourselves. [`record`] runs it all.

pub mod btf;
pub mod cgroups;
pub mod cli;
pub mod columns;
pub mod command;
pub mod dimensions;
pub mod drain;
pub mod evidence;
pub mod evidence_rows;
pub mod fast_map;
pub mod files;
pub mod host;
pub mod jitter;
pub mod listeners;
pub mod long_heads;
pub mod losses;
pub mod options;
pub mod order;
pub mod own_work;
pub mod pipeline;
pub mod probes;
pub mod processes;
pub mod procfs;
pub mod record;
pub mod redact;
pub mod report;
pub mod rows;
pub mod shell;
pub mod signals;
pub mod snapshot;
pub mod sockets;
pub mod throttles;
pub mod usage;

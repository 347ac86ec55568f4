//! Records socket events into a Retrospan capture.
//!
//! A record takes one step a folder: [`kernel`] (the programs and what they need) -> [`rings`] (drained, merged
//! into one sorted run) -> [`pipeline`] (who owns what, what may be kept) -> [`rows`] (Arrow, the writer's
//! thread). [`host`] is this machine as /proc, cgroups, clocks and signals show it. [`record`] runs it all:
//! [`options`] say what, [`filters`] of whom, [`rotation`] when a part ends, [`triggers`] and [`dumps`] when a copy is made of what is held, [`shed`] how much is left out,
//! [`progress`] shows how far it is, [`silence`] says that nothing
//! comes, [`summary`] what came of it.

pub mod check;
pub mod cli;
pub mod dumps;
pub mod fast_map;
pub mod filters;
pub mod host;
pub mod kernel;
pub mod options;
pub mod pipeline;
pub mod progress;
pub mod record;
pub mod rings;
pub mod rotation;
pub mod rows;
pub mod shed;
pub mod silence;
pub mod summary;
pub mod text;
pub mod tls;
pub mod triggers;

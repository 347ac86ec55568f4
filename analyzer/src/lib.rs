//! Turns a Retrospan capture into answers.
//!
//! [`import`] makes captures of packets. [`assembly`] runs the steps from events to derived [`tables`], one module each. [`sql`] makes all tables available
//! to queries, [`functions`] adds our own to SQL. [`findings`] looks for spikes and their causes by [`periodicity`];
//! [`report`] draws, [`print`](mod@print) writes rows, [`terminal`] knows what can be shown, [`otlp`] sends spans; [`commands`] has one file a command of
//! `retrospan`.

pub mod arguments;
pub mod assembly;
pub mod cli;
pub mod commands;
pub mod error;
pub mod findings;
pub mod functions;
pub mod hashing;
pub mod import;
pub mod otlp;
pub mod periodicity;
pub mod print;
pub mod progress;
pub mod report;
pub mod session;
pub mod sql;
pub mod tables;
pub mod terminal;
pub mod text;

/// Assembly and queries make many small allocations that end on other threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

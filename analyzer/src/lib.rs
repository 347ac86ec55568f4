//! Turns a Retrospan capture into answers.
//!
//! `assemble` runs the steps from events to derived tables, one module each. `catalog` makes all tables available to
//! SQL, `derived` and `cache` those that must be assembled first; `commands` has one file a command of
//! `retrospan`; `library` reads the queries; `otlp` sends spans.

pub mod assemble;
pub mod blame;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod connections;
pub mod connects;
pub mod derived;
pub mod dimensions;
pub mod docs;
pub mod error;
pub mod events;
pub mod findings;
pub mod flows;
pub mod functions;
pub mod hashing;
pub mod heads;
pub mod held;
pub mod library;
pub mod links;
pub mod messages;
pub mod openings;
pub mod otlp;
pub mod outcomes;
pub mod parts;
pub mod periodicity;
pub mod print;
pub mod proxies;
pub mod records;
pub mod regimes;
pub mod report;
pub mod rows;
pub mod secret;
pub mod shift;
pub mod socket_ids;
pub mod span_rows;
pub mod spans;
pub mod streams;
pub mod synthetic;
pub mod tables;
pub mod text;
pub mod traces;

/// Assembly and queries make many small allocations that end on other threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

//! Turns a Retrospan capture into answers.
//!
//! `catalog` makes a capture's tables available to SQL; `commands` has one file a command of `retrospan`.

pub mod assemble;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod connections;
pub mod dimensions;
pub mod error;
pub mod events;
pub mod flows;
pub mod hashing;
pub mod heads;
pub mod links;
pub mod messages;
pub mod otlp;
pub mod outcomes;
pub mod parts;
pub mod print;
pub mod proxies;
pub mod records;
pub mod rows;
pub mod span_rows;
pub mod spans;
pub mod streams;
pub mod tables;
pub mod text;
pub mod traces;

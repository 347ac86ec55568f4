//! Turns a Retrospan capture into answers.
//!
//! `catalog` makes a capture's tables available to SQL, `derived` and `cache` those that must be assembled first;
//! `commands` has one file a command of `retrospan`; `library` reads the queries; `otlp` sends spans.

pub mod cache;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod derived;
pub mod error;
pub mod library;
pub mod otlp;
pub mod parts;
pub mod print;
pub mod span_rows;
pub mod text;

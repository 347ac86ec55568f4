//! Turns a Retrospan capture into answers.
//!
//! `catalog` makes a capture's tables available to SQL; `commands` has one file a command of `retrospan`.

pub mod catalog;
pub mod cli;
pub mod commands;
pub mod error;
pub mod otlp;
pub mod parts;
pub mod print;
pub mod span_rows;
pub mod text;

//! A capture as tables that SQL can ask.
//!
//! Raw tables are the capture's files, derived ones are assembled when a query first asks for one and kept on disk.

pub mod blame;
pub mod cache;
pub mod capture;
pub mod derived;
pub mod held;
pub mod library;
pub mod parquet_table;
pub mod secret;
pub mod session;
pub mod time_filter_rule;

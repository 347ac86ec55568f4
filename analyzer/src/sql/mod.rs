//! A capture as tables that SQL can ask.
//!
//! Raw tables are the capture's files. Derived tables are assembled when a query first asks for one, and kept on disk.
//! Views are statements over both, planned when a query first names one.

pub mod blame;
pub mod cache;
pub mod capture;
pub mod derived;
pub mod held;
pub mod library;
pub mod literals;
pub mod mistake;
pub mod parquet_table;
pub mod reference;
pub mod secret;
pub mod session;
pub mod time_filter_rule;
pub mod views;
pub mod zone;

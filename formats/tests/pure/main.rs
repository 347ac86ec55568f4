//! Tests that need nothing but this repository.

#[path = "../support/mutate.rs"]
mod mutate;
#[path = "../support/mod.rs"]
mod support;

mod capture;
mod directory;
mod format_page;
mod hostile;
mod imports;
mod mutations;
mod salvage;

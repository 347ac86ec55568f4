//! Tests that need programs which `.ci/setup` installs, but neither root nor eBPF. Without them they are skipped.

#[path = "../lab/browser.rs"]
mod browser;
#[path = "../cli_support/mod.rs"]
mod cli_support;
#[path = "../lab/mod.rs"]
mod lab;

mod lab_agrees;
mod report;

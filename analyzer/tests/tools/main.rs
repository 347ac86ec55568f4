//! Tests that need programs which `.ci/setup` installs, but neither root nor eBPF. Without them they are skipped.

#[path = "../cli_support/mod.rs"]
mod cli_support;
#[path = "../lab/mod.rs"]
mod lab;
#[path = "../report_support/mod.rs"]
mod report_support;

mod lab_agrees;
mod readers;
mod report_in_browser;

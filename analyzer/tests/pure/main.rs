//! Tests that need nothing but this repository: no root, no installed program, no network beyond loopback.

#[path = "../assembly_support/mod.rs"]
mod assembly_support;
#[path = "../cli_support/mod.rs"]
mod cli_support;
#[path = "../lab/mod.rs"]
mod lab;
#[path = "../otlp_support/mod.rs"]
mod otlp_support;
#[path = "../report_support/mod.rs"]
mod report_support;

mod assembly_connects;
mod assembly_http2;
mod assembly_keys;
mod assembly_links;
mod assembly_outcomes;
mod assembly_proof;
mod assembly_properties;
mod assembly_rolling;
mod assembly_sampled;
mod assembly_spans;
mod assembly_tls;
mod bad_input;
mod cli_cache;
mod cli_derived;
mod cli_export;
mod cli_hostile;
mod cli_mistakes;
mod cli_raw;
mod cli_services;
mod cli_terminal;
mod cli_times;
mod eval_links;
mod export_environment;
mod import;
mod import_traces;
mod lab_notices;
mod otlp_oracle;
mod report;
mod salvage;
mod sample;
mod selftest;
mod synthetic;
mod tutorial;

//! The two ends of a test of `export`: a receiver that takes everything, and the OpenTelemetry project's own exporter.

#![allow(dead_code, reason = "each program uses its part")]

pub mod receiver;
pub mod sdk;

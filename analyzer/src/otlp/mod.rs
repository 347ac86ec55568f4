//! Span rows in, OTLP requests out, delivered.
//!
//! [`convert`] and [`resource`] turn rows into protobuf, [`attributes`] holds the semantic conventions, [`batches`] makes
//! requests. [`settings`] says where they go ([`endpoint`]), [`send`] delivers them over gRPC ([`grpc`]) or HTTP/1.1
//! ([`http`], whose answers [`answer`] reads).
//!
//! The transport is ours and not `opentelemetry-otlp`: docs/decisions/001-otlp-transport.md has the figures.

pub mod answer;
pub mod attributes;
pub mod batches;
pub mod convert;
pub mod endpoint;
pub mod grpc;
pub mod http;
pub mod refusal;
pub mod resource;
pub mod send;
pub mod settings;

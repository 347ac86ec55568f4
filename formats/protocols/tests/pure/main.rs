//! Tests that need nothing but this repository.

#[path = "../support/framed.rs"]
mod support;

mod alone;
mod framed;

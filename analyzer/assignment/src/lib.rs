//! Requests and calls of processes in, which request caused which call out, from times and names alone.
pub mod clock;
pub mod component;
pub mod delay;
pub mod density;
pub mod first;
pub mod lattice;
pub mod learn;
pub mod link;
pub mod measure;
pub mod model;
pub mod record;
pub mod seen;
pub mod span;
pub mod sweep;
#[cfg(test)]
mod synthetic;
pub mod work;

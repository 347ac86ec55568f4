//! Pictures of a capture and its findings.
//!
//! [`data`] is what they show, read from the capture into plain numbers; [`pictures`] makes scenes of it, one
//! module a picture; [`draw`] turns a scene into SVG or PNG; [`page`] puts all of it on one HTML page.

pub mod data;
pub mod draw;
pub mod page;
pub mod pictures;

//! Pictures of a capture and its findings.
//!
//! [`gather`] reads what they show into plain data; one module a picture makes a [`scene`] of it; [`page`] puts the
//! scenes on one HTML page, [`plot`] writes one of them alone, [`text`] draws for a terminal.

pub mod axes;
pub mod colour;
pub mod cycles;
pub mod data;
pub mod finding;
pub mod fold;
pub mod font;
pub mod gather;
pub mod heat;
pub mod map;
pub mod markup;
pub mod meanwhile;
pub mod page;
pub mod pass;
pub mod plot;
pub mod png;
pub mod raster;
pub mod scene;
pub mod svg;
pub mod text;
pub mod waterfall;
pub mod waterfalls;

//! Scenes, and what becomes of them: SVG, PNG, markup.

pub mod colour;
pub mod font;
pub mod markup;
pub mod png;
pub mod raster;
pub mod scene;
pub mod svg;

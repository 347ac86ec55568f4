//! One module a picture: data in, a scene out. [`plot`] finds one by its name.

pub mod axes;
pub mod cycles;
pub mod fold;
pub mod heat;
pub mod map;
pub mod plot;
pub mod terminal;
pub mod waterfall;

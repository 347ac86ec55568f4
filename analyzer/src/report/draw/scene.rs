//! Pictures as lists of shapes. `svg` and `raster` draw them, so that a picture in the report, as SVG and as PNG is one and
//! the same.
//!
//! Lengths are in pixels of the picture, y grows downwards.

use serde::Serialize;

/// A picture.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// What it shows, in a sentence: for those who cannot see it.
    pub title: String,
    /// From back to front.
    pub shapes: Vec<Shape>,
}

/// The widths that pictures are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A desk.
    Wide,
    /// A phone.
    Narrow,
}

impl Size {
    /// Width of the picture.
    pub fn width(self) -> f64 {
        match self {
            Size::Wide => 1080.0,
            Size::Narrow => 340.0,
        }
    }
}

/// What a colour is for; light and dark pages have different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text.
    Text,
    /// Text of less weight.
    Faint,
    /// Lines that help the eye.
    Line,
    /// Ground of a picture.
    Ground,
    /// Boxes on the ground.
    Panel,
    /// Ordinary bars and edges.
    Plain,
    /// A span's own time at the answering side.
    Server,
    /// A span's own time at the requesting side: the network, and waiting to be read.
    Client,
    /// Time that a span waits for its children.
    Waiting,
    /// Marks of a finding.
    Mark,
    /// Failures.
    Bad,
    /// Clients that gave up.
    Left,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Begins there.
    Start,
    /// Has its middle there.
    Middle,
    /// Ends there.
    End,
}

/// A rectangle: left, top, width, height.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// One part of a picture.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A filled rectangle.
    Rect(Area, Ink),
    /// A straight line of a width.
    Line([f64; 2], [f64; 2], Ink, f64),
    /// A cubic curve of a width with an arrow at its end.
    Arrow([[f64; 2]; 4], Ink, f64),
    /// A text: x, y of its base line.
    Text(f64, f64, String, Style),
    /// A heat map.
    Cells(Area, Cells),
    /// Bars side by side that stand on the lower edge; each of a height from 0 to 1.
    Bars(Area, Vec<f64>, Ink),
    /// A time of which events were lost.
    Hatch(Area),
    /// Shapes with something to say when pointed at, a line each.
    Tip(Vec<String>, Vec<Shape>),
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Height of the font.
    pub size: f64,
    /// Where its point is.
    pub anchor: Anchor,
    /// Colour.
    pub ink: Ink,
    /// Of more weight.
    pub bold: bool,
}

/// Small text that begins at its point.
pub const SMALL: Style = Style { size: 11.0, anchor: Anchor::Start, ink: Ink::Faint, bold: false };
/// Text that begins at its point.
pub const PLAIN: Style = Style { size: 12.0, anchor: Anchor::Start, ink: Ink::Text, bold: false };

/// The cells of a heat map.
#[derive(Clone, Debug)]
pub struct Cells {
    /// Cells side by side.
    pub columns: usize,
    /// Cells one above the other.
    pub rows: usize,
    /// Row by row from above: 0 for an empty cell, else 1 to 255.
    pub levels: Vec<u8>,
    /// What a level means.
    pub scale: Scale,
    /// What a column means.
    pub x: Axis,
    /// What a row means; the first value is that of the lowest row.
    pub y: Axis,
    /// The name of the examples that a click shows, where there are any.
    pub examples: Option<String>,
}

/// What levels mean. Both are logarithmic.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scale {
    /// Counts from 1 to `max`.
    Count {
        /// What is counted.
        what: &'static str,
        /// The largest.
        max: f64,
    },
    /// Durations, ns.
    Duration {
        /// What they are.
        what: &'static str,
        /// Level 1.
        low_ns: f64,
        /// Level 255.
        high_ns: f64,
    },
}

impl Scale {
    /// The level of a value; 0 where there is nothing.
    pub fn level(self, value: f64) -> u8 {
        let part = match self {
            _ if value <= 0.0 => return 0,
            Scale::Count { max, .. } => value.ln_1p() / max.max(1.0).ln_1p(),
            Scale::Duration { low_ns, high_ns, .. } => {
                (value / low_ns).ln() / (high_ns / low_ns).ln().max(1e-9)
            }
        };
        1 + (254.0 * part.clamp(0.0, 1.0)).round() as u8
    }
}

/// What places along an edge of a heat map mean.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Axis {
    /// Points in time; milliseconds since 1970 in the recording host's zone.
    Time {
        /// Begin.
        from_ms: f64,
        /// End.
        to_ms: f64,
    },
    /// Seconds from something.
    Seconds {
        /// Begin.
        from_s: f64,
        /// End.
        to_s: f64,
        /// From what.
        since: &'static str,
    },
    /// Cycles.
    Cycle {
        /// Number of the first.
        first: i64,
        /// How many a cell stands for.
        each: usize,
    },
    /// Durations in equal steps of their logarithm.
    Log {
        /// Decimal logarithm of the lowest, ns.
        from: f64,
        /// Decimal logarithm of the highest, ns.
        to: f64,
    },
}

impl Scene {
    /// An empty picture.
    pub fn new(width: f64, height: f64, title: String) -> Scene {
        Scene { width, height, title, shapes: Vec::new() }
    }

    /// Adds a filled rectangle.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, ink: Ink) {
        self.shapes.push(Shape::Rect(Area { x, y, width, height }, ink));
    }

    /// Adds a line.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], ink: Ink, width: f64) {
        self.shapes.push(Shape::Line(from, to, ink, width));
    }

    /// Adds a text.
    pub fn text(&mut self, x: f64, y: f64, text: impl Into<String>, style: Style) {
        self.shapes.push(Shape::Text(x, y, text.into(), style));
    }
}

/// Cuts a text to about so many pixels, with an ellipsis.
pub fn fit(text: &str, size: f64, width: f64) -> String {
    let room = (width / (0.56 * size)).max(1.0) as usize;
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_monotone_and_nothing_is_nothing() {
        let count = Scale::Count { what: "requests", max: 1000.0 };
        assert_eq!((count.level(0.0), count.level(1000.0), count.level(1e9)), (0, 255, 255));
        assert!(count.level(1.0) > 1 && count.level(1.0) < count.level(2.0));
        let duration = Scale::Duration { what: "slowest", low_ns: 1e6, high_ns: 1e9 };
        assert_eq!((duration.level(1.0), duration.level(1e6), duration.level(1e9)), (1, 1, 255));
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(fit("abcdefghij", 10.0, 28.5), "abcd…");
        assert_eq!(fit("abc", 10.0, 28.5), "abc");
    }
}

//! Scenes as SVG: as part of the page, whose style sheet gives the colours, or alone with its own.

use super::colour::{self, STEPS, Theme};
use super::markup::{Markup, Value};
use super::png::{Samples, base64, encode};
use super::scene::{Anchor, Area, Cells, Ink, Scene, Shape, Style};

/// Where a picture will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the page: colours by class, so that they follow the theme.
    Page,
    /// In a file of its own.
    Alone(Theme),
}

/// Draws a scene. `class` is of use to the page only.
pub fn draw(scene: &Scene, place: Place, class: &'static str) -> Markup {
    let mut markup = Markup::default();
    let view = format!("0 0 {} {}", short(scene.width), short(scene.height));
    let mut attributes =
        vec![("viewBox", view.into()), ("role", "img".into()), ("aria-label", scene.title.as_str().into())];
    match place {
        Place::Page => attributes.push(("class", class.into())),
        Place::Alone(_) => attributes.extend([
            ("xmlns", "http://www.w3.org/2000/svg".into()),
            ("width", scene.width.into()),
            ("height", scene.height.into()),
            ("font-family", "system-ui, sans-serif".into()),
        ]),
    }
    markup.open("svg", &attributes);
    if let Place::Alone(theme) = place {
        hatch(&mut markup, theme);
        let ground =
            Shape::Rect(Area { x: 0.0, y: 0.0, width: scene.width, height: scene.height }, Ink::Ground);
        shape(&mut markup, &ground, place);
    }
    scene.shapes.iter().for_each(|part| shape(&mut markup, part, place));
    markup.close("svg");
    markup
}

/// The pattern of times of which events are missing, in colours of its own.
fn hatch(markup: &mut Markup, theme: Theme) {
    markup.raw("<defs>");
    markup.raw("<pattern id=\"lost\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">");
    markup.empty("rect", &[("width", 6.0.into()), ("height", 6.0.into()), paint("fill", Ink::Panel, theme)]);
    markup.empty("rect", &[("width", 2.0.into()), ("height", 6.0.into()), paint("fill", Ink::Faint, theme)]);
    markup.raw("</pattern></defs>");
}

fn paint(what: &'static str, ink: Ink, theme: Theme) -> (&'static str, Value) {
    (what, colour::hex(colour::ink(ink, theme)).into())
}

fn fill(ink: Ink, place: Place) -> (&'static str, Value) {
    match place {
        Place::Page => ("class", format!("f-{}", colour::name(ink)).into()),
        Place::Alone(theme) => paint("fill", ink, theme),
    }
}

fn stroke(ink: Ink, place: Place) -> (&'static str, Value) {
    match place {
        Place::Page => ("class", format!("s-{}", colour::name(ink)).into()),
        Place::Alone(theme) => paint("stroke", ink, theme),
    }
}

fn shape(markup: &mut Markup, shape: &Shape, place: Place) {
    match shape {
        Shape::Rect(area, ink) => {
            let [x, y, width, height] = edges(area);
            markup.empty("rect", &[x, y, width, height, fill(*ink, place)]);
        }
        Shape::Line(from, to, ink, width) => {
            let ends =
                [("x1", from[0].into()), ("y1", from[1].into()), ("x2", to[0].into()), ("y2", to[1].into())];
            let [x1, y1, x2, y2] = ends;
            markup.empty("line", &[x1, y1, x2, y2, ("stroke-width", (*width).into()), stroke(*ink, place)]);
        }
        Shape::Arrow(points, ink, width) => arrow(markup, points, *ink, *width, place),
        Shape::Text(x, y, text, style) => self::text(markup, *x, *y, text, *style, place),
        Shape::Cells(area, cells) => self::cells(markup, area, cells, place),
        Shape::Bars(area, heights, ink) => bars(markup, area, heights, *ink, place),
        Shape::Hatch(area) => {
            let [x, y, width, height] = edges(area);
            markup.empty("rect", &[x, y, width, height, ("fill", "url(#lost)".into())]);
        }
        Shape::Tip(tip, shapes) => {
            match place {
                Place::Page => {
                    markup.open("g", &[("class", "tip".into()), ("data-tip", tip.as_slice().into())]);
                }
                Place::Alone(_) => {
                    markup.open("g", &[]).open("title", &[]).lines(tip).close("title");
                }
            }
            shapes.iter().for_each(|inner| self::shape(markup, inner, place));
            markup.close("g");
        }
    }
}

fn edges(area: &Area) -> [(&'static str, Value); 4] {
    [
        ("x", area.x.into()),
        ("y", area.y.into()),
        ("width", area.width.max(0.0).into()),
        ("height", area.height.max(0.0).into()),
    ]
}

fn text(markup: &mut Markup, x: f64, y: f64, text: &str, style: Style, place: Place) {
    let mut attributes =
        vec![("x", x.into()), ("y", y.into()), ("font-size", style.size.into()), fill(style.ink, place)];
    match style.anchor {
        Anchor::Start => {}
        Anchor::Middle => attributes.push(("text-anchor", "middle".into())),
        Anchor::End => attributes.push(("text-anchor", "end".into())),
    }
    if style.bold {
        attributes.push(("font-weight", "600".into()));
    }
    markup.element("text", &attributes, text);
}

fn arrow(markup: &mut Markup, points: &[[f64; 2]; 4], ink: Ink, width: f64, place: Place) {
    let [a, b, c, d] = points.map(|[x, y]| format!("{} {}", short(x), short(y)));
    let curve = format!("M{a}C{b} {c} {d}");
    markup.empty(
        "path",
        &[("d", curve.into()), ("fill", "none".into()), ("stroke-width", width.into()), stroke(ink, place)],
    );
    let [tip, left, right] = head(points, width);
    let triangle = format!(
        "M{} {}L{} {}L{} {}Z",
        short(tip[0]),
        short(tip[1]),
        short(left[0]),
        short(left[1]),
        short(right[0]),
        short(right[1])
    );
    markup.empty("path", &[("d", triangle.into()), fill(ink, place)]);
}

/// The corners of an arrow's head.
pub fn head(points: &[[f64; 2]; 4], width: f64) -> [[f64; 2]; 3] {
    let [_, _, before, end] = *points;
    let (dx, dy) = (end[0] - before[0], end[1] - before[1]);
    let length = dx.hypot(dy).max(1e-6);
    let (ux, uy) = (dx / length, dy / length);
    let size = 5.0 + width;
    let base = [end[0] - ux * size, end[1] - uy * size];
    let side = 0.55 * size;
    [end, [base[0] - uy * side, base[1] + ux * side], [base[0] + uy * side, base[1] - ux * side]]
}

fn bars(markup: &mut Markup, area: &Area, heights: &[f64], ink: Ink, place: Place) {
    let step = area.width / heights.len().max(1) as f64;
    let bottom = area.y + area.height;
    let mut path = String::new();
    let mut place_of_next = 0;
    while place_of_next < heights.len() {
        let height = heights[place_of_next];
        let same = heights[place_of_next..].iter().take_while(|&&other| other == height).count();
        if height > 0.0 {
            // What is there can be seen.
            let pixels = (height.min(1.0) * area.height).max(1.0);
            let (x, width) = (area.x + step * place_of_next as f64, step * same as f64);
            path.push_str(&format!(
                "M{} {}v-{}h{}v{}z",
                short(x),
                short(bottom),
                short(pixels),
                short(width),
                short(pixels)
            ));
        }
        place_of_next += same;
    }
    markup.empty("path", &[("d", path.into()), fill(ink, place)]);
}

/// A heat map as an embedded picture of one pixel a cell. On the page it is grey and a filter gives it the
/// theme's colours; the grey is the level, so that the page can say what a cell holds.
fn cells(markup: &mut Markup, area: &Area, cells: &Cells, place: Place) {
    let theme = match place {
        Place::Page => None,
        Place::Alone(theme) => Some(theme),
    };
    let palette: Vec<colour::Rgb> = (0..=255_u8)
        .map(|level| match theme {
            None => [level; 3],
            Some(theme) => colour::heat(part_of(level), theme),
        })
        .collect();
    let png = encode(cells.columns, cells.rows, &Samples::Palette(&palette), &cells.levels);
    let [x, y, width, height] = edges(area);
    let mut attributes = vec![
        x,
        y,
        width,
        height,
        ("preserveAspectRatio", "none".into()),
        ("href", format!("data:image/png;base64,{}", base64(&png)).into()),
    ];
    if let (Place::Page, Some(name)) = (place, &cells.examples) {
        attributes.push(("data-examples", name.as_str().into()));
    }
    match place {
        Place::Page => attributes.extend([
            ("class", "cells".into()),
            ("data-columns", (cells.columns as f64).into()),
            ("data-rows", (cells.rows as f64).into()),
            ("data-x", json(&cells.x)),
            ("data-y", json(&cells.y)),
            ("data-scale", json(&cells.scale)),
        ]),
        Place::Alone(_) => attributes.push(("style", "image-rendering:pixelated".into())),
    }
    markup.empty("image", &attributes);
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_string(value).unwrap_or_default().into()
}

/// The place of a level in the colour map.
pub fn part_of(level: u8) -> f64 {
    f64::from(level.saturating_sub(1)) / 254.0
}

/// The colour map as the tables of an SVG filter, one for each of red, green and blue.
pub fn filter_tables(theme: Theme) -> [String; 3] {
    [0, 1, 2].map(|channel| {
        let value = |step: usize| {
            let rgb = colour::heat(step as f64 / STEPS as f64, theme);
            format!("{:.3}", f64::from(rgb[channel]) / 255.0)
        };
        (0..=STEPS).map(value).collect::<Vec<_>>().join(" ")
    })
}

fn short(number: f64) -> String {
    let mut text = String::new();
    super::markup::push_number(&mut text, number);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::scene::PLAIN;

    #[test]
    fn hostile_text_stays_text() {
        let mut scene = Scene::new(10.0, 10.0, "\"><script>".to_owned());
        scene.text(1.0, 2.0, "</text><script>", PLAIN);
        scene.shapes.push(Shape::Tip(vec!["' onclick=\"x".to_owned()], Vec::new()));
        for place in [Place::Page, Place::Alone(Theme::Dark)] {
            let svg = draw(&scene, place, "picture").into_string();
            assert!(!svg.contains("<script") && !svg.contains("\"x"), "{svg}");
        }
    }

    #[test]
    fn bars_of_one_height_are_one() {
        let mut markup = Markup::default();
        let area = Area { x: 0.0, y: 0.0, width: 40.0, height: 10.0 };
        bars(&mut markup, &area, &[0.0, 0.5, 0.5, 0.001], Ink::Bad, Place::Page);
        assert_eq!(markup.into_string(), "<path d=\"M10 10v-5h20v5zM30 10v-1h10v1z\" class=\"f-bad\"/>");
    }
}

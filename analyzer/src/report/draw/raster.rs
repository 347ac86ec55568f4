//! Scenes as PNG: coverage of pixels by rectangles, strokes and triangles, two pixels to a unit of the scene.

use super::colour::{self, Rgb, Theme};
use super::font;
use super::png::{Samples, encode};
use super::scene::{Anchor, Area, Cells, Ink, Scene, Shape, Style};
use super::svg::{head, part_of};

/// Pixels to a unit of the scene.
const PIXELS: f64 = 2.0;
/// Pieces of a curve.
const PIECES: usize = 32;

/// Draws a scene as a PNG file.
pub fn png(scene: &Scene, theme: Theme) -> Vec<u8> {
    let mut canvas = Canvas::new(scene.width, scene.height, theme);
    scene.shapes.iter().for_each(|shape| canvas.shape(shape));
    encode(canvas.width, canvas.height, &Samples::Rgb, canvas.pixels.as_flattened())
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
    theme: Theme,
}

impl Canvas {
    fn new(width: f64, height: f64, theme: Theme) -> Canvas {
        let [width, height] =
            [width, height].map(|length| (length * PIXELS).ceil().clamp(1.0, 20_000.0) as usize);
        Canvas { width, height, pixels: vec![colour::ink(Ink::Ground, theme); width * height], theme }
    }

    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Rect(area, ink) => self.rect(area, colour::ink(*ink, self.theme)),
            Shape::Line(from, to, ink, width) => self.stroke(*from, *to, *ink, *width),
            Shape::Arrow(points, ink, width) => self.arrow(points, *ink, *width),
            Shape::Text(x, y, text, style) => self.text(*x, *y, text, *style),
            Shape::Cells(area, cells) => self.cells(area, cells),
            Shape::Bars(area, heights, ink) => self.bars(area, heights, *ink),
            Shape::Hatch(area) => self.hatch(area),
            Shape::Tip(_, shapes) => shapes.iter().for_each(|inner| self.shape(inner)),
        }
    }

    /// Mixes a colour into a pixel, by how much of it is covered.
    fn mix(&mut self, x: usize, y: usize, rgb: Rgb, part: f64) {
        if x >= self.width || y >= self.height || part <= 0.0 {
            return;
        }
        let part = part.min(1.0);
        for (old, new) in self.pixels[y * self.width + x].iter_mut().zip(rgb) {
            *old = (f64::from(*old) * (1.0 - part) + f64::from(new) * part).round() as u8;
        }
    }

    /// The pixels that a range of units touches along one edge of the canvas.
    fn touched(from: f64, to: f64, length: usize) -> std::ops::Range<usize> {
        let clamp = |place: f64| (place * PIXELS).clamp(0.0, length as f64);
        clamp(from).floor() as usize..clamp(to).ceil() as usize
    }

    fn rect(&mut self, area: &Area, rgb: Rgb) {
        let covered = |pixel: usize, from: f64, to: f64| {
            let low = (pixel as f64).max(from * PIXELS);
            let high = (pixel as f64 + 1.0).min(to * PIXELS);
            (high - low).max(0.0)
        };
        let (right, bottom) = (area.x + area.width, area.y + area.height);
        for y in Canvas::touched(area.y, bottom, self.height) {
            let part = covered(y, area.y, bottom);
            for x in Canvas::touched(area.x, right, self.width) {
                self.mix(x, y, rgb, part * covered(x, area.x, right));
            }
        }
    }

    /// A line with round ends: a pixel is covered as far as it is nearer than half the width.
    fn stroke(&mut self, from: [f64; 2], to: [f64; 2], ink: Ink, width: f64) {
        let rgb = colour::ink(ink, self.theme);
        let reach = width / 2.0 + 1.0;
        let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
        let square = (dx * dx + dy * dy).max(1e-12);
        for y in Canvas::touched(from[1].min(to[1]) - reach, from[1].max(to[1]) + reach, self.height) {
            for x in Canvas::touched(from[0].min(to[0]) - reach, from[0].max(to[0]) + reach, self.width) {
                let [px, py] = [x, y].map(|place| (place as f64 + 0.5) / PIXELS);
                let along = (((px - from[0]) * dx + (py - from[1]) * dy) / square).clamp(0.0, 1.0);
                let distance = (px - from[0] - along * dx).hypot(py - from[1] - along * dy);
                self.mix(x, y, rgb, (width / 2.0 - distance) * PIXELS + 0.5);
            }
        }
    }

    fn arrow(&mut self, points: &[[f64; 2]; 4], ink: Ink, width: f64) {
        let at = |piece: usize| {
            let t = piece as f64 / PIECES as f64;
            let weights =
                [(1.0 - t).powi(3), 3.0 * t * (1.0 - t).powi(2), 3.0 * t * t * (1.0 - t), t.powi(3)];
            [0, 1].map(|axis| {
                points.iter().zip(weights).map(|(point, weight)| point[axis] * weight).sum::<f64>()
            })
        };
        for piece in 0..PIECES {
            self.stroke(at(piece), at(piece + 1), ink, width);
        }
        self.triangle(head(points, width), colour::ink(ink, self.theme));
    }

    fn triangle(&mut self, corners: [[f64; 2]; 3], rgb: Rgb) {
        let bound = |axis: usize, pick: fn(f64, f64) -> f64| {
            corners.iter().map(|corner| corner[axis]).reduce(pick).unwrap_or_default()
        };
        let side = |a: [f64; 2], b: [f64; 2], p: [f64; 2]| {
            (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
        };
        let [a, b, c] = corners;
        for y in Canvas::touched(bound(1, f64::min), bound(1, f64::max), self.height) {
            for x in Canvas::touched(bound(0, f64::min), bound(0, f64::max), self.width) {
                let point = [x, y].map(|place| (place as f64 + 0.5) / PIXELS);
                let sides = [side(a, b, point), side(b, c, point), side(c, a, point)];
                let inside = sides.iter().all(|&side| side >= 0.0) || sides.iter().all(|&side| side <= 0.0);
                self.mix(x, y, rgb, f64::from(u8::from(inside)));
            }
        }
    }

    fn text(&mut self, x: f64, y: f64, text: &str, style: Style) {
        // The widths that pictures reckon with are those of proportional fonts; this one keeps to them.
        let unit = 0.73 * style.size / font::CAPITAL;
        let advance = 0.56 * style.size;
        let length = advance * text.chars().count() as f64;
        let mut left = match style.anchor {
            Anchor::Start => x,
            Anchor::Middle => x - length / 2.0,
            Anchor::End => x - length,
        };
        let across = advance / font::ADVANCE;
        let width = if style.bold { 1.9 } else { 1.25 };
        for c in crate::text::escape_controls(text).chars() {
            for line in font::lines(c) {
                let place = |[gx, gy]: [f64; 2]| [left + gx * across, y + (gy - font::CAPITAL) * unit];
                match line.as_slice() {
                    [dot] => self.stroke(place(*dot), place(*dot), style.ink, width * 1.3),
                    line => {
                        for pair in line.windows(2) {
                            self.stroke(place(pair[0]), place(pair[1]), style.ink, width);
                        }
                    }
                }
            }
            left += advance;
        }
    }

    fn cells(&mut self, area: &Area, cells: &Cells) {
        let (right, bottom) = (area.x + area.width, area.y + area.height);
        for y in Canvas::touched(area.y, bottom, self.height) {
            for x in Canvas::touched(area.x, right, self.width) {
                let cell = |pixel: usize, from: f64, length: f64, count: usize| {
                    let part = ((pixel as f64 + 0.5) / PIXELS - from) / length.max(1e-9);
                    ((part * count as f64).max(0.0) as usize).min(count.saturating_sub(1))
                };
                let column = cell(x, area.x, area.width, cells.columns);
                let row = cell(y, area.y, area.height, cells.rows);
                let level = cells.levels.get(row * cells.columns + column).copied().unwrap_or_default();
                if level > 0 {
                    self.mix(x, y, colour::heat(part_of(level), self.theme), 1.0);
                }
            }
        }
    }

    fn bars(&mut self, area: &Area, heights: &[f64], ink: Ink) {
        let step = area.width / heights.len().max(1) as f64;
        let rgb = colour::ink(ink, self.theme);
        for (place, &height) in heights.iter().enumerate().filter(|(_, height)| **height > 0.0) {
            let height = (height.min(1.0) * area.height).max(1.0);
            let y = area.y + area.height - height;
            // On whole pixels: bars that touch show no seam.
            let edge = |bar: usize| ((area.x + step * bar as f64) * PIXELS).round() / PIXELS;
            self.rect(&Area { x: edge(place), y, width: edge(place + 1) - edge(place), height }, rgb);
        }
    }

    fn hatch(&mut self, area: &Area) {
        let [line, ground] = [Ink::Faint, Ink::Panel].map(|ink| colour::ink(ink, self.theme));
        for y in Canvas::touched(area.y, area.y + area.height, self.height) {
            for x in Canvas::touched(area.x, area.x + area.width, self.width) {
                self.mix(x, y, if (x + y) % 14 < 4 { line } else { ground }, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::scene::PLAIN;

    fn canvas() -> Canvas {
        Canvas::new(10.0, 10.0, Theme::Light)
    }

    #[test]
    fn a_pixel_half_covered_is_half_coloured() {
        let mut canvas = canvas();
        canvas.rect(&Area { x: 1.0, y: 1.0, width: 1.25, height: 1.0 }, [0; 3]);
        let at = |x: usize, y: usize| canvas.pixels[y * canvas.width + x][0];
        assert_eq!([at(1, 2), at(2, 2), at(3, 2), at(4, 2), at(5, 2)], [255, 0, 0, 128, 255]);
    }

    #[test]
    fn nothing_outside_the_canvas_is_drawn() {
        let mut canvas = canvas();
        canvas.rect(&Area { x: -1e9, y: 9.0, width: 2e9, height: 1e9 }, [0; 3]);
        canvas.stroke([-50.0, -50.0], [f64::NAN, 1e6], Ink::Text, 2.0);
        canvas.text(9.0, 9.0, "\u{202e}µ", PLAIN);
        canvas.triangle([[-5.0, -5.0], [-1.0, -1.0], [-5.0, -1.0]], [0; 3]);
        assert_eq!(canvas.pixels[0], colour::ink(Ink::Ground, Theme::Light));
        assert_eq!(canvas.pixels[canvas.width * 19], [0; 3]);
    }

    #[test]
    fn a_picture_has_two_pixels_a_unit() {
        let file = png(&Scene::new(30.0, 20.0, String::new()), Theme::Dark);
        assert_eq!((&file[16..20], &file[20..24]), (&[0, 0, 0, 60][..], &[0, 0, 0, 40][..]));
    }
}

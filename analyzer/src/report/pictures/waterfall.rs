//! A trace as a waterfall: what a span did itself is strong, the time it waited for its children pale. What the kernel
//! noted meanwhile (a stop, a wait for a CPU, a retransmission) is a line under the bar.

use crate::report::data::{Bar, Mark, Trace};
use crate::report::draw::scene::{Anchor, Area, Ink, PLAIN, SMALL, Scene, Shape, Size, Style, fit};
use crate::tables::outcome::Outcome;
use crate::text::duration;

/// Width of the picture, pixels: two stand side by side on a desk, one fills a phone.
fn width_of(size: Size) -> f64 {
    match size {
        Size::Wide => 500.0,
        Size::Narrow => 330.0,
    }
}

/// Height of a span: its label and its bar.
const ROW: f64 = 30.0;
/// Indentation of a child.
const INDENT: f64 = 9.0;

/// Draws a trace.
pub fn scene(trace: &Trace, size: Size) -> Scene {
    let width = width_of(size);
    let title = format!("Trace {}: {} in {} spans.", trace.id, duration(trace.length_ns), trace.spans.len());
    let more = if trace.more > 0 { 18.0 } else { 0.0 };
    let mut scene = Scene::new(width, ROW * trace.spans.len() as f64 + 24.0 + more, title);
    let length_ns = trace.length_ns.max(1) as f64;
    for quarter in 0..=4 {
        let x = 1.0 + (width - 2.0) * f64::from(quarter) / 4.0;
        scene.line([x, 16.0], [x, scene.height - more], Ink::Line, 1.0);
        let anchor = match quarter {
            0 => Anchor::Start,
            4 => Anchor::End,
            _ => Anchor::Middle,
        };
        let label = duration((length_ns * f64::from(quarter) / 4.0) as i64);
        let label = if quarter == 0 { "0".to_owned() } else { label };
        scene.text(x, 11.0, label, Style { anchor, ..SMALL });
    }
    for (place, bar) in trace.spans.iter().enumerate() {
        let shapes = row(bar, 18.0 + ROW * place as f64, length_ns, width);
        scene.shapes.push(Shape::Tip(tip(bar), shapes));
    }
    if trace.more > 0 {
        let words = format!("and {} more spans: retrospan trace CAPTURE {}", trace.more, trace.id);
        scene.text(1.0, scene.height - 5.0, fit(&words, 11.0, width), SMALL);
    }
    scene
}

/// What is known about a span, and what happened meanwhile.
fn tip(bar: &Bar) -> Vec<String> {
    let place = |mark: &Mark| match mark.from_ns - bar.offset_ns {
        0 => "from the begin".to_owned(),
        ns => format!("{} after the begin", duration(ns)),
    };
    let marks = bar.marks.iter().map(|mark| format!("meanwhile: {}, {}", mark.words, place(mark)));
    bar.evidence.iter().cloned().chain(marks).collect()
}

fn row(bar: &Bar, y: f64, length_ns: f64, width: f64) -> Vec<Shape> {
    let place = |ns: i64| 1.0 + (width - 2.0) * (ns as f64 / length_ns).clamp(0.0, 1.0);
    let span = |from_ns: i64, to_ns: i64| {
        let x = place(from_ns).min(width - 2.5);
        Area { x, y: y + 17.0, width: (place(to_ns) - x).max(1.5), height: 9.0 }
    };
    let ink = if bar.works { Ink::Server } else { Ink::Client };
    let failed = match bar.outcome {
        Outcome::Ok => None,
        Outcome::ClientClosed => Some(Ink::Left),
        _ => Some(Ink::Bad),
    };
    // The whole row answers to the pointer.
    let mut shapes = vec![Shape::Rect(Area { x: 0.0, y: y - 1.0, width, height: ROW - 2.0 }, Ink::Ground)];
    let x = 1.0 + INDENT * bar.depth.min(12) as f64;
    let own = format!("{} own {}", duration(bar.duration_ns), duration(bar.own_ns));
    let own_width = 0.56 * 11.0 * own.chars().count() as f64;
    let outcome = if failed.is_some() { format!("{} ", bar.outcome.name()) } else { String::new() };
    let label = format!("{} {outcome}{}", bar.hop, bar.what);
    let style = Style { ink: failed.unwrap_or(Ink::Text), ..PLAIN };
    shapes.push(Shape::Text(x, y + 11.0, fit(&label, 12.0, width - x - own_width - 10.0), style));
    shapes.push(Shape::Text(width - 1.0, y + 11.0, own, Style { anchor: Anchor::End, ..SMALL }));
    shapes
        .push(Shape::Rect(span(bar.offset_ns, bar.offset_ns.saturating_add(bar.duration_ns)), Ink::Waiting));
    shapes.extend(bar.own.iter().map(|&[from_ns, to_ns]| Shape::Rect(span(from_ns, to_ns), ink)));
    for mark in &bar.marks {
        let area = Area { y: y + 26.0, height: 2.5, ..span(mark.from_ns, mark.to_ns) };
        shapes.push(Shape::Rect(area, Ink::Bad));
    }
    if let Some(ink) = failed {
        let end = place(bar.offset_ns.saturating_add(bar.duration_ns));
        let area = Area { x: (end - 3.0).max(1.0), y: y + 14.0, width: 3.0, height: 14.0 };
        shapes.push(Shape::Rect(area, ink));
    }
    shapes
}

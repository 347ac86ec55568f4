//! Ticks and their labels, and the legend of a heat map.

use crate::report::draw::scene::{Anchor, Area, Axis, Cells, Ink, SMALL, Scale, Scene, Shape, Style};
use crate::text::{count, duration, time};

/// Steps of time that people count in, s.
const STEPS_S: [f64; 28] = [
    1e-6, 1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
    60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0,
];

/// A step for about so many ticks in a length of time.
pub fn step_s(length_s: f64, ticks: f64) -> f64 {
    let wanted_s = length_s / ticks.max(1.0);
    STEPS_S.into_iter().find(|&step_s| step_s >= wanted_s).unwrap_or(wanted_s)
}

/// Ticks of wall-clock time under an area, with its grid.
pub fn times(scene: &mut Scene, area: &Area, [from_ns, to_ns]: [i64; 2], utc_offset_s: i32) {
    let length_s = to_ns.saturating_sub(from_ns).max(1) as f64 / 1e9;
    let step_s = step_s(length_s, area.width / 90.0);
    let step_ns = ((step_s * 1e9) as i64).max(1);
    let shift_ns = i64::from(utc_offset_s) * 1_000_000_000;
    // Ticks stand on round times of the host's own clock.
    let mut tick_ns =
        (from_ns.saturating_add(shift_ns)).div_euclid(step_ns).saturating_add(1).saturating_mul(step_ns)
            - shift_ns;
    while tick_ns < to_ns {
        let x = area.x + area.width * (tick_ns - from_ns) as f64 / (to_ns - from_ns) as f64;
        scene.line([x, area.y + area.height], [x, area.y + area.height + 4.0], Ink::Faint, 1.0);
        let clock = time(tick_ns, utc_offset_s, 3);
        let label = match step_s {
            step if step >= 60.0 => clock.get(11..16),
            step if step >= 1.0 => clock.get(11..19),
            _ => clock.get(14..23),
        };
        under(scene, area, x, label.unwrap_or_default().to_owned(), 18.0);
        tick_ns = tick_ns.saturating_add(step_ns);
    }
}

/// The label of a tick: within the area also where the tick is at an end of it, nearer than `half` a label.
fn under(scene: &mut Scene, area: &Area, x: f64, label: String, half: f64) {
    let (anchor, x) = match x {
        x if x < area.x + half => (Anchor::Start, area.x),
        x if x > area.x + area.width - half => (Anchor::End, area.x + area.width),
        x => (Anchor::Middle, x),
    };
    scene.text(x, area.y + area.height + 16.0, label, Style { anchor, ..SMALL });
}

/// Ticks of seconds from something, under an area.
pub fn seconds(scene: &mut Scene, area: &Area, [from_s, to_s]: [f64; 2]) {
    let step_s = step_s(to_s - from_s, area.width / 70.0);
    let mut tick = (from_s / step_s).ceil() as i64;
    while tick as f64 * step_s <= to_s {
        let x = area.x + area.width * (tick as f64 * step_s - from_s) / (to_s - from_s);
        scene.line([x, area.y + area.height], [x, area.y + area.height + 4.0], Ink::Faint, 1.0);
        under(scene, area, x, signed(tick as f64 * step_s), 12.0);
        tick += 1;
    }
}

/// `+1.50 s`, and `0` for nothing.
pub fn signed(seconds: f64) -> String {
    let ns = (seconds * 1e9).round() as i64;
    match ns {
        0 => "0".to_owned(),
        ns if ns > 0 => format!("+{}", plain(ns)),
        ns => plain(ns),
    }
}

/// A round duration without zeros behind the point.
pub fn plain(ns: i64) -> String {
    let text = duration(ns);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Decades of latency at the left of an area.
pub fn decades(scene: &mut Scene, area: &Area, [from, to]: [f64; 2]) {
    let mut decade = from.ceil() as i32;
    while f64::from(decade) <= to {
        let y = area.y + area.height * (1.0 - (f64::from(decade) - from) / (to - from));
        scene.line([area.x - 4.0, y], [area.x, y], Ink::Faint, 1.0);
        let label = plain(10_i64.saturating_pow(u32::try_from(decade).unwrap_or_default()));
        scene.text(area.x - 7.0, y + 4.0, label, Style { anchor: Anchor::End, ..SMALL });
        decade += 1;
    }
}

/// The colours of a scale with its ends, from x, y on.
pub fn legend(scene: &mut Scene, x: f64, y: f64, scale: Scale) {
    let (what, low, high) = match scale {
        Scale::Count { what, max } => (what, "1".to_owned(), count(max.max(1.0) as u64)),
        Scale::Duration { what, low_ns, high_ns } => {
            (what, duration(low_ns as i64), duration(high_ns as i64))
        }
    };
    let mut at = x;
    let mut word = |text: String, ink: Ink| {
        let width = 0.56 * 11.0 * text.chars().count() as f64;
        scene.text(at, y, text, Style { ink, ..SMALL });
        at += width + 6.0;
        at
    };
    word(what.to_owned(), Ink::Faint);
    let after_low = word(low, Ink::Text);
    let area = Area { x: after_low, y: y - 9.0, width: 96.0, height: 10.0 };
    let levels = (0..48_u32).map(|step| 1 + (f64::from(step) / 47.0 * 254.0) as u8).collect();
    let axis = Axis::Cycle { first: 0, each: 1 };
    scene.shapes.push(Shape::Cells(
        area,
        Cells { columns: 48, rows: 1, levels, scale, x: axis, y: axis, examples: None },
    ));
    scene.text(area.x + area.width + 6.0, y, high, Style { ink: Ink::Text, ..SMALL });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_stand_on_round_local_times() {
        let mut scene = Scene::new(1000.0, 10.0, String::new());
        let area = Area { x: 0.0, y: 0.0, width: 900.0, height: 10.0 };
        // 17:00:10 to 18:00:10 in a zone of +05:30.
        let from_ns = 1_795_194_010_000_000_000;
        times(&mut scene, &area, [from_ns, from_ns + 3_600_000_000_000], 19_800);
        let labels: Vec<&str> = scene
            .shapes
            .iter()
            .filter_map(|shape| match shape {
                Shape::Text(_, _, text, _) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(labels, ["22:40", "22:50", "23:00", "23:10", "23:20", "23:30"], "also at the end");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(plain(10_000_000), "10 ms");
        assert_eq!(plain(1_000), "1 µs");
        assert_eq!(signed(-1.5), "-1.5 s");
        assert_eq!(signed(0.0), "0");
        assert_eq!(step_s(3600.0, 10.0), 600.0);
    }
}

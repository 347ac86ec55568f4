//! A folded heat map in characters, for a terminal: one row a cycle, time in the cycle from left to right.

use super::fold::{merged, scale};
use crate::report::data::{Fold, PHASE_BEFORE, PHASES};
use crate::report::draw::colour::{Theme, heat};
use crate::report::draw::scene::Scale;
use crate::report::draw::svg::part_of;
use crate::text::{count, duration};

/// Cycles that are shown with a row of their own.
const MAX_ROWS: usize = 24;
/// Phases that share a character.
const PHASES_EACH: usize = 2;
/// Without colour: from little to the most.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// Draws a fold, each line begun with two spaces and ended with a line end. With `colour` two cycles share a line (upper
/// and lower half blocks in 24-bit colours), without it shades stand for levels.
pub fn fold(fold: &Fold, colour: bool) -> String {
    let merged = merged(fold, if colour { 2 * MAX_ROWS } else { MAX_ROWS });
    let scale = scale(fold, &merged.values);
    let columns = PHASES / PHASES_EACH;
    // The worst of the phases that share a character; None where events are missing.
    let level = |row: usize, column: usize| {
        let places = row * PHASES + column * PHASES_EACH..row * PHASES + (column + 1) * PHASES_EACH;
        let lost = merged.lossy.get(places.clone()).is_some_and(|lossy| lossy.contains(&true));
        let values = merged.values.get(places).unwrap_or_default();
        (!lost).then(|| scale.level(values.iter().copied().fold(0.0, f64::max)))
    };
    let mut text = String::new();
    let rows_each = if colour { 2 } else { 1 };
    for first in (0..merged.columns).step_by(rows_each) {
        let label = fold.number(first * merged.each).map_or_else(String::new, |number| number.to_string());
        text.push_str(&format!("  {label:>5} "));
        for column in 0..columns {
            let upper = level(first, column);
            if colour {
                let lower = if first + 1 < merged.columns { level(first + 1, column) } else { Some(0) };
                text.push_str(&half_blocks(upper, lower));
            } else {
                text.push(shade(upper));
            }
        }
        text.push_str(if colour { "\x1b[0m\n" } else { "\n" });
    }
    let marks = [(0, ""), ((PHASE_BEFORE * columns as f64) as usize, "▲ finding")];
    let line: String = marks.iter().fold(String::new(), |line, (at, mark)| format!("{line:<at$}{mark}"));
    let period = duration(fold.period_ns as i64);
    text.push_str(&format!("  {:>5} {line}\n", "cycle"));
    text.push_str(&format!("        one row a cycle, {period} from left to right; {}\n", legend(scale)));
    text
}

fn legend(scale: Scale) -> String {
    match scale {
        Scale::Count { what, max } => format!("{what}: up to {}", count(max.max(0.0) as u64)),
        Scale::Duration { what, low_ns, high_ns } => {
            format!("{what}: {} to {}", duration(low_ns as i64), duration(high_ns as i64))
        }
    }
}

fn shade(level: Option<u8>) -> char {
    match level {
        None => '/',
        Some(0) => ' ',
        Some(level) => SHADES[usize::from(level - 1) * SHADES.len() / 255],
    }
}

/// Two cells in one character: the upper half in the colour of the text, the lower in that of the ground.
fn half_blocks(upper: Option<u8>, lower: Option<u8>) -> String {
    match (upper, lower) {
        (None, _) | (_, None) => "\x1b[0m/".to_owned(),
        (Some(0), Some(0)) => "\x1b[0m ".to_owned(),
        (Some(upper), Some(0)) => format!("\x1b[0m{}▀", code(38, upper)),
        (Some(0), Some(lower)) => format!("\x1b[0m{}▄", code(38, lower)),
        (Some(upper), Some(lower)) => format!("{}{}▀", code(38, upper), code(48, lower)),
    }
}

/// The code that sets the colour of the text (38) or of the ground (48).
fn code(what: u8, level: u8) -> String {
    let [red, green, blue] = heat(part_of(level), Theme::Dark);
    format!("\x1b[{what};2;{red};{green};{blue}m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fold {
        let mut fold = Fold {
            cycles: 3,
            first_cycle: 0,
            last_cycle: 2,
            period_ns: 600e9,
            values: vec![1e6; 3 * PHASES],
            lossy: vec![false; 3 * PHASES],
            ..Fold::default()
        };
        let tooth = (PHASE_BEFORE * PHASES as f64) as usize;
        for cycle in 1..3 {
            fold.values[cycle * PHASES + tooth] = 1e9;
        }
        fold.lossy[0] = true;
        fold.values[PHASES - 1] = 0.0;
        fold.values[PHASES - 2] = 0.0;
        fold
    }

    #[test]
    fn what_comes_back_stands_in_one_line() {
        let shown = fold(&sample(), false);
        let lines: Vec<&str> = shown.lines().collect();
        let tooth = 8 + PHASES / PHASES_EACH / 4;
        assert_eq!(lines[0].chars().nth(8), Some('/'));
        assert_eq!(lines[0].chars().nth(tooth), Some('·'));
        assert_eq!(lines[0].chars().last(), Some(' '));
        for line in &lines[1..3] {
            assert_eq!(line.chars().nth(tooth), Some('█'), "{shown}");
        }
        assert_eq!(lines[3].chars().nth(tooth), Some('▲'), "{shown}");
        assert!(lines[4].contains("10 min") || lines[4].contains("600 s"), "{shown}");
    }

    #[test]
    fn colours_end_with_their_line() {
        let shown = fold(&sample(), true);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 4, "two cycles a line: {shown}");
        assert!(lines[..2].iter().all(|line| line.ends_with("\x1b[0m")));
        assert!(lines[2..].iter().all(|line| !line.contains('\x1b')));
    }
}

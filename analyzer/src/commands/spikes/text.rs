//! Findings on a terminal: the sentence first, then its numbers, the commands to copy last.

use std::fmt::Write;

use super::lines;
use crate::findings::{Findings, Spike, wording};
use crate::report::data::Fold;
use crate::report::pictures::terminal::fold;
use crate::terminal::{self, Paint, Terminal};
use crate::text::escape_controls;

/// All of them, with a picture each where there is one.
pub fn findings(findings: &Findings, folds: &[Fold], capture: &str) -> String {
    let mut text = String::new();
    let terminal = terminal::stdout();
    let offset_s = findings.searched.utc_offset_s;
    for (index, spike) in findings.spikes.iter().enumerate() {
        let summary = terminal.wrap(&format!("{}. {}", index + 1, escape_controls(&spike.summary)), 3);
        let _ = writeln!(text, "{}", terminal.paint(Paint::Bold, &summary));
        let _ = writeln!(text, "{}\n", terminal.wrap(&format!("   {}", escape_controls(&spike.odds)), 3));
        named(&mut text, terminal, &lines::of(spike, offset_s));
        cycles(&mut text, spike, offset_s);
        if let Some(picture) = folds.get(index) {
            let _ = writeln!(text, "{}", fold(picture, terminal.colour));
        }
        named(&mut text, terminal, &lines::commands(spike, capture));
        text.push('\n');
    }
    for note in &findings.notes {
        let _ = writeln!(text, "{}", terminal.wrap(&escape_controls(note), 2));
    }
    for left in &findings.unexplained {
        let line = escape_controls(&wording::unexplained(left, offset_s));
        let _ = writeln!(text, "{}", terminal.wrap(&line, 2));
        named(&mut text, terminal, &[("rows", lines::sql(capture, &left.sql))]);
    }
    text
}

/// Commands stay whole, to be copied.
fn named(text: &mut String, terminal: Terminal, lines: &[(&'static str, String)]) {
    for (name, value) in lines {
        let line = format!("   {name:<9} {}", escape_controls(value));
        let line = if value.starts_with("retrospan ") { line } else { terminal.wrap(&line, 13) };
        let _ = writeln!(text, "{line}");
    }
}

/// Widths of the cells of a cycle.
const WIDTHS: [usize; 9] = [5, 12, 10, 9, 9, 7, 8, 9, 8];

fn cycles(text: &mut String, spike: &Spike, offset_s: i32) {
    let row = |cells: &[String]| {
        let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:>width$}"));
        format!("   {}", cells.collect::<Vec<_>>().join(" "))
    };
    let _ = writeln!(text, "\n{}", row(&lines::CYCLE_HEADS.map(str::to_owned)));
    for cycle in spike.cycle_table.iter().take(lines::MOST_CYCLES) {
        let lost = if cycle.lossy { "  events were lost here" } else { "" };
        let _ = writeln!(text, "{}{lost}", row(&lines::cycle(cycle, offset_s)));
    }
    if spike.cycle_table.len() > lines::MOST_CYCLES {
        let _ = writeln!(text, "   ... and {} more", spike.cycle_table.len() - lines::MOST_CYCLES);
    }
    text.push('\n');
}

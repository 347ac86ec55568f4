//! Findings as Markdown: for a ticket, with what somebody else needs to check them.

use std::fmt::Write;

use super::lines;
use crate::findings::{Findings, Spike, wording};
use crate::text::{escape_controls, time};

/// All of them.
pub fn findings(findings: &Findings, capture: &str) -> String {
    let searched = &findings.searched;
    let [from, to] = [searched.begin_ns, searched.end_ns].map(|ns| time(ns, searched.utc_offset_s, 0));
    let mut text = format!("# Periodic spikes in {}\n\nRecorded from {from} to {to}.\n", plain(capture));
    if findings.spikes.is_empty() {
        text.push_str("\nNo periodic spike was found.\n");
    }
    for (index, spike) in findings.spikes.iter().enumerate() {
        finding(&mut text, index + 1, spike, capture, searched.utc_offset_s);
    }
    if !findings.unexplained.is_empty() {
        text.push_str("\n## Not shown to be periodic\n\n");
    }
    for left in &findings.unexplained {
        let _ = writeln!(text, "* {}", plain(&wording::unexplained(left, searched.utc_offset_s)));
    }
    if !findings.notes.is_empty() {
        text.push_str("\n## Notes\n\n");
    }
    for note in &findings.notes {
        let _ = writeln!(text, "* {}", plain(note));
    }
    text
}

fn finding(text: &mut String, number: usize, spike: &Spike, capture: &str, offset_s: i32) {
    let _ = writeln!(text, "\n## {number}. {}\n\n{}\n", plain(&spike.summary), plain(&spike.odds));
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in lines::of(spike, offset_s) {
        let _ = writeln!(text, "| {name} | {} |", plain(value.trim()));
    }
    let _ = writeln!(text, "\n| {} |", lines::CYCLE_HEADS.join(" | "));
    let _ = writeln!(text, "|{}", "---:|".repeat(lines::CYCLE_HEADS.len()));
    for cycle in spike.cycle_table.iter().take(lines::MOST_CYCLES) {
        let mut cells = lines::cycle(cycle, offset_s);
        cells.resize(lines::CYCLE_HEADS.len(), String::new());
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    if spike.cycle_table.len() > lines::MOST_CYCLES {
        let _ = writeln!(text, "\n... and {} more cycles.", spike.cycle_table.len() - lines::MOST_CYCLES);
    }
    text.push_str("\n```sh\n");
    for (_, command) in lines::commands(spike, capture) {
        let _ = writeln!(text, "{}", escape_controls(&command));
    }
    text.push_str("```\n");
}

/// Text of strangers in which nothing is markup: what would be is escaped.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in escape_controls(text).chars() {
        if "\\`*_{}[]<>#|!&~@".contains(c) {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_strangers_is_markup() {
        assert_eq!(plain("a|b <i> [x](y) `c`\n"), "a\\|b \\<i\\> \\[x\\](y) \\`c\\`\\\\n");
        assert_eq!(plain("inner-proxy -> shop:8080"), "inner-proxy -\\> shop:8080");
    }

    #[test]
    fn a_finding_is_a_heading_its_numbers_and_commands() {
        let spike = Spike {
            summary: "Every 15 s about 5 clients give up.".to_owned(),
            odds: "11 of 11 times.".to_owned(),
            sql: "SELECT 1".to_owned(),
            slow_traces: vec!["00ff".to_owned()],
            ..Spike::default()
        };
        let text = findings(&Findings { spikes: vec![spike], ..Findings::default() }, "my capture.cap");
        assert!(text.contains("\n## 1. Every 15 s about 5 clients give up.\n\n11 of 11 times.\n"), "{text}");
        let commands =
            "```sh\nretrospan sql 'my capture.cap' 'SELECT 1'\nretrospan trace 'my capture.cap' 00ff\n```\n";
        assert!(text.ends_with(commands), "{text}");
    }
}

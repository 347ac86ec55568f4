//! What was found against what was put in.

use std::fmt::Write;

use retrospan_analyzer::findings::{Findings, Spike};
use retrospan_testkit::capture::{Part, Plan, Shape, Truth};

/// One capture.
pub struct Case {
    pub plan: Plan,
    pub truth: Truth,
    pub findings: Findings,
}

/// A finding with a period this near to the true one is meant.
const NEAR: f64 = 0.05;
const CLOSE: f64 = 0.01;

impl Case {
    /// The finding that is meant.
    pub fn found(&self) -> Option<&Spike> {
        self.findings.spikes.iter().find(|spike| self.period_error(spike) <= NEAR)
    }

    /// Findings of something that is not there.
    pub fn others(&self) -> usize {
        self.findings.spikes.len() - usize::from(self.found().is_some())
    }

    fn period_error(&self, spike: &Spike) -> f64 {
        self.plan.comb.map_or(f64::INFINITY, |comb| (spike.period_s / comb.period_s - 1.0).abs())
    }

    fn close(&self, spike: &Spike) -> bool {
        self.period_error(spike) <= CLOSE
    }

    fn hop_right(&self, spike: &Spike) -> bool {
        spike.hop == self.truth.hop
    }

    fn part_right(&self, spike: &Spike) -> bool {
        self.hop_right(spike) && spike.hops.first().is_some_and(|hop| hop.part == self.truth.part)
    }

    fn cause_right(&self, spike: &Spike) -> bool {
        match (&self.truth.cause, spike.causes.first()) {
            (Some((kind, subject)), Some(cause)) => cause.kind == *kind && cause.subject == *subject,
            (truth, cause) => truth.is_none() && cause.is_none(),
        }
    }

    /// What is wrong, by name. The period's precision is not judged here.
    pub fn wrong(&self) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        match self.found() {
            Some(spike) => {
                let checks = [
                    (self.hop_right(spike), "hop"),
                    (!self.hop_right(spike) || self.part_right(spike), "part"),
                    (self.cause_right(spike), "cause"),
                ];
                wrong.extend(checks.into_iter().filter(|(right, _)| !right).map(|(_, name)| name));
            }
            None if self.plan.comb.is_some() => wrong.push("not found"),
            None => {}
        }
        if self.others() > 0 {
            wrong.push("another finding");
        }
        wrong
    }

    /// One paragraph: the plan, what is wrong, all findings.
    pub fn describe(&self, wrong: &[&str]) -> String {
        let Plan { seed, length_s, trouble, comb, bursts, innocents, .. } = &self.plan;
        let mut text = format!(
            "{}: seed {seed}, {length_s} s, {} {} {:?} {:.2} s, {comb:?}, {} onsets, {} missing, {bursts} bursts, {innocents} innocents, cause {:?}\n",
            wrong.join(", "),
            self.truth.hop,
            self.truth.part,
            trouble.shape,
            trouble.width_s,
            self.truth.onsets_s.len(),
            self.truth.missing,
            self.truth.cause,
        );
        for spike in &self.findings.spikes {
            let parts = spike.hops.iter().take(2).map(|h| format!("{} {} {:.2}", h.hop, h.part, h.share));
            let causes =
                spike.causes.iter().take(3).map(|c| format!("{} {} {:.3}", c.kind, c.subject, c.chance));
            let _ = writeln!(
                text,
                "    {} in {}: {:.3} s, {} of {}, FAP {:.1e}; {}; {}",
                spike.metric.name(),
                spike.stream,
                spike.period_s,
                spike.hits,
                spike.cycles,
                spike.fap,
                parts.collect::<Vec<_>>().join(", "),
                causes.collect::<Vec<_>>().join(", "),
            );
        }
        for left in self.findings.unexplained.iter().take(2).filter(|_| self.found().is_none()) {
            let _ = writeln!(
                text,
                "    left: {} in {}: {} episodes, FAP {:?}",
                left.metric.name(),
                left.stream,
                left.episodes,
                left.fap
            );
        }
        text
    }
}

/// A share with its 95 % interval (Wilson 1927).
fn share(part: usize, of: usize) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    let (n, p, z) = (of as f64, part as f64 / of as f64, 1.96f64);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let margin = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
    format!("{:.1} % ({:.0}-{:.0})", 100.0 * p, 100.0 * (middle - margin), 100.0 * (middle + margin))
}

/// By shape, part and length of the recording.
pub fn periodic_table(cases: &[Case]) -> String {
    let mut text = String::from(
        "| | captures | found | period within 1 % | right hop first | right part | right cause first | none invented | other findings |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let shape = |shape: Shape| move |case: &Case| case.plan.trouble.shape == shape;
    let place = |hop: usize, part: Part| {
        move |case: &Case| case.plan.trouble.place.hop == hop && case.plan.trouble.place.part == part
    };
    row(&mut text, "**all**", cases, |_| true);
    for (name, of) in [
        ("freeze", Shape::Freeze),
        ("slow", Shape::Slow),
        ("errors", Shape::Errors),
        ("give up", Shape::GiveUp),
        ("listen queue full", Shape::QueueFull),
    ] {
        row(&mut text, name, cases, shape(of));
    }
    for (part_name, part) in [("own time of", Part::Server), ("the way to", Part::Network)] {
        for (hop, process) in ["edge-envoy", "inner-envoy", "shop"].into_iter().enumerate() {
            row(&mut text, &format!("{part_name} {process}"), cases, place(hop, part));
        }
    }
    row(&mut text, "two and a half hours, 10 min", cases, |case| case.plan.length_s > 4000.0);
    row(&mut text, "an hour, 60 to 600 s", cases, |case| case.plan.length_s == 3600.0);
    row(&mut text, "10 min, 10 to 60 s", cases, |case| case.plan.length_s < 1000.0);
    row(&mut text, "30 innocent programs of the same period", cases, |case| case.plan.innocents == 30);
    let enough = |case: &Case| case.truth.onsets_s.len() >= 6;
    row(&mut text, "six onsets or more", cases, enough);
    text
}

fn row(text: &mut String, name: &str, cases: &[Case], wanted: impl Fn(&Case) -> bool) {
    let cases: Vec<&Case> = cases.iter().filter(|case| wanted(case)).collect();
    let found: Vec<(&Case, &Spike)> = cases.iter().filter_map(|&case| Some((case, case.found()?))).collect();
    let count =
        |right: fn(&Case, &Spike) -> bool| found.iter().filter(|(case, spike)| right(case, spike)).count();
    let caused = |wanted: bool| {
        let of: Vec<_> = found.iter().filter(|(case, _)| case.truth.cause.is_some() == wanted).collect();
        share(of.iter().filter(|(case, spike)| case.cause_right(spike)).count(), of.len())
    };
    let others = cases.iter().filter(|case| case.others() > 0).count();
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
        cases.len(),
        share(found.len(), cases.len()),
        share(count(Case::close), found.len()),
        share(count(Case::hop_right), found.len()),
        share(count(Case::part_right), found.len()),
        caused(true),
        caused(false),
        share(others, cases.len()),
    );
}

/// By the number of bursts.
pub fn quiet_table(cases: &[Case]) -> String {
    let mut text = String::from("| nothing periodic | captures | with a finding |\n|---|---|---|\n");
    let mut row = |name: &str, from: usize, to: usize| {
        let of: Vec<&Case> = cases.iter().filter(|case| (from..=to).contains(&case.plan.bursts)).collect();
        let alarms = of.iter().filter(|case| case.others() > 0).count();
        let _ = writeln!(text, "| {name} | {} | {} |", of.len(), share(alarms, of.len()));
    };
    row("**all**", 0, usize::MAX);
    row("0 to 2 bursts", 0, 2);
    row("3 to 10 bursts", 3, usize::MAX);
    text
}

//! One picture alone, by its name.

use super::{cycles, fold, heat, map, waterfall};
use crate::report::data::Report;
use crate::report::draw::scene::{SMALL, Scene, Size, fit};

/// The names of all pictures of a report, each with what it shows.
pub fn names(report: &Report) -> Vec<(String, String)> {
    let mut names = vec![
        ("latency".to_owned(), "latency over time".to_owned()),
        ("map".to_owned(), "who asks whom".to_owned()),
    ];
    for (place, series) in report.timeline.series.iter().enumerate().skip(1) {
        names.push((format!("latency-{place}"), format!("{}, as {} saw it", series.name, series.seen_by)));
    }
    for number in 1..=report.folds.len() {
        names.push((format!("fold-{number}"), format!("finding {number} folded at its period")));
        names.push((format!("shape-{number}"), format!("finding {number}: all spikes laid over each other")));
        names.push((format!("cycles-{number}"), format!("finding {number}: what each cycle cost")));
    }
    for (number, trace) in traces(report).enumerate() {
        names.push((format!("trace-{}", number + 1), trace.id.clone()));
    }
    names
}

/// The picture of a name, with what it is of: it will be seen without the report. None where there is none.
pub fn scene(report: &Report, name: &str) -> Option<Scene> {
    let mut scene = picture(report, name)?;
    let facts = report.facts.iter().filter(|(name, _)| ["host", "from", "until"].contains(&name.as_str()));
    let facts: Vec<String> = facts.map(|(name, value)| format!("{name} {value}")).collect();
    for line in [scene.title.clone(), format!("{}: {}", report.name, facts.join(", "))] {
        scene.height += LINE_HEIGHT;
        let words = fit(&line, SMALL.size, scene.width - 8.0);
        scene.text(4.0, scene.height - 5.0, words, SMALL);
    }
    Some(scene)
}

/// Height of a line of words under a picture, pixels.
const LINE_HEIGHT: f64 = 17.0;

fn picture(report: &Report, name: &str) -> Option<Scene> {
    let (kind, number) = match name.split_once('-') {
        Some((kind, number)) => (kind, Some(number.parse::<usize>().ok()?)),
        None => (name, None),
    };
    let finding = || number?.checked_sub(1).filter(|&place| place < report.folds.len());
    match kind {
        "latency" => {
            let series = report.timeline.series.get(number.unwrap_or(0))?;
            Some(heat::scene(report, series, Size::Wide))
        }
        "map" if number.is_none() => Some(map::scene(report, Size::Wide)),
        "fold" => Some(fold::scene(report, finding()?, Size::Wide)),
        "shape" => Some(fold::zoom(report, finding()?, Size::Wide)),
        "cycles" => Some(cycles::scene(report, finding()?, Size::Wide)),
        "trace" => {
            traces(report).nth(number?.checked_sub(1)?).map(|trace| waterfall::scene(trace, Size::Wide))
        }
        _ => None,
    }
}

fn traces(report: &Report) -> impl Iterator<Item = &crate::report::data::Trace> {
    report.traces.iter().flat_map(|group| group.typical.iter().chain(&group.slow))
}

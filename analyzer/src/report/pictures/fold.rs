//! Folded heat maps: a recording cut at a period, one column a cycle, so that what comes back stands in one line; and all
//! spikes laid over each other at their onsets, which shows their shape.

use super::axes::{self, decades, legend};
use super::heat::used_rows;
use crate::report::data::{
    CELLS_PER_DECADE, Fold, FoldValue, LOWEST_DECADE, PHASE_BEFORE, PHASES, Report, ZOOM_COLUMNS,
};
use crate::report::draw::scene::{Anchor, Area, Axis, Cells, Ink, SMALL, Scale, Scene, Shape, Size, Style};
use crate::text::duration;

/// Height of the cells, pixels.
const CELLS_HEIGHT: f64 = 240.0;
/// Columns at most; cycles share one where there are more.
const MAX_COLUMNS: usize = 240;
/// A column in which losses begin and end more often is hatched as a whole.
const MAX_EDGES: usize = 8;

/// Values of a fold with cycles merged, so that they fit a width.
pub struct Merged {
    /// Cycles that share a column.
    pub each: usize,
    /// Columns.
    pub columns: usize,
    /// By column and phase.
    pub values: Vec<f64>,
    /// Whether events are missing, likewise.
    pub lossy: Vec<bool>,
}

/// Merges cycles so that there are at most `most` columns.
pub fn merged(fold: &Fold, most: usize) -> Merged {
    let each = fold.cycles.div_ceil(most.max(1)).max(1);
    let columns = fold.cycles.div_ceil(each).max(1);
    let mut merged =
        Merged { each, columns, values: vec![0.0; columns * PHASES], lossy: vec![false; columns * PHASES] };
    for (place, (&value, &lossy)) in fold.values.iter().zip(&fold.lossy).enumerate() {
        let slot = place / PHASES / each * PHASES + place % PHASES;
        let sum = &mut merged.values[slot];
        *sum = if fold.value == FoldValue::Slowest { sum.max(value) } else { *sum + value };
        merged.lossy[slot] |= lossy;
    }
    merged
}

/// What a fold's values mean as levels.
pub fn scale(fold: &Fold, values: &[f64]) -> Scale {
    let max = values.iter().copied().fold(0.0, f64::max);
    match fold.value {
        FoldValue::Slowest => {
            // What is ordinary stays pale: the scale begins at the median.
            let mut used: Vec<f64> = values.iter().copied().filter(|&value| value > 0.0).collect();
            used.sort_by(f64::total_cmp);
            let low_ns = used.get(used.len() / 2).copied().unwrap_or(1.0).max(1.0);
            Scale::Duration { what: "slowest request of a cell", low_ns, high_ns: max.max(low_ns * 1.01) }
        }
        FoldValue::Failed => Scale::Count { what: "failed requests", max },
        FoldValue::Left => Scale::Count { what: "clients that gave up", max },
        FoldValue::Completed => Scale::Count { what: "requests that came to their end", max },
    }
}

/// The fold: x is the cycle, y the time in it.
pub fn scene(report: &Report, place: usize, size: Size) -> Scene {
    let Some(fold) = report.folds.get(place) else {
        return Scene::new(size.width(), 1.0, "No such finding.".to_owned());
    };
    let period = duration(fold.period_ns as i64);
    let title = format!("Finding {}: {} folded at its period of {period}.", place + 1, fold.series);
    let mut scene = Scene::new(size.width(), CELLS_HEIGHT + 66.0, title);
    let area = Area { x: 62.0, y: 24.0, width: size.width() - 70.0, height: CELLS_HEIGHT };
    let merged = merged(fold, if size == Size::Wide { MAX_COLUMNS } else { 90 });
    let scale = scale(fold, &merged.values);
    let mut levels = vec![0; merged.columns * PHASES];
    for column in 0..merged.columns {
        for phase in 0..PHASES {
            // Time grows downwards, as in a log.
            levels[phase * merged.columns + column] = scale.level(merged.values[column * PHASES + phase]);
        }
    }
    let period_s = fold.period_ns / 1e9;
    let [from_s, to_s] = [-PHASE_BEFORE * period_s, (1.0 - PHASE_BEFORE) * period_s];
    scene.rect(area.x, area.y, area.width, area.height, Ink::Panel);
    scene.shapes.push(Shape::Cells(
        area,
        Cells {
            columns: merged.columns,
            rows: PHASES,
            levels,
            scale,
            x: Axis::Cycle { first: fold.first_cycle, each: merged.each },
            // The first value is that of the lowest row.
            y: Axis::Seconds { from_s: to_s, to_s: from_s, since: "from the tooth" },
            examples: Some(Report::fold_examples(place)),
        },
    ));
    had_loss(&mut scene, &area, &merged);
    let at = |seconds: f64| area.y + area.height * (seconds - from_s) / (to_s - from_s);
    let step_s = axes::step_s(period_s, 8.0);
    let mut tick = (from_s / step_s).ceil() as i64;
    while tick as f64 * step_s < to_s {
        let y = at(tick as f64 * step_s);
        let ink = if tick == 0 { Ink::Mark } else { Ink::Faint };
        scene.line([area.x - 4.0, y], [area.x, y], ink, 1.0);
        let style = Style { anchor: Anchor::End, ink, ..SMALL };
        scene.text(area.x - 7.0, y + 4.0, axes::signed(tick as f64 * step_s), style);
        tick += 1;
    }
    cycles_under(&mut scene, &area, fold, &merged);
    legend(&mut scene, area.x, 13.0, scale);
    let label = Style { anchor: Anchor::Middle, ..SMALL };
    scene.text(area.x + area.width / 2.0, area.y + area.height + 34.0, "cycle", label);
    scene
}

/// Numbers of cycles under the cells, and which were hit.
fn cycles_under(scene: &mut Scene, area: &Area, fold: &Fold, merged: &Merged) {
    let width = area.width / merged.columns as f64;
    let step = ((34.0 / width).ceil() as usize).max(1);
    for column in (0..merged.columns).step_by(step) {
        let x = area.x + width * (column as f64 + 0.5);
        // What came before the first tooth is no cycle of the finding, nor what comes before one that was not recorded.
        if let Some(number) = fold.number(column * merged.each) {
            let style = Style { anchor: Anchor::Middle, ..SMALL };
            scene.text(x, area.y + area.height + 16.0, number.to_string(), style);
        }
    }
}

fn had_loss(scene: &mut Scene, area: &Area, merged: &Merged) {
    let (width, height) = (area.width / merged.columns as f64, area.height / PHASES as f64);
    for column in 0..merged.columns {
        let of_column = &merged.lossy[column * PHASES..(column + 1) * PHASES];
        if of_column.windows(2).filter(|pair| pair[0] != pair[1]).count() > MAX_EDGES {
            let x = area.x + width * column as f64;
            scene.shapes.push(Shape::Hatch(Area { x, width, ..*area }));
            continue;
        }
        let mut phase = 0;
        while phase < PHASES {
            let run = of_column[phase..].iter().take_while(|&&lost| lost).count();
            if run > 0 {
                let (x, y) = (area.x + width * column as f64, area.y + height * phase as f64);
                scene.shapes.push(Shape::Hatch(Area { x, y, width, height: height * run as f64 }));
            }
            phase += run.max(1);
        }
    }
}

/// All spikes laid over each other: x is the time from the onset, y the latency.
pub fn zoom(report: &Report, place: usize, size: Size) -> Scene {
    let Some(fold) = report.folds.get(place) else {
        return Scene::new(size.width(), 1.0, "No such finding.".to_owned());
    };
    let title = format!("Finding {}: all spikes of {} laid over each other.", place + 1, fold.series);
    let mut scene = Scene::new(size.width(), CELLS_HEIGHT + 66.0, title);
    let area = Area { x: 62.0, y: 24.0, width: size.width() - 70.0, height: CELLS_HEIGHT };
    let [low, high] = used_rows(&fold.zoom, ZOOM_COLUMNS);
    let shown = &fold.zoom[low * ZOOM_COLUMNS..high * ZOOM_COLUMNS];
    let max = shown.iter().copied().max().unwrap_or_default();
    let scale = Scale::Count { what: "requests in a cell", max: f64::from(max) };
    let levels = shown
        .chunks_exact(ZOOM_COLUMNS)
        .rev()
        .flatten()
        .map(|&count| scale.level(f64::from(count)))
        .collect();
    let decade = |row: usize| LOWEST_DECADE as f64 + row as f64 / CELLS_PER_DECADE as f64;
    let [from_s, to_s] = fold.zoom_s;
    scene.rect(area.x, area.y, area.width, area.height, Ink::Panel);
    scene.shapes.push(Shape::Cells(
        area,
        Cells {
            columns: ZOOM_COLUMNS,
            rows: high - low,
            levels,
            scale,
            x: Axis::Seconds { from_s, to_s, since: "from the onset" },
            y: Axis::Log { from: decade(low), to: decade(high) },
            examples: None,
        },
    ));
    decades(&mut scene, &area, [decade(low), decade(high)]);
    axes::seconds(&mut scene, &area, fold.zoom_s);
    let onset = area.x + area.width * (0.0 - from_s) / (to_s - from_s);
    scene.line([onset, area.y], [onset, area.y + area.height], Ink::Mark, 1.0);
    legend(&mut scene, area.x, 13.0, scale);
    let label = Style { anchor: Anchor::Middle, ..SMALL };
    let x = area.x + area.width / 2.0;
    scene.text(x, area.y + area.height + 34.0, "when the request began, from the onset", label);
    scene
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_the_worst_and_adds_counts() {
        let mut fold = Fold {
            cycles: 3,
            values: vec![0.0; 3 * PHASES],
            lossy: vec![false; 3 * PHASES],
            ..Fold::default()
        };
        fold.values[1] = 5.0;
        fold.values[PHASES + 1] = 7.0;
        fold.lossy[PHASES + 1] = true;
        let slowest = merged(&fold, 2);
        assert_eq!((slowest.each, slowest.columns, slowest.values[1], slowest.lossy[1]), (2, 2, 7.0, true));
        fold.value = FoldValue::Failed;
        assert_eq!(merged(&fold, 2).values[1], 12.0);
        assert_eq!(merged(&fold, 99).values[PHASES + 1], 7.0);
    }
}

//! The heat map of latencies over time, with what was asked, what failed and who gave up under it.

use super::axes::{decades, legend, times};
use crate::report::data::{CELLS_PER_DECADE, LATENCY_ROWS, LOWEST_DECADE, Report, Series};
use crate::report::draw::scene::{Anchor, Area, Axis, Cells, Ink, SMALL, Scale, Scene, Shape, Size, Style};
use crate::text::count;

/// Height of the cells, pixels.
const CELLS_HEIGHT: f64 = 220.0;
/// Height of a strip under them, pixels.
const STRIP_HEIGHT: f64 = 26.0;

/// Draws one series.
pub fn scene(report: &Report, series: &Series, size: Size) -> Scene {
    let spikes = &report.findings.spikes;
    let top = 22.0 + 12.0 * spikes.len().min(3) as f64;
    let strips = strips(series, report.timeline.columns);
    let height = top + CELLS_HEIGHT + (STRIP_HEIGHT + 8.0) * strips.len() as f64 + 26.0;
    let title = format!("Latency over time, {}: {} requests.", series.name, count(series.requests));
    let mut scene = Scene::new(size.width(), height, title);
    let left = 62.0;
    let area = Area { x: left, y: top, width: size.width() - left - 8.0, height: CELLS_HEIGHT };
    cells(&mut scene, report, series, &area, size);
    marks(&mut scene, report, &area);
    let mut bottom = area;
    for (name, values, ink) in &strips {
        bottom = Area { y: bottom.y + bottom.height + 8.0, height: STRIP_HEIGHT, ..bottom };
        strip(&mut scene, &bottom, name, values, *ink, report.timeline.column_ns);
    }
    let all = Area { height: bottom.y + bottom.height - area.y, ..area };
    for run in lossy_runs(report) {
        let step = area.width / report.timeline.columns.max(1) as f64;
        let (x, width) = (area.x + step * run.start as f64, (step * run.len() as f64).max(2.0));
        let hatch = Shape::Hatch(Area { x: x.min(area.x + area.width - width), width, ..all });
        scene.shapes.push(Shape::Tip(vec!["Events are missing here.".to_owned()], vec![hatch]));
    }
    times(&mut scene, &bottom, range_ns(report), report.utc_offset_s);
    scene
}

/// The columns of which events are missing, as runs.
fn lossy_runs(report: &Report) -> Vec<std::ops::Range<usize>> {
    let (from_ns, columns) = (report.timeline.from_ns, report.timeline.columns);
    let column = |ns: i64| ns.saturating_sub(from_ns).div_euclid(report.timeline.column_ns.max(1));
    let mut lossy = vec![false; columns];
    for lost in &report.lost {
        let (first, last) = (column(lost.from_ns).max(0), column(lost.to_ns).min(columns as i64 - 1));
        (first..=last).for_each(|place| lossy[place as usize] = true);
    }
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for place in (0..columns).filter(|&place| lossy[place]) {
        match runs.last_mut() {
            Some(run) if run.end == place => run.end += 1,
            _ => runs.push(place..place + 1),
        }
    }
    runs
}

/// Begin and end of all columns.
fn range_ns(report: &Report) -> [i64; 2] {
    let timeline = &report.timeline;
    let length_ns = timeline.column_ns.saturating_mul(timeline.columns as i64);
    [timeline.from_ns, timeline.from_ns.saturating_add(length_ns.max(1))]
}

fn cells(scene: &mut Scene, report: &Report, series: &Series, area: &Area, size: Size) {
    let merge = match size {
        Size::Wide => 1,
        Size::Narrow => 2,
    };
    let columns = report.timeline.columns.div_ceil(merge).max(1);
    let [low, high] = used_rows(&series.cells, report.timeline.columns);
    let rows = high - low;
    let mut counts = vec![0_u32; rows * columns];
    for row in 0..rows {
        for column in 0..report.timeline.columns {
            counts[(rows - 1 - row) * columns + column / merge] +=
                series.cells[(low + row) * report.timeline.columns + column];
        }
    }
    let max = counts.iter().copied().max().unwrap_or_default();
    let scale = Scale::Count { what: "requests in a cell", max: f64::from(max) };
    let range_ns = range_ns(report);
    let local_ms = |ns: i64| ns as f64 / 1e6 + 1e3 * f64::from(report.utc_offset_s);
    let decade = |row: usize| LOWEST_DECADE as f64 + row as f64 / CELLS_PER_DECADE as f64;
    let latencies = [decade(low), decade(high)];
    scene.rect(area.x, area.y, area.width, area.height, Ink::Panel);
    let levels = counts.iter().map(|&count| scale.level(f64::from(count))).collect();
    scene.shapes.push(Shape::Cells(
        *area,
        Cells {
            columns,
            rows,
            levels,
            scale,
            x: Axis::Time { from_ms: local_ms(range_ns[0]), to_ms: local_ms(range_ns[1]) },
            y: Axis::Log { from: latencies[0], to: latencies[1] },
            examples: report.series_examples(series),
        },
    ));
    decades(scene, area, latencies);
    legend(scene, area.x, 12.0, scale);
}

/// The rows that hold anything, with some air, two decades at least: first and one behind the last.
pub fn used_rows(cells: &[u32], columns: usize) -> [usize; 2] {
    let used = |row: usize| cells[row * columns..(row + 1) * columns].iter().any(|&count| count > 0);
    let rows = (cells.len() / columns.max(1)).min(LATENCY_ROWS);
    let first = (0..rows).find(|&row| used(row)).unwrap_or(3 * CELLS_PER_DECADE);
    let last = (0..rows).rev().find(|&row| used(row)).unwrap_or(first);
    let low = first.saturating_sub(1);
    let high = (last + 2).max(low + 2 * CELLS_PER_DECADE).min(rows);
    [low.min(high.saturating_sub(2 * CELLS_PER_DECADE)), high]
}

/// The strips that have something to show: name, values, colour.
fn strips(series: &Series, columns: usize) -> Vec<(&'static str, Vec<u32>, Ink)> {
    let mut requests = vec![0; columns];
    for row in series.cells.chunks_exact(columns.max(1)) {
        requests.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
    }
    let mut strips = vec![("requests", requests, Ink::Plain)];
    if series.failed > 0 {
        strips.push(("failed", series.failed_by_column.clone(), Ink::Bad));
    }
    if series.left > 0 {
        strips.push(("gave up", series.left_by_column.clone(), Ink::Left));
    }
    strips
}

fn strip(scene: &mut Scene, area: &Area, name: &str, values: &[u32], ink: Ink, column_ns: i64) {
    let max = values.iter().copied().max().unwrap_or_default().max(1);
    let heights = values.iter().map(|&value| f64::from(value) / f64::from(max)).collect();
    scene.rect(area.x, area.y, area.width, area.height, Ink::Panel);
    scene.shapes.push(Shape::Bars(*area, heights, ink));
    let style = Style { anchor: Anchor::End, ..SMALL };
    scene.text(area.x - 7.0, area.y + 11.0, name, style);
    scene.text(area.x - 7.0, area.y + 23.0, rate(f64::from(max) * 1e9 / column_ns.max(1) as f64), style);
}

/// `1 230/s`; below one a second `4.2/min`.
pub fn rate(per_s: f64) -> String {
    match per_s {
        rate if rate >= 99.5 => format!("{}/s", count(rate.round() as u64)),
        rate if rate >= 1.0 => format!("{rate:.1}/s"),
        rate => format!("{:.1}/min", rate * 60.0),
    }
}

/// Where the findings have their cycles: a row of marks each, long where it was hit.
fn marks(scene: &mut Scene, report: &Report, area: &Area) {
    let range_ns = range_ns(report);
    let length_ns = range_ns[1].saturating_sub(range_ns[0]) as f64;
    for (place, spike) in report.findings.spikes.iter().take(3).enumerate() {
        let y = area.y - 12.0 * (report.findings.spikes.len().min(3) - place) as f64;
        let label = format!("spike {}", place + 1);
        scene.text(area.x - 7.0, y + 9.0, label, Style { anchor: Anchor::End, ink: Ink::Mark, ..SMALL });
        let mut hits = vec![0.0; report.timeline.columns];
        let mut misses = hits.clone();
        for cycle in &spike.cycle_table {
            let at_ns = cycle.onset_ns.unwrap_or(cycle.expected_ns);
            let column = at_ns.saturating_sub(range_ns[0]) as f64 / length_ns * hits.len() as f64;
            if !(0.0..hits.len() as f64).contains(&column) {
                continue;
            }
            if cycle.onset_ns.is_some() {
                hits[column as usize] = 1.0;
            } else {
                misses[column as usize] = 0.4;
            }
        }
        let row = Area { y: y + 1.0, height: 9.0, ..*area };
        scene.shapes.push(Shape::Bars(row, misses, Ink::Faint));
        scene.shapes.push(Shape::Bars(row, hits, Ink::Mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::data::{Lost, Timeline};

    #[test]
    fn rates_read_well() {
        assert_eq!([1234.4, 12.34, 0.07].map(rate), ["1 234/s", "12.3/s", "4.2/min"]);
    }

    #[test]
    fn at_least_two_decades_are_shown() {
        let mut cells = vec![0; LATENCY_ROWS * 2];
        assert_eq!(used_rows(&cells, 2), [23, 39]);
        cells[2 * (LATENCY_ROWS - 1)] = 1;
        assert_eq!(used_rows(&cells, 2), [LATENCY_ROWS - 16, LATENCY_ROWS]);
        cells[0] = 1;
        assert_eq!(used_rows(&cells, 2), [0, LATENCY_ROWS]);
    }

    #[test]
    fn columns_with_losses_are_runs() {
        let lost = |from_ns, to_ns| Lost { from_ns, to_ns, count: 1, what: String::new() };
        let report = Report {
            timeline: Timeline { from_ns: 0, column_ns: 10, columns: 10, series: Vec::new() },
            lost: vec![lost(-50, 5), lost(31, 32), lost(35, 41), lost(99, 1000), lost(2000, 3000)],
            ..Report::default()
        };
        assert_eq!(lossy_runs(&report), [0..1, 3..5, 9..10]);
    }
}

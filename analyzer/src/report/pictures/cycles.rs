//! What each cycle of a finding cost.

use crate::findings::Cycle;
use crate::report::data::Report;
use crate::report::draw::scene::{Anchor, Area, Ink, SMALL, Scene, Shape, Size, Style};
use crate::text::{duration, time};

/// Height of the bars, pixels.
const BARS_HEIGHT: f64 = 90.0;
/// Cycles with a bar of their own.
const MAX_BARS: usize = 240;

/// One bar a cycle: requests affected; a mark where a cycle had no episode.
pub fn scene(report: &Report, place: usize, size: Size) -> Scene {
    let Some(spike) = report.findings.spikes.get(place) else {
        return Scene::new(size.width(), 1.0, "No such finding.".to_owned());
    };
    let title = format!("Finding {}: {} of {} cycles were hit.", place + 1, spike.hits, spike.cycles);
    let mut scene = Scene::new(size.width(), BARS_HEIGHT + 44.0, title);
    let area = Area { x: 62.0, y: 16.0, width: size.width() - 70.0, height: BARS_HEIGHT };
    scene.rect(area.x, area.y, area.width, area.height, Ink::Panel);
    let most = spike.cycle_table.iter().map(|cycle| cycle.affected).fold(1.0, f64::max);
    if spike.cycle_table.len() > MAX_BARS {
        let each = spike.cycle_table.len().div_ceil(MAX_BARS);
        let worst = |cycles: &[Cycle]| cycles.iter().map(|cycle| cycle.affected / most).fold(0.0, f64::max);
        let heights = spike.cycle_table.chunks(each).map(worst).collect();
        scene.shapes.push(Shape::Bars(area, heights, Ink::Mark));
    } else {
        bars(&mut scene, report, &spike.cycle_table, &area, most);
    }
    let right = Style { anchor: Anchor::End, ..SMALL };
    scene.text(area.x - 7.0, area.y + 10.0, format!("{most:.0}"), right);
    scene.text(area.x - 7.0, area.y + area.height, "0", right);
    scene.text(area.x, 11.0, "requests affected, by cycle", SMALL);
    scene
}

/// Each cycle with a bar that says what it cost.
fn bars(scene: &mut Scene, report: &Report, cycles: &[Cycle], area: &Area, most: f64) {
    let width = area.width / cycles.len().max(1) as f64;
    let step = ((34.0 / width).ceil() as usize).max(1);
    for (column, cycle) in cycles.iter().enumerate() {
        let x = area.x + width * column as f64;
        let middle = x + width / 2.0;
        let bar = 0.7 * width;
        let mut shapes = vec![Shape::Rect(Area { x, y: area.y, width, height: area.height }, Ink::Panel)];
        if cycle.lossy {
            shapes.push(Shape::Hatch(Area { x, y: area.y, width, height: area.height }));
        }
        let mut tip = match cycle.onset_ns {
            Some(onset_ns) => {
                let height = (area.height * cycle.affected / most).max(2.0);
                let y = area.y + area.height - height;
                shapes.push(Shape::Rect(Area { x: middle - bar / 2.0, y, width: bar, height }, Ink::Mark));
                let [excess, worst] =
                    [cycle.excess_s, cycle.worst_s].map(|seconds| duration((seconds * 1e9) as i64));
                vec![
                    format!("cycle {}, {}", cycle.number, time(onset_ns, report.utc_offset_s, 3)),
                    format!("{:.1} of {} requests affected", cycle.affected, cycle.requests),
                    format!("{excess} beyond the ordinary, worst {worst}"),
                ]
            }
            None => {
                let y = area.y + area.height - 3.0;
                shapes.push(Shape::Rect(
                    Area { x: middle - bar / 2.0, y, width: bar, height: 1.5 },
                    Ink::Faint,
                ));
                let at = time(cycle.expected_ns, report.utc_offset_s, 3);
                vec![format!("cycle {}, expected {at}", cycle.number), "no episode".to_owned()]
            }
        };
        if cycle.lossy {
            tip.push("events are missing".to_owned());
        }
        scene.shapes.push(Shape::Tip(tip, shapes));
        if column % step == 0 {
            let style = Style { anchor: Anchor::Middle, ..SMALL };
            scene.text(middle, area.y + area.height + 15.0, cycle.number.to_string(), style);
        }
    }
}

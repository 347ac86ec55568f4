//! The service map: who asks whom, from left to right (from above on a phone), with rates, failures and latency.

use std::collections::BTreeMap;

use super::heat::rate;
use crate::report::data::{Edge, Report};
use crate::report::draw::scene::{Anchor, Area, Ink, PLAIN, SMALL, Scene, Shape, Size, Style, fit};
use crate::text::{count, duration};

/// Edges that are drawn, the busiest; the table has them all.
const MAX_EDGES: usize = 40;

/// A process.
struct Node {
    name: String,
    layer: usize,
    /// Place within the layer.
    row: usize,
}

/// Draws the map.
pub fn scene(report: &Report, size: Size) -> Scene {
    let edges = &report.edges[..report.edges.len().min(MAX_EDGES)];
    let (nodes, ends) = layout(edges);
    let layers = nodes.iter().map(|node| node.layer + 1).max().unwrap_or(1);
    let tallest = nodes.iter().map(|node| node.row + 1).max().unwrap_or(1);
    let place = Placing::new(size, layers, tallest);
    let title = format!("Service map: {} processes, {} hops.", nodes.len(), edges.len());
    let mut scene = Scene::new(size.width(), place.height, title);
    let length_s = report.to_ns.saturating_sub(report.from_ns).max(1) as f64 / 1e9;
    let busiest = edges.iter().map(|edge| edge.requests).max().unwrap_or(1).max(1) as f64;
    let mut in_layer = BTreeMap::new();
    for node in &nodes {
        *in_layer.entry(node.layer).or_insert(0_usize) += 1;
    }
    let centre = |node: &Node| place.centre(node, in_layer.get(&node.layer).copied().unwrap_or(1));
    for (edge, &(from, to)) in edges.iter().zip(&ends) {
        let width = 1.0 + 4.0 * (edge.requests as f64 / busiest).sqrt();
        edge_shapes(
            &mut scene,
            edge,
            &place.curve(centre(&nodes[from]), centre(&nodes[to])),
            width,
            length_s,
        );
    }
    for node in &nodes {
        let [x, y] = centre(node);
        let area = Area {
            x: x - place.box_width / 2.0,
            y: y - BOX_HEIGHT / 2.0,
            width: place.box_width,
            height: BOX_HEIGHT,
        };
        scene.rect(area.x, area.y, area.width, area.height, Ink::Plain);
        scene.rect(area.x + 1.5, area.y + 1.5, area.width - 3.0, area.height - 3.0, Ink::Panel);
        let name = fit(&node.name, 12.0, place.box_width - 8.0);
        scene.text(x, y + 4.0, name, Style { anchor: Anchor::Middle, bold: true, ..PLAIN });
    }
    scene
}

/// Height of a node, pixels.
const BOX_HEIGHT: f64 = 28.0;

/// Where layers and rows are.
struct Placing {
    size: Size,
    width: f64,
    height: f64,
    layers: usize,
    box_width: f64,
}

impl Placing {
    fn new(size: Size, layers: usize, tallest: usize) -> Placing {
        let width = size.width();
        match size {
            Size::Wide => {
                let box_width = (width / (2.0 * layers as f64 - 1.0).max(1.0)).clamp(70.0, 150.0);
                let height = (76.0 * tallest as f64).max(110.0);
                Placing { size, width, height, layers, box_width }
            }
            Size::Narrow => {
                let box_width = (width / tallest as f64 - 8.0).clamp(40.0, 150.0);
                let height = 100.0 * layers as f64 - 60.0 + BOX_HEIGHT;
                Placing { size, width, height, layers, box_width }
            }
        }
    }

    fn centre(&self, node: &Node, in_layer: usize) -> [f64; 2] {
        let along = (node.row as f64 + 0.5) / in_layer.max(1) as f64;
        match self.size {
            Size::Wide => {
                let step = (self.width - self.box_width - 2.0) / (self.layers.max(2) - 1) as f64;
                [1.0 + self.box_width / 2.0 + step * node.layer as f64, self.height * along]
            }
            Size::Narrow => [self.width * along, BOX_HEIGHT / 2.0 + 6.0 + 100.0 * node.layer as f64],
        }
    }

    /// From the edge of one box to that of another; back where the target is not behind.
    fn curve(&self, from: [f64; 2], to: [f64; 2]) -> [[f64; 2]; 4] {
        let half = self.box_width / 2.0;
        match self.size {
            Size::Wide if to[0] > from[0] => {
                let (a, b) = ([from[0] + half, from[1]], [to[0] - half, to[1]]);
                let pull = 0.4 * (b[0] - a[0]);
                [a, [a[0] + pull, a[1]], [b[0] - pull, b[1]], b]
            }
            Size::Wide => {
                let (a, b) =
                    ([from[0] - 18.0, from[1] + BOX_HEIGHT / 2.0], [to[0] + 18.0, to[1] + BOX_HEIGHT / 2.0]);
                let pull = 34.0;
                [a, [a[0], a[1] + pull], [b[0], b[1] + pull], b]
            }
            Size::Narrow if to[1] > from[1] => {
                let (a, b) = ([from[0], from[1] + BOX_HEIGHT / 2.0], [to[0], to[1] - BOX_HEIGHT / 2.0]);
                [a, [a[0], a[1] + 30.0], [b[0], b[1] - 30.0], b]
            }
            Size::Narrow => {
                let (a, b) = ([from[0] + half, from[1] - 4.0], [to[0] + half, to[1] + 4.0]);
                [a, [a[0] + 26.0, a[1]], [b[0] + 26.0, b[1]], b]
            }
        }
    }
}

fn edge_shapes(scene: &mut Scene, edge: &Edge, curve: &[[f64; 2]; 4], width: f64, length_s: f64) {
    let ink = match edge {
        edge if edge.failed > 0 => Ink::Bad,
        edge if edge.left > 0 => Ink::Left,
        _ => Ink::Plain,
    };
    let [x, y] = middle(curve);
    let label = rate(edge.requests as f64 / length_s);
    let latency = format!("p99 {}", duration(edge.p99_ns as i64));
    let text_width = 0.56 * 11.0 * label.chars().count().max(latency.chars().count()) as f64 + 8.0;
    let ground = Area { x: x - text_width / 2.0, y: y - 14.0, width: text_width, height: 28.0 };
    let style = Style { anchor: Anchor::Middle, ink: Ink::Text, ..SMALL };
    let mut shapes = vec![Shape::Arrow(*curve, ink, width)];
    let faint = Style { ink: Ink::Faint, ..style };
    // Along a level line there is room above and below; a slope would cross the words.
    if (curve[0][1] - curve[3][1]).abs() < 4.0 {
        shapes.push(Shape::Text(x, y - width / 2.0 - 4.0, label, style));
        shapes.push(Shape::Text(x, y + width / 2.0 + 11.0, latency, faint));
    } else {
        shapes.push(Shape::Rect(ground, Ink::Ground));
        shapes.push(Shape::Text(x, y - 2.0, label, style));
        shapes.push(Shape::Text(x, y + 10.0, latency, faint));
    }
    scene.shapes.push(Shape::Tip(words(edge, length_s), shapes));
}

/// An edge in words.
fn words(edge: &Edge, length_s: f64) -> Vec<String> {
    let rate = rate(edge.requests as f64 / length_s);
    vec![
        edge.name.clone(),
        format!("{} requests on {} connections, {rate}", count(edge.requests), count(edge.connections)),
        format!("{} failed, {} gave up", count(edge.failed), count(edge.left)),
        format!("median {}, p99 {}", duration(edge.p50_ns as i64), duration(edge.p99_ns as i64)),
    ]
}

fn middle([a, b, c, d]: &[[f64; 2]; 4]) -> [f64; 2] {
    [0, 1].map(|axis| (a[axis] + 3.0 * b[axis] + 3.0 * c[axis] + d[axis]) / 8.0)
}

/// Nodes with their places, and the two nodes of each edge.
///
/// A node's layer is the length of the longest way to it that does not come back to itself; within a layer nodes
/// stand near the mean of those that ask them.
fn layout(edges: &[Edge]) -> (Vec<Node>, Vec<(usize, usize)>) {
    let mut nodes: Vec<Node> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ends = Vec::new();
    for edge in edges {
        let [from, to] = [&edge.from, &edge.to].map(|name| {
            *places.entry(name).or_insert_with(|| {
                nodes.push(Node { name: name.clone(), layer: 0, row: 0 });
                nodes.len() - 1
            })
        });
        ends.push((from, to));
    }
    let forward = without_circles(nodes.len(), &ends);
    // As many rounds as nodes settle every way, for there are no circles.
    for _ in 0..nodes.len() {
        for &(from, to) in &forward {
            nodes[to].layer = nodes[to].layer.max(nodes[from].layer + 1);
        }
    }
    rows(&mut nodes, &forward);
    (nodes, ends)
}

fn rows(nodes: &mut [Node], forward: &[(usize, usize)]) {
    let layers = nodes.iter().map(|node| node.layer + 1).max().unwrap_or_default();
    for layer in 0..layers {
        let mut members: Vec<(f64, usize)> = (0..nodes.len())
            .filter(|&place| nodes[place].layer == layer)
            .map(|place| {
                let askers = forward.iter().filter(|(_, to)| *to == place);
                let rows: Vec<f64> = askers.map(|&(from, _)| nodes[from].row as f64).collect();
                (rows.iter().sum::<f64>() / rows.len().max(1) as f64, place)
            })
            .collect();
        members.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (row, (_, place)) in members.into_iter().enumerate() {
            nodes[place].row = row;
        }
    }
}

/// Edges without those that lead back: a walk from every node in turn leaves out what it finds open.
fn without_circles(nodes: usize, ends: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut state = vec![0_u8; nodes]; // 0 not seen, 1 open, 2 done
    let mut kept = Vec::new();
    let asked = |to: usize| ends.iter().any(|&(from, other)| other == to && from != to);
    // Nodes that nobody asks come first: they are where requests enter.
    let mut order: Vec<usize> = (0..nodes).collect();
    order.sort_by_key(|&node| asked(node));
    for root in order {
        let mut walk = vec![(root, 0)];
        if state[root] != 0 {
            continue;
        }
        state[root] = 1;
        while let Some((node, next)) = walk.pop() {
            let Some(&(_, to)) = ends.iter().filter(|(from, _)| *from == node).nth(next) else {
                state[node] = 2;
                continue;
            };
            walk.push((node, next + 1));
            if state[to] != 1 {
                kept.push((node, to));
            }
            if state[to] == 0 {
                state[to] = 1;
                walk.push((to, 0));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(pairs: &[(&str, &str)]) -> Vec<Edge> {
        let edge = |&(from, to): &(&str, &str)| Edge {
            from: from.to_owned(),
            to: to.to_owned(),
            requests: 1,
            ..Edge::default()
        };
        pairs.iter().map(edge).collect()
    }

    #[test]
    fn layers_follow_the_longest_way_and_circles_end() {
        let edges = edges(&[("b", "c"), ("a", "b"), ("a", "c"), ("c", "b"), ("c", "c")]);
        let (nodes, ends) = layout(&edges);
        let layers: BTreeMap<&str, usize> = nodes.iter().map(|n| (n.name.as_str(), n.layer)).collect();
        assert_eq!(layers, BTreeMap::from([("a", 0), ("b", 1), ("c", 2)]));
        assert_eq!(ends.len(), 5);
    }

    #[test]
    fn everything_is_within_the_picture() {
        let names: Vec<String> = (0..30).map(|n| format!("s{n}")).collect();
        let pairs: Vec<(&str, &str)> = names.windows(2).map(|w| (w[0].as_str(), w[1].as_str())).collect();
        let report = Report { edges: edges(&pairs), to_ns: 1_000_000_000, ..Report::default() };
        for size in [Size::Wide, Size::Narrow] {
            let scene = scene(&report, size);
            for shape in &scene.shapes {
                if let Shape::Rect(area, _) = shape {
                    assert!(area.x >= 0.0 && area.x + area.width <= scene.width + 0.5, "{size:?} {area:?}");
                    assert!(area.y >= 0.0 && area.y + area.height <= scene.height + 0.5, "{size:?} {area:?}");
                }
            }
        }
    }
}

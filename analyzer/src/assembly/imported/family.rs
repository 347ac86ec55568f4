//! Who is whose child, and which part of its time a span took itself.

use retrospan_formats::tables::ImportedSpanRow;
use retrospan_protocols::semconv::Kind;

/// No span.
pub const NONE: u32 = u32::MAX;

/// A span, as far as it relates to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Trace.
    pub trace_id: u128,
    /// Id.
    pub span_id: u64,
    /// The parent that it names; 0 where it names none.
    pub parent_span_id: u64,
    /// Begin, boot time ns.
    pub start_ns: i64,
    /// End.
    pub end_ns: i64,
    /// Who made it.
    pub process_id: i64,
    /// What it is a part of.
    pub kind: Kind,
}

impl Node {
    /// Of a row; a capture may come from anywhere, so what is no id is 0.
    pub fn of(row: &ImportedSpanRow<'_>) -> Node {
        let id = |digits: &str| u128::from_str_radix(digits, 16).unwrap_or_default();
        Node {
            trace_id: id(row.trace_id),
            span_id: id(row.span_id) as u64,
            parent_span_id: row.parent_span_id.map_or(0, id) as u64,
            start_ns: row.boot_ns,
            end_ns: row.boot_ns + row.duration_ns.max(0),
            process_id: row.process_id,
            kind: Kind::of(row.kind).unwrap_or_default(),
        }
    }

    /// How long it took, ns.
    pub fn duration_ns(&self) -> i64 {
        self.end_ns - self.start_ns
    }
}

/// Spans with their relatives, by their place in the list that it was made of.
#[derive(Debug)]
pub struct Family {
    /// The spans.
    pub nodes: Vec<Node>,
    /// Each span's parent, where that is among them; else [`NONE`].
    pub parents: Vec<u32>,
    /// Each span's duration without the union of its children's intervals, ns.
    pub own_ns: Vec<i64>,
    /// All spans by trace and id.
    pub by_id: Vec<u32>,
    /// All spans, parents before their children.
    pub top_down: Vec<u32>,
    /// Those that have a parent, by parent and begin.
    pub children: Vec<u32>,
}

impl Family {
    /// Finds out. Who would be its own ancestor has no parent.
    pub fn new(nodes: Vec<Node>) -> Family {
        let all = 0..u32::try_from(nodes.len()).unwrap_or(NONE);
        let mut by_id: Vec<u32> = all.collect();
        by_id.sort_unstable_by_key(|&place| (nodes[place as usize].key(), place));
        let mut parents: Vec<u32> = nodes.iter().map(|node| node.parent(&nodes, &by_id)).collect();
        let top_down = top_down(&mut parents);
        let mut children: Vec<u32> = by_id.clone();
        children.retain(|&place| parents[place as usize] != NONE);
        children
            .sort_unstable_by_key(|&place| (parents[place as usize], nodes[place as usize].start_ns, place));
        let mut own_ns: Vec<i64> = nodes.iter().map(Node::duration_ns).collect();
        for siblings in children.chunk_by(|a, b| parents[*a as usize] == parents[*b as usize]) {
            let parent = parents[siblings[0] as usize] as usize;
            own_ns[parent] -= covered_ns(&nodes[parent], siblings, &nodes);
        }
        Family { nodes, parents, own_ns, by_id, top_down, children }
    }

    /// The parent of a span among the others.
    pub fn parent(&self, place: usize) -> Option<usize> {
        Some(self.parents[place]).filter(|&parent| parent != NONE).map(|parent| parent as usize)
    }

    /// A parent that nobody recorded.
    pub fn remote_parent(&self, place: usize) -> Option<u64> {
        let node = &self.nodes[place];
        let is_remote = node.parent_span_id != 0 && node.parent(&self.nodes, &self.by_id) == NONE;
        (is_remote && node.parent_span_id != node.span_id).then_some(node.parent_span_id)
    }
}

impl Node {
    fn key(&self) -> (u128, u64) {
        (self.trace_id, self.span_id)
    }

    fn parent(&self, nodes: &[Node], by_id: &[u32]) -> u32 {
        if self.parent_span_id == 0 || self.parent_span_id == self.span_id {
            return NONE;
        }
        let wanted = (self.trace_id, self.parent_span_id);
        let at = by_id.partition_point(|&place| nodes[place as usize].key() < wanted);
        by_id.get(at).copied().filter(|&place| nodes[place as usize].key() == wanted).unwrap_or(NONE)
    }
}

/// Puts parents before their children, and cuts circles.
fn top_down(parents: &mut [u32]) -> Vec<u32> {
    const NEW: u8 = 0;
    const ON_THE_WAY: u8 = 1;
    const DONE: u8 = 2;
    let mut states = vec![NEW; parents.len()];
    let mut order = Vec::with_capacity(parents.len());
    let mut way = Vec::new();
    for start in 0..parents.len() {
        let mut at = start as u32;
        while at != NONE && states[at as usize] == NEW {
            states[at as usize] = ON_THE_WAY;
            way.push(at);
            at = parents[at as usize];
        }
        if at != NONE && states[at as usize] == ON_THE_WAY {
            // The last one's parent is below it.
            way.last().into_iter().for_each(|&last| parents[last as usize] = NONE);
        }
        way.iter().for_each(|&place| states[place as usize] = DONE);
        order.extend(way.drain(..).rev());
    }
    order
}

/// So much of a span's time its children, in the order of their begins, took.
fn covered_ns(parent: &Node, children: &[u32], nodes: &[Node]) -> i64 {
    let (mut covered_ns, mut until_ns) = (0, parent.start_ns);
    for child in children.iter().map(|&child| &nodes[child as usize]) {
        let from_ns = child.start_ns.clamp(until_ns, parent.end_ns.max(until_ns));
        let to_ns = child.end_ns.clamp(from_ns, parent.end_ns.max(from_ns));
        covered_ns += to_ns - from_ns;
        until_ns = until_ns.max(to_ns);
    }
    covered_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(span_id: u64, parent_span_id: u64, start_ns: i64, end_ns: i64) -> Node {
        Node { trace_id: 1, span_id, parent_span_id, start_ns, end_ns, ..Node::default() }
    }

    #[test]
    fn own_time_is_what_the_union_of_the_children_leaves() {
        let nodes = vec![
            node(4, 1, 50, 130),
            node(1, 0, 10, 100),
            node(2, 1, 20, 40),
            node(3, 1, 30, 60),
            node(5, 3, 0, 200),
            Node { trace_id: 2, ..node(6, 1, 10, 15) },
        ];
        let family = Family::new(nodes);
        assert_eq!(family.parents, [1, NONE, 1, 1, 3, NONE]);
        assert_eq!(family.own_ns, [80, 10, 20, 0, 200, 5]);
        assert_eq!(family.remote_parent(5), Some(1));
        assert_eq!((family.remote_parent(0), family.remote_parent(1)), (None, None));
        let place = |wanted: u32| family.top_down.iter().position(|&place| place == wanted);
        assert!(place(1) < place(0) && place(3) < place(4) && family.top_down.len() == 6);
        assert_eq!(family.children, [2, 3, 0, 4]);
    }

    #[test]
    fn nobody_is_its_own_ancestor() {
        let circle =
            vec![node(1, 3, 0, 9), node(2, 1, 0, 9), node(3, 2, 0, 9), node(4, 4, 0, 9), node(5, 3, 0, 9)];
        let family = Family::new(circle);
        assert_eq!(family.parents.iter().filter(|&&parent| parent == NONE).count(), 2);
        assert_eq!(family.top_down.len(), 5);
        assert!((0..5).all(|place| family.remote_parent(place).is_none()));
        let chain: Vec<Node> = (1..=100_000).map(|id| node(id, id - 1, 0, 1)).collect();
        assert_eq!(Family::new(chain).top_down.len(), 100_000);
    }

    #[test]
    fn of_spans_with_one_id_the_first_is_the_parent() {
        let family = Family::new(vec![node(2, 1, 0, 1), node(1, 0, 5, 6), node(1, 0, 0, 9)]);
        assert_eq!(family.parents, [1, NONE, NONE]);
        assert_eq!(Family::new(Vec::new()).top_down, Vec::<u32>::new());
    }
}

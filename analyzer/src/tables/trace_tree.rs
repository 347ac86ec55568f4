//! The spans of one trace as a tree.

use std::collections::BTreeMap;

/// A span of the trace.
#[derive(Clone, Copy, Debug)]
pub struct TreeSpan<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its parent's; one that is not among the spans is as none.
    pub parent_id: Option<&'a str>,
    /// Start, ns.
    pub start_ns: i64,
    /// End, ns.
    pub end_ns: i64,
}

/// Who is whose child, by the place of the spans in the list that it was made of.
#[derive(Debug)]
pub struct TraceTree {
    /// Children by the place of their parent; roots under None.
    children: BTreeMap<Option<usize>, Vec<usize>>,
    /// Start of the first span, ns.
    pub start_ns: i64,
    /// From there to the end of the last, ns; at least 1.
    pub length_ns: i64,
}

impl TraceTree {
    /// The tree of the spans; children are in the order of the list.
    pub fn new<'a>(spans: impl Iterator<Item = TreeSpan<'a>> + Clone) -> TraceTree {
        let places: BTreeMap<&str, usize> =
            spans.clone().enumerate().map(|(place, span)| (span.id, place)).collect();
        let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (place, span) in spans.clone().enumerate() {
            let parent = span.parent_id.and_then(|id| places.get(id).copied());
            children.entry(parent).or_default().push(place);
        }
        let start_ns = spans.clone().map(|span| span.start_ns).min().unwrap_or_default();
        let end_ns = spans.map(|span| span.end_ns).max().unwrap_or_default();
        TraceTree { children, start_ns, length_ns: end_ns.saturating_sub(start_ns).max(1) }
    }

    /// The children of the span at a place.
    pub fn children(&self, place: usize) -> &[usize] {
        self.below(Some(place))
    }

    /// Place and depth of every span, parents before their children.
    pub fn walk(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut open: Vec<(usize, usize)> = self.below(None).iter().rev().map(|&root| (root, 0)).collect();
        std::iter::from_fn(move || {
            let (place, depth) = open.pop()?;
            open.extend(self.children(place).iter().rev().map(|&child| (child, depth + 1)));
            Some((place, depth))
        })
    }

    fn below(&self, parent: Option<usize>) -> &[usize] {
        self.children.get(&parent).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children() {
        let span = |id, parent_id, start_ns, end_ns| TreeSpan { id, parent_id, start_ns, end_ns };
        let spans = [
            span("c", Some("b"), 20, 30),
            span("a", None, 10, 100),
            span("b", Some("a"), 15, 40),
            span("d", Some("a"), 50, 60),
            span("e", Some("nobody"), 70, 80),
        ];
        let tree = TraceTree::new(spans.into_iter());
        let shown: Vec<(&str, usize)> = tree.walk().map(|(place, depth)| (spans[place].id, depth)).collect();
        assert_eq!(shown, [("a", 0), ("b", 1), ("c", 2), ("d", 1), ("e", 0)]);
        assert_eq!((tree.start_ns, tree.length_ns), (10, 90));
        assert_eq!(TraceTree::new([].into_iter()).walk().count(), 0);
    }
}

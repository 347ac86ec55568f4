//! What the parent and the children of a span say of its time, and what they learn when it is written.

use crate::assembly::outcomes::SpanEnd;
use crate::assembly::side::Side;
use crate::assembly::span::{Evidence, OpenSpans, Parent, Span, SpanIndex, Written};
use crate::tables::outcome::Outcome;

/// A server span ends with the client span at the other end of its connection at the latest: a receiver may be reported before
/// the sender.
pub(super) fn cut_end(span: &Span, span_end: &SpanEnd, live: &OpenSpans) -> i64 {
    if span.side != Side::Server || span.link.evidence != Some(Evidence::Connection) {
        return span_end.end_ns;
    }
    let parent_end_ns = match span.link.parent {
        Parent::None => None,
        Parent::Open(parent) => live.get(parent).and_then(|parent| known_end(&parent.span_end?)),
        Parent::Written(written) => written.end_ns,
    };
    match parent_end_ns {
        Some(end_ns) if end_ns >= span.start_ns => span_end.end_ns.min(end_ns),
        _ => span_end.end_ns,
    }
}

/// The end of a span of which nothing is missing.
pub(super) fn known_end(span_end: &SpanEnd) -> Option<i64> {
    (span_end.outcome != Outcome::Lost).then_some(span_end.end_ns)
}

/// The span without the union of its children's intervals: stretches in order and apart.
pub(super) fn own_time(span: &Span, span_end: &SpanEnd, live: &OpenSpans) -> Vec<(i64, i64)> {
    let (start, end) = (span.start_ns, span_end.end_ns);
    let children = span.link.children.iter().filter_map(|&child| {
        let child = live.get(child)?;
        Some((child.start_ns, child.span_end.map_or(end, |span_end| span_end.end_ns)))
    });
    let mut intervals: Vec<(i64, i64)> = span
        .link
        .covered
        .iter()
        .copied()
        .chain(children)
        .map(|(from, to)| (from.clamp(start, end), to.clamp(start, end)))
        .collect();
    intervals.sort_unstable();
    let (mut gaps, mut until) = (Vec::with_capacity(intervals.len() + 1), start);
    for (from, to) in intervals.into_iter().chain([(end, end)]) {
        if from > until {
            gaps.push((until, from));
        }
        until = until.max(to);
    }
    gaps
}

/// A span is written: its children learn by whom they were called, its parent which part of its time it took.
pub(super) fn tell_relatives(
    index: SpanIndex,
    span: &Span,
    written: Written,
    end_ns: i64,
    live: &mut OpenSpans,
) {
    for &child in &span.link.children {
        if let Some(child) = live.get_mut(child) {
            child.link.parent = Parent::Written(written);
        }
    }
    if let Parent::Open(parent) = span.link.parent
        && let Some(parent) = live.get_mut(parent)
    {
        parent.link.children.retain(|&child| child != index);
        parent.link.covered.push((span.start_ns, end_ns));
    }
}

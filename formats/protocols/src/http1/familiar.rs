//! Heads and header lines seen before, with what was found of them.
//!
//! Only equal bytes count, so what is kept of a head is the same with and without; and only what may be kept, or is blank already, is
//! remembered, so no secret stays here.

pub(super) mod heads;
pub(super) mod lines;

use heads::FamiliarHeads;
use lines::FamiliarLines;

/// What one direction has seen before. May be shared by connections.
#[derive(Clone, Debug, Default)]
pub struct Familiar {
    /// Lines of heads.
    pub(super) lines: FamiliarLines,
    /// Whole heads.
    pub(super) heads: FamiliarHeads,
}

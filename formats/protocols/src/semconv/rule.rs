//! What the value of an attribute may be, where its name is one that is kept.

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A name, an address, a number: no spaces.
    Word,
    /// Words with spaces between them.
    Words,
    /// Anything that fits.
    Text,
    /// A path with its query.
    Target,
    /// A query without its `?`.
    Query,
    /// A URL.
    Url,
    /// A statement to a database.
    Statement,
}

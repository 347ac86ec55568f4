//! Why a span, or a part of a file, is not in the capture.

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// A span whose ids are missing, zero or no ids.
    NoId,
    /// A span without a begin, or with one that cannot be.
    NoTime,
    /// A span that ends before it begins, or has not ended.
    EndsBefore,
    /// A span too far from the first one: a capture has 400 days.
    TooFar,
    /// A document or message that is not what its format wants.
    Broken,
    /// A document of metrics or logs, or of nothing that is known.
    NoTraces,
}

impl Skipped {
    /// Every reason.
    pub const ALL: [Skipped; 6] = [
        Skipped::NoId,
        Skipped::NoTime,
        Skipped::EndsBefore,
        Skipped::TooFar,
        Skipped::Broken,
        Skipped::NoTraces,
    ];

    /// As it is told to people, behind a number.
    pub const fn text(self) -> &'static str {
        match self {
            Skipped::NoId => "spans without ids",
            Skipped::NoTime => "without a time that can be",
            Skipped::EndsBefore => "that do not end, or before they begin",
            Skipped::TooFar => "more than 199 days from the first",
            Skipped::Broken => "broken documents",
            Skipped::NoTraces => "documents without traces",
        }
    }
}

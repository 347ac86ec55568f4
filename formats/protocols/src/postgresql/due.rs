//! What the server has to answer, and how the tag of a completed statement begins.

/// What the server has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A simple query, function call or start of a session: up to ReadyForQuery. By its key.
    Query(u64),
    Execute(u64),
    Parse,
    Bind,
    Describe,
    Close,
    Sync,
}

impl Due {
    /// ReadyForQuery follows.
    pub(super) fn is_point(self) -> bool {
        matches!(self, Due::Query(_) | Due::Sync)
    }

    /// It only prepares what follows.
    pub(super) fn is_step(self) -> bool {
        matches!(self, Due::Parse | Due::Bind | Due::Describe | Due::Close)
    }

    /// What may be the first of those that one ReadyForQuery ends.
    pub(super) fn opens(self) -> bool {
        matches!(self, Due::Query(_) | Due::Parse | Due::Bind)
    }

    pub(super) fn key(self) -> Option<u64> {
        match self {
            Due::Query(key) | Due::Execute(key) => Some(key),
            _ => None,
        }
    }
}

/// Whether a tag that begins with this word may be that of a statement that begins so: behind lost bytes it
/// may belong to a request that was not seen.
pub(super) fn may_complete(statement: Option<&'static str>, tag: Option<&'static str>) -> bool {
    match (statement, tag) {
        (Some("COMMIT"), Some("ROLLBACK")) | (Some("CREATE"), Some("SELECT")) => true,
        (Some(statement), Some(tag)) if TAGGED.contains(&statement) => statement == tag,
        _ => true,
    }
}

/// Words of statements whose tag begins with the same word.
const TAGGED: [&str; 14] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "BEGIN", "COMMIT", "ROLLBACK", "CREATE", "ALTER",
    "DROP", "SET", "COPY", "FETCH",
];

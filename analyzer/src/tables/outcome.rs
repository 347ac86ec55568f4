//! How an exchange ended, and the words for it in tables.

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The answer was complete.
    Ok,
    /// So it was, with a status of 500 or above.
    Error,
    /// The requesting side left before the answer was complete.
    ClientClosed,
    /// The answering side closed before it.
    ServerClosed,
    /// The answering side reset the connection, or it timed out.
    Reset,
    /// There was an answer, but not one that a parser took.
    Unparsed,
    /// The recording ended.
    TimeoutCut,
    /// Events are missing.
    Lost,
}

impl Outcome {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::ClientClosed => "client_closed",
            Outcome::ServerClosed => "server_closed",
            Outcome::Reset => "reset",
            Outcome::Unparsed => "unparsed",
            Outcome::TimeoutCut => "timeout_cut",
            Outcome::Lost => "lost",
        }
    }
}

//! How an exchange ended: its name in tables, its words for people, and whose failure it is.

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The answer was complete.
    Ok,
    /// So it was, and says that the server failed.
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
    #[default]
    Lost,
}

/// Who failed whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The requesting side gave up.
    GaveUp,
    /// The answering side answered with an error, or not at all.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::Error,
        Outcome::ClientClosed,
        Outcome::ServerClosed,
        Outcome::Reset,
        Outcome::Unparsed,
        Outcome::TimeoutCut,
        Outcome::Lost,
    ];

    /// The outcome of that name in tables.
    pub fn of(name: &str) -> Option<Outcome> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

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

    /// What happened, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Outcome::Ok => "answered",
            Outcome::Error => "answered with a server error",
            Outcome::ClientClosed => "the client gave up before the answer was complete",
            Outcome::ServerClosed => "the server closed the connection before the answer was complete",
            Outcome::Reset => "the server reset the connection, or it timed out",
            Outcome::Unparsed => "the answer could not be read",
            Outcome::TimeoutCut => "the recording ended first",
            Outcome::Lost => "events are missing",
        }
    }

    /// Whose failure it is; none where the answer was complete, and where the end was not seen.
    pub const fn failure(self) -> Option<Failure> {
        match self {
            Outcome::ClientClosed => Some(Failure::GaveUp),
            Outcome::Error | Outcome::ServerClosed | Outcome::Reset => Some(Failure::Failed),
            Outcome::Ok | Outcome::Unparsed | Outcome::TimeoutCut | Outcome::Lost => None,
        }
    }

    /// A condition over the columns of `spans` that holds where somebody failed.
    pub fn failed_condition() -> String {
        let failures = Self::ALL.into_iter().filter(|outcome| outcome.failure().is_some());
        let names: Vec<String> = failures.map(|outcome| format!("'{}'", outcome.name())).collect();
        format!("outcome IN ({})", names.join(", "))
    }

    /// Whether it came to its end, however bad, and the recording saw it.
    pub const fn is_known(self) -> bool {
        !matches!(self, Outcome::TimeoutCut | Outcome::Lost)
    }

    /// Whether one of the two broke the exchange off. What the recording cut or lost is no error of theirs.
    pub const fn is_broken_off(self) -> bool {
        matches!(self, Outcome::ClientClosed | Outcome::ServerClosed | Outcome::Reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_one_outcome() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::of(outcome.name()), Some(outcome));
        }
        assert_eq!(Outcome::of("OK"), None);
        let failed = "outcome IN ('error', 'client_closed', 'server_closed', 'reset')";
        assert_eq!(Outcome::failed_condition(), failed);
    }
}

//! Spans that others made: what of their attributes may be kept, and what these say.
//!
//! Attributes have the names of the OpenTelemetry semantic conventions: the stable ones, those before them, and a
//! few of OpenTracing. [`keep`] decides by name, before anything reaches the disk; [`read`] tells what columns and
//! findings need, whichever conventions a span follows. Values were chosen by whoever made the span: anything may
//! be in there, and nothing here fails.

pub mod keep;
mod keys;
pub mod read;
mod rule;
mod slots;
#[cfg(test)]
mod tests;

pub use keep::Keeper;
pub use read::{Reader, Told};

/// Attribute that says how a span of Retrospan's own ended.
pub const OUTCOME: &str = "retrospan.outcome";
/// Attribute for the library whose instrumentation made a span.
pub const SCOPE: &str = "otel.scope.name";
/// Attribute that says what failed.
pub const ERROR_TYPE: &str = "error.type";

/// Which part a span is of what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Something within a process.
    #[default]
    Internal,
    /// A request, as the requesting side saw it.
    Client,
    /// The same, as the answering side saw it.
    Server,
    /// A message that was handed to a broker.
    Producer,
    /// One that came from there.
    Consumer,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::Internal, Kind::Client, Kind::Server, Kind::Producer, Kind::Consumer];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Internal => "internal",
            Kind::Client => "client",
            Kind::Server => "server",
            Kind::Producer => "producer",
            Kind::Consumer => "consumer",
        }
    }

    /// The kind of that name, in whatever case and behind whatever prefix (`SPAN_KIND_SERVER`).
    pub fn of(name: &str) -> Option<Kind> {
        let name = name.rsplit('_').next().unwrap_or(name);
        Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// It is the side that asks, or hands something on.
    pub const fn asks(self) -> bool {
        matches!(self, Kind::Client | Kind::Producer)
    }

    /// It is the side that answers, or takes something in.
    pub const fn answers(self) -> bool {
        matches!(self, Kind::Server | Kind::Consumer)
    }
}

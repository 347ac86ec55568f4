//! The query library: SQL files with a header that is documentation, and is checked against the plan.
//!
//! A header is the comment at the top of a file: one sentence, a blank line, more text; then one line a
//! parameter (`-- @param name type = default  text`) and one line a result column
//! (`-- @column name type  text`). The types are those of [`Type`]; that of a parameter may be followed by what is
//! allowed (`text:one|other`, `integer:>=1`, `number:>0`), see [`Allowed`].
//!
//! A view is a query without parameters that SQL can name as a table (`sql::views` registers it).

use std::fmt::Display;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use retrospan_formats::units::duration_ns;

use crate::print::Meaning;

/// Name and text of each query.
pub const FILES: [(&str, &str); 17] = [
    ("connect_waits", include_str!("../../../queries/connect_waits.sql")),
    ("connection_churn", include_str!("../../../queries/connection_churn.sql")),
    ("episodes", include_str!("../../../queries/episodes.sql")),
    ("in_flight", include_str!("../../../queries/in_flight.sql")),
    ("keep_alive_reuse", include_str!("../../../queries/keep_alive_reuse.sql")),
    ("latency_by_peer", include_str!("../../../queries/latency_by_peer.sql")),
    ("losses", include_str!("../../../queries/losses.sql")),
    ("outcomes_per_hop", include_str!("../../../queries/outcomes_per_hop.sql")),
    ("periods", include_str!("../../../queries/periods.sql")),
    ("phase", include_str!("../../../queries/phase.sql")),
    ("slow_connects", include_str!("../../../queries/slow_connects.sql")),
    ("slowest_requests", include_str!("../../../queries/slowest_requests.sql")),
    ("stalled_connections", include_str!("../../../queries/stalled_connections.sql")),
    ("top_talkers", include_str!("../../../queries/top_talkers.sql")),
    ("unread_requests", include_str!("../../../queries/unread_requests.sql")),
    ("where_time_goes", include_str!("../../../queries/where_time_goes.sql")),
    ("who_talks_to_whom", include_str!("../../../queries/who_talks_to_whom.sql")),
];

/// Name and text of each view.
pub const VIEWS: [(&str, &str); 19] = [
    ("closed_together", include_str!("../../../queries/views/closed_together.sql")),
    ("counter_bursts", include_str!("../../../queries/views/counter_bursts.sql")),
    ("cpu_bursts", include_str!("../../../queries/views/cpu_bursts.sql")),
    ("failed_connects", include_str!("../../../queries/views/failed_connects.sql")),
    ("flow_records", include_str!("../../../queries/views/flow_records.sql")),
    ("listen_drops", include_str!("../../../queries/views/listen_drops.sql")),
    ("listen_queue_waits", include_str!("../../../queries/views/listen_queue_waits.sql")),
    ("name_server_connections", include_str!("../../../queries/views/name_server_connections.sql")),
    ("off_cpu_waits", include_str!("../../../queries/views/off_cpu_waits.sql")),
    ("opened_connections", include_str!("../../../queries/views/opened_connections.sql")),
    ("process_places", include_str!("../../../queries/views/process_places.sql")),
    ("program_starts", include_str!("../../../queries/views/program_starts.sql")),
    ("resets", include_str!("../../../queries/views/resets.sql")),
    ("retransmissions", include_str!("../../../queries/views/retransmissions.sql")),
    ("run_queue_waits", include_str!("../../../queries/views/run_queue_waits.sql")),
    ("slow_round_trips", include_str!("../../../queries/views/slow_round_trips.sql")),
    ("stopped", include_str!("../../../queries/views/stopped.sql")),
    ("syn_retransmissions", include_str!("../../../queries/views/syn_retransmissions.sql")),
    ("throttling", include_str!("../../../queries/views/throttling.sql")),
];

/// What a parameter or column means: how it is written, and printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// An integer.
    Integer,
    /// A real number.
    Number,
    /// Integer nanoseconds; written as [`retrospan_formats::units`] says.
    Duration,
    /// An integer number of bytes.
    Bytes,
    /// A part of one.
    Ratio,
    /// A point in time, UTC.
    Time,
}

/// Which values of a parameter's type it may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    /// All.
    Any,
    /// These words.
    OneOf(Vec<&'static str>),
    /// Numbers of at least this.
    AtLeast(f64),
    /// Numbers of more than this.
    Above(f64),
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// `$name` in the query, `--name` on the command line (with `-` for `_`).
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// What it may be.
    pub allowed: Allowed,
    /// As written in the header; `null` for none.
    pub default: &'static str,
    /// Meaning.
    pub doc: &'static str,
}

/// A result column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Meaning.
    pub doc: &'static str,
}

/// A query or view with its header.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Name, that of the file.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// More text, one line each.
    pub doc: Vec<&'static str>,
    /// Parameters in order.
    pub parameters: Vec<Parameter>,
    /// Result columns in order.
    pub columns: Vec<Column>,
    /// The whole file.
    pub sql: &'static str,
}

impl Allowed {
    fn parse(text: &'static str) -> Option<Allowed> {
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        Some(match text {
            "" => Allowed::Any,
            text if text.starts_with(">=") => Allowed::AtLeast(number(&text[2..])?),
            text if text.starts_with('>') => Allowed::Above(number(&text[1..])?),
            text => Allowed::OneOf(text.split('|').collect()),
        })
    }

    /// In words, empty where everything is.
    pub fn words(&self) -> String {
        match self {
            Allowed::Any => String::new(),
            Allowed::OneOf(words) => format!("one of {}", words.join(", ")),
            Allowed::AtLeast(least) => format!("at least {least}"),
            Allowed::Above(bound) => format!("more than {bound}"),
        }
    }

    fn holds(&self, text: &str, value: &ScalarValue) -> bool {
        let number = match value {
            ScalarValue::Int64(Some(number)) => *number as f64,
            ScalarValue::Float64(Some(number)) => *number,
            _ => f64::NAN,
        };
        match self {
            Allowed::Any => true,
            Allowed::OneOf(words) => words.contains(&text),
            Allowed::AtLeast(least) => number >= *least,
            Allowed::Above(bound) => number > *bound,
        }
    }
}

impl Parameter {
    /// A value as written on the command line. The default is allowed whatever it is: `null` stands for everything.
    pub fn value(&self, text: &str) -> Result<ScalarValue, String> {
        let value = self.ty.value(text)?;
        if text == self.default || self.allowed.holds(text, &value) {
            return Ok(value);
        }
        Err(format!("{text:?}: {} is wanted", self.allowed.words()))
    }
}

impl Query {
    /// The statement to plan. A table function is called when a statement is planned, before parameters have values:
    /// those within its parentheses are written into the text.
    pub fn statement(&self, values: &[(impl Display, ScalarValue)]) -> String {
        let mut sql = self.sql.to_owned();
        for (name, value) in values {
            if let ScalarValue::Int64(Some(ns)) = value {
                sql = sql.replace(&format!("episodes(${name})"), &format!("episodes('{ns}ns')"));
            }
        }
        sql
    }
}

impl Type {
    fn parse(word: &str) -> Option<Type> {
        Some(match word {
            "text" => Type::Text,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "duration" => Type::Duration,
            "bytes" => Type::Bytes,
            "ratio" => Type::Ratio,
            "time" => Type::Time,
            _ => return None,
        })
    }

    /// The word in headers.
    pub fn name(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Duration => "duration",
            Type::Bytes => "bytes",
            Type::Ratio => "ratio",
            Type::Time => "time",
        }
    }

    /// Whether a column of a plan may be declared so.
    pub fn fits(self, ty: &DataType) -> bool {
        match self {
            Type::Text => matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8),
            Type::Integer | Type::Duration | Type::Bytes => ty.is_integer(),
            Type::Number | Type::Ratio => ty.is_floating(),
            Type::Time => matches!(ty, DataType::Timestamp(_, Some(_))),
        }
    }

    /// How a table for people shows it.
    pub fn meaning(self) -> Meaning {
        match self {
            Type::Duration => Meaning::Duration,
            Type::Bytes => Meaning::Bytes,
            Type::Ratio => Meaning::Ratio,
            Type::Text | Type::Integer | Type::Number | Type::Time => Meaning::Plain,
        }
    }

    /// A value as written on the command line or in a header; `null` is none of any type.
    pub fn value(self, text: &str) -> Result<ScalarValue, String> {
        let null = text == "null";
        let article = if self == Type::Integer { "an" } else { "a" };
        let wrong = || format!("{text:?} is not {article} {}", self.name());
        Ok(match self {
            Type::Text => ScalarValue::Utf8View((!null).then(|| text.to_owned())),
            Type::Number | Type::Ratio if null => ScalarValue::Float64(None),
            Type::Number | Type::Ratio => {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                ScalarValue::Float64(Some(number.ok_or_else(wrong)?))
            }
            Type::Integer | Type::Bytes | Type::Duration if null => ScalarValue::Int64(None),
            Type::Integer | Type::Bytes => ScalarValue::Int64(Some(text.parse().map_err(|_| wrong())?)),
            Type::Duration => ScalarValue::Int64(Some(duration_ns(text)? as i64)),
            Type::Time => return Err("a time cannot be a parameter".to_owned()),
        })
    }
}

/// Every query, sorted by name.
pub fn all() -> Result<Vec<Query>, String> {
    FILES.into_iter().map(|(name, sql)| parse(name, sql)).collect()
}

/// Every view, sorted by name.
pub fn views() -> Result<Vec<Query>, String> {
    VIEWS.into_iter().map(|(name, sql)| parse(name, sql)).collect()
}

/// The query of that name.
pub fn find(name: &str) -> Result<Option<Query>, String> {
    let file = FILES.into_iter().find(|(known, _)| *known == name);
    file.map(|(name, sql)| parse(name, sql)).transpose()
}

/// The text of the view of that name.
pub fn view(name: &str) -> Option<&'static str> {
    VIEWS.into_iter().find(|(known, _)| *known == name).map(|(_, sql)| sql)
}

/// Reads a file's header.
fn parse(name: &'static str, sql: &'static str) -> Result<Query, String> {
    let mut query =
        Query { name, summary: "", doc: Vec::new(), parameters: Vec::new(), columns: Vec::new(), sql };
    for (index, line) in sql.lines().take_while(|line| line.starts_with("--")).enumerate() {
        let text = line.trim_start_matches("--").trim();
        let bad = || format!("{name}: cannot read {line:?}");
        if index == 0 {
            query.summary = text;
        } else if let Some(rest) = text.strip_prefix("@param ") {
            query.parameters.push(parameter(rest.trim()).ok_or_else(bad)?);
        } else if let Some(rest) = text.strip_prefix("@column ") {
            let (name, rest) = word(rest.trim()).ok_or_else(bad)?;
            let (ty, doc) = word(rest).ok_or_else(bad)?;
            query.columns.push(Column { name, ty: Type::parse(ty).ok_or_else(bad)?, doc });
        } else if query.parameters.is_empty() && query.columns.is_empty() {
            query.doc.push(text);
        } else {
            return Err(bad());
        }
    }
    let end = query.doc.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    query.doc.truncate(end);
    let start = query.doc.iter().position(|line| !line.is_empty()).unwrap_or(0);
    query.doc.drain(..start);
    Ok(query)
}

fn parameter(text: &'static str) -> Option<Parameter> {
    let (name, rest) = word(text)?;
    let (ty, rest) = word(rest)?;
    let (equals, rest) = word(rest)?;
    let (default, doc) = word(rest)?;
    let (ty, allowed) = ty.split_once(':').unwrap_or((ty, ""));
    let ty = Type::parse(ty).filter(|ty| equals == "=" && ty.value(default).is_ok())?;
    Some(Parameter { name, ty, allowed: Allowed::parse(allowed)?, default, doc })
}

/// The first word and the rest.
fn word(text: &'static str) -> Option<(&'static str, &'static str)> {
    let (word, rest) = text.split_once(' ')?;
    Some((word, rest.trim_start()))
}

#[cfg(test)]
mod tests;

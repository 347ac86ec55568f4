//! The query library: SQL files with a header that is documentation, and is checked against the plan.
//!
//! A header is the comment at the top of a file: one sentence, a blank line, more text; then one line a
//! parameter (`-- @param name type = default  text`) and one line a result column
//! (`-- @column name type  text`). The types are those of [`Type`]; that of a parameter may be followed by what is
//! allowed (`text:one|other`, `integer:>=1`, `number:>0`), see [`Allowed`].

use std::fmt::Display;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use retrospan_formats::units::duration_ns;

use crate::print::Meaning;

/// Name and text of each query.
pub const FILES: [(&str, &str); 14] = [
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
    ("top_talkers", include_str!("../../../queries/top_talkers.sql")),
    ("where_time_goes", include_str!("../../../queries/where_time_goes.sql")),
    ("who_talks_to_whom", include_str!("../../../queries/who_talks_to_whom.sql")),
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

/// A query with its header.
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
        let number = |value: &ScalarValue| match value {
            ScalarValue::Float64(Some(number)) => Some(format!("{number:?}")),
            ScalarValue::Int64(Some(number)) => Some(number.to_string()),
            _ => None,
        };
        let mut sql = self.sql.to_owned();
        for (name, value) in values {
            if let Some(number) = number(value) {
                sql = sql.replace(&format!("episodes(${name})"), &format!("episodes({number})"));
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

/// The query of that name.
pub fn find(name: &str) -> Result<Option<Query>, String> {
    let file = FILES.into_iter().find(|(known, _)| *known == name);
    file.map(|(name, sql)| parse(name, sql)).transpose()
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

/// The reference page of all queries, in Markdown.
pub fn markdown() -> Result<String, String> {
    let mut page = String::from(
        "# The query library\n\n\
         Written by `ACCEPT=1 cargo test` from the headers in `queries/`; do not edit.\n\n\
         `retrospan query run NAME CAPTURE --parameter value` runs one, `retrospan query show NAME` prints its SQL.\n",
    );
    for query in all()? {
        page.push_str(&format!("\n## `{}`\n\n{}\n", query.name, query.summary));
        if !query.doc.is_empty() {
            page.push_str(&format!("\n{}\n", query.doc.join("\n")));
        }
        if !query.parameters.is_empty() {
            page.push_str("\n| parameter | type | default | meaning |\n|---|---|---|---|\n");
        }
        for p in &query.parameters {
            let option = p.name.replace('_', "-");
            let allowed = match p.allowed.words() {
                words if words.is_empty() => words,
                words => format!(", {words}"),
            };
            page.push_str(&format!(
                "| `--{option}` | {}{allowed} | `{}` | {} |\n",
                p.ty.name(),
                p.default,
                p.doc
            ));
        }
        page.push_str("\n| column | type | meaning |\n|---|---|---|\n");
        for c in &query.columns {
            page.push_str(&format!("| `{}` | {} | {} |\n", c.name, c.ty.name(), c.doc));
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_and_documented() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../queries");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".sql").map(str::to_owned))
            .collect();
        names.sort();
        let queries = all().unwrap();
        assert_eq!(queries.iter().map(|q| q.name).collect::<Vec<_>>(), names);
        for query in queries {
            assert!(query.summary.ends_with(['.', '?']), "{}", query.name);
            assert!(!query.columns.is_empty(), "{}", query.name);
            let docs = query.columns.iter().map(|c| c.doc).chain(query.parameters.iter().map(|p| p.doc));
            assert!(docs.into_iter().all(|doc| doc.ends_with('.')), "{}", query.name);
        }
    }

    #[test]
    fn values() {
        assert_eq!(Type::Duration.value("1.5s").unwrap(), ScalarValue::Int64(Some(1_500_000_000)));
        assert!(Type::Duration.value("7").unwrap_err().contains("write 7s"));
        assert!(Type::Integer.value("x").is_err());
        assert!(Type::Number.value("NaN").is_err() && Type::Number.value("inf").is_err());
        assert_eq!(Type::Text.value("null").unwrap(), ScalarValue::Utf8View(None));
    }

    #[test]
    fn a_header_says_what_a_parameter_may_be() {
        let wrong = |text: &'static str, value: &str| parameter(text).unwrap().value(value).unwrap_err();
        let metric = "metric text:latency|errors = latency  What is counted.";
        assert_eq!(wrong(metric, "foo"), "\"foo\": one of latency, errors is wanted");
        assert!(parameter(metric).unwrap().value("errors").is_ok());
        assert_eq!(wrong("bins integer:>=1 = 40  Parts.", "0"), "\"0\": at least 1 is wanted");
        assert_eq!(wrong("period number:>0 = 600  The period, s.", "0"), "\"0\": more than 0 is wanted");
        let kind = parameter("kind text:client|server = null  Side.").unwrap();
        assert!(kind.value("null").is_ok() && kind.value("both").is_err());
        assert_eq!(parameter("x integer:>y = 1  Text."), None);
    }

    #[test]
    fn the_default_of_every_parameter_is_allowed_or_null() {
        for query in all().unwrap() {
            for p in query.parameters {
                let value = p.ty.value(p.default).unwrap();
                assert!(value.is_null() || p.allowed.holds(p.default, &value), "{}: {}", query.name, p.name);
            }
        }
    }

    #[test]
    fn a_table_function_gets_its_arguments_as_text() {
        let periods = find("periods").unwrap().unwrap();
        let statement = periods.statement(&[("min_period", ScalarValue::Float64(Some(2.5)))]);
        assert!(statement.contains("FROM episodes(2.5)") && statement.contains("comb(onset, $min_period)"));
    }

    /// A capture in which nothing was recorded.
    fn empty_capture(directory: &std::path::Path) -> retrospan_formats::reader::Capture {
        let manifest = serde_json::json!({
            "format_version": 1, "capture_id": "00", "state": "recording", "options": {}, "probe_set": "syscalls",
            "host": {"name": "", "boot_id": "", "kernel": "", "machine": "", "cpus": 1, "utc_offset_s": 0},
            "recorder_version": "", "started_boot_ns": 0, "started_wall_ns": 0, "whole_until_boot_ns": 0,
            "files": [], "losses": [],
        });
        let manifest = serde_json::from_value(manifest).unwrap();
        let writer = retrospan_formats::writer::CaptureWriter::create(directory, manifest).unwrap();
        writer.complete(retrospan_formats::manifest::Cost::default()).unwrap();
        retrospan_formats::reader::Capture::open(directory).unwrap()
    }

    #[tokio::test]
    async fn headers_say_what_the_plans_say() {
        let folder = tempfile::tempdir().unwrap();
        let context = crate::session::open(&empty_capture(&folder.path().join("empty.cap"))).unwrap();
        for query in all().unwrap() {
            let values: Vec<_> =
                query.parameters.iter().map(|p| (p.name, p.ty.value(p.default).unwrap())).collect();
            let frame = crate::session::plan(&context, &query.statement(&values)).await.unwrap();
            let mut used: Vec<String> =
                frame.logical_plan().get_parameter_names().unwrap().into_iter().collect();
            used.sort();
            let mut declared: Vec<String> = query.parameters.iter().map(|p| format!("${}", p.name)).collect();
            declared.sort();
            assert_eq!(declared, used, "{}: parameters", query.name);
            let frame = frame.with_param_values(values).unwrap();
            let names: Vec<&str> = frame.schema().fields().iter().map(|f| f.name().as_str()).collect();
            let declared: Vec<&str> = query.columns.iter().map(|c| c.name).collect();
            assert_eq!(declared, names, "{}: columns", query.name);
            for (column, field) in query.columns.iter().zip(frame.schema().fields()) {
                let fits = column.ty.fits(field.data_type());
                assert!(fits, "{}: {} is {}", query.name, column.name, field.data_type());
            }
        }
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        crate::tables::reference::check("queries.md", &markdown().unwrap());
    }
}

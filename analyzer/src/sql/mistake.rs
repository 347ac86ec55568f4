//! What is wrong with a statement, where, and what was probably meant.
//!
//! The place is always one of the user's own text: what the program puts around a condition is never shown.

use datafusion::common::{Column, SchemaError, Span};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use retrospan_formats::tables as raw;

use crate::error::{Error, Mistake};
use crate::print::plain_name;
use crate::sql::library;
use crate::tables;
use crate::terminal;
use crate::text::escape_controls;

/// Candidates that are named at most.
const MOST_CANDIDATES: usize = 3;
/// Names that people know from elsewhere, and ours.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("request", "spans"),
    ("requests", "spans"),
    ("calls", "spans"),
    ("latency", "duration_ns"),
    ("duration_ms", "duration_ns"),
    ("timestamp", "start_time"),
    ("time", "start_time"),
    ("code", "status"),
    ("status_code", "status"),
    ("url", "path"),
    ("uri", "path"),
    ("process_name", "process"),
];
/// What a statement may begin with, and what follows; for words that are mistyped.
const KEYWORDS: [&str; 24] = [
    "SELECT", "WITH", "SHOW", "DESCRIBE", "EXPLAIN", "VALUES", "FROM", "WHERE", "GROUP", "ORDER", "BY",
    "HAVING", "LIMIT", "OFFSET", "JOIN", "LEFT", "ON", "USING", "AS", "AND", "OR", "UNION", "BETWEEN",
    "DISTINCT",
];

/// A text that the user wrote, and where.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The option or file that it stands in; None where it is the argument itself.
    pub place: Option<&'a str>,
    /// The text.
    pub text: &'a str,
}

/// What is wrong, before its place is put into words.
struct Wrong {
    message: String,
    /// Line and column from 1, and how many characters.
    place: Option<Place>,
    lists: Vec<String>,
}

#[derive(Clone, Copy)]
struct Place {
    line: usize,
    column: usize,
    length: usize,
}

impl Written<'_> {
    /// The error of planning `hidden` lines and then this text, for the user. Errors that are not of the
    /// statement come out as they went in.
    pub fn explain(self, error: DataFusionError, hidden: usize, context: &SessionContext) -> Error {
        let Some(mut wrong) = wrong(&error, context) else { return Error::Query(error) };
        if let Some(place) = &mut wrong.place {
            place.line = place.line.saturating_sub(hidden);
        }
        if wrong.place.is_none() {
            let is_cut_short = matches!(root(&error), DataFusionError::SQL(..));
            wrong.place = if is_cut_short { Some(self.end()) } else { self.token_of(&error) };
        }
        let place = wrong.place.filter(|place| place.line > 0).map(|place| self.within(place));
        Error::Mistake(self.mistake(&wrong.message, place, wrong.lists))
    }

    /// The error of parsing this text alone.
    pub fn explain_parse(self, error: DataFusionError) -> Error {
        let Some(wrong) = parse_error(&error) else { return Error::Query(error) };
        let place = wrong.place.or(Some(self.end())).map(|place| self.within(place));
        Error::Mistake(self.mistake(&wrong.message, place, wrong.lists))
    }

    fn mistake(self, message: &str, place: Option<Place>, lists: Vec<String>) -> Mistake {
        let is_long = self.text.trim_end().lines().count() > 1;
        let line = place.filter(|_| is_long).map(|place| format!("line {}", place.line));
        let before: Vec<String> = self.place.map(str::to_owned).into_iter().chain(line).collect();
        let before = if before.is_empty() { String::new() } else { format!("{}: ", before.join(", ")) };
        let picture = place.map_or_else(Vec::new, |place| self.picture(place));
        Mistake {
            headline: format!("{before}{message}"),
            details: picture.into_iter().chain(lists).collect(),
        }
    }

    /// The line, and a mark below the place. A long line is cut on both sides.
    fn picture(self, place: Place) -> Vec<String> {
        let Some(line) = self.text.lines().nth(place.line - 1) else { return Vec::new() };
        let columns = terminal::stderr().width().unwrap_or(120).saturating_sub(6).max(20);
        let characters: Vec<char> = line.chars().collect();
        let at = (place.column - 1).min(characters.len());
        let from = if characters.len() <= columns { 0 } else { at.saturating_sub(columns / 2) };
        let to = characters.len().min(from + columns);
        let piece = |from: usize, to: usize| {
            let piece: String =
                characters[from.min(to)..to].iter().map(|c| if *c == '\t' { ' ' } else { *c }).collect();
            escape_controls(&piece)
        };
        let (cut_left, cut_right) =
            (if from > 0 { "... " } else { "" }, if to < characters.len() { " ..." } else { "" });
        let end = (at + place.length.max(1)).min(to.max(at + 1));
        let lead = terminal::width(cut_left) + terminal::width(&piece(from, at));
        let mark = terminal::width(&piece(at, end.min(characters.len()))).max(1);
        vec![
            format!("  {cut_left}{}{cut_right}", piece(from, to)),
            format!("  {:lead$}{}", "", "^".repeat(mark)),
        ]
    }

    /// Just after the last word.
    fn end(self) -> Place {
        let text = self.text.trim_end();
        let line = text.lines().count().max(1);
        Place { line, column: text.lines().last().map_or(0, |line| line.chars().count()) + 1, length: 1 }
    }

    /// A place that lies in the text; what DataFusion takes for its end may be what the program put behind
    /// it.
    fn within(self, place: Place) -> Place {
        if place.line > self.text.lines().count() { self.end() } else { place }
    }

    /// Where the name stands that the error is about, if DataFusion does not say.
    fn token_of(self, error: &DataFusionError) -> Option<Place> {
        let message = root(error).strip_backtrace();
        let names: Vec<&str> = match root(error) {
            DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
                SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => {
                    vec![&field.name]
                }
                _ => Vec::new(),
            },
            _ => message.split(['\'', '"']).skip(1).step_by(2).collect(),
        };
        let tokens = Tokenizer::new(&GenericDialect {}, self.text).tokenize_with_location().ok()?;
        let places = names.iter().filter_map(|name| {
            let is_it = |token: &Token| match token {
                Token::Word(word) => word.value.eq_ignore_ascii_case(name),
                Token::SingleQuotedString(text) => text == name,
                _ => false,
            };
            tokens
                .iter()
                .find(|token| is_it(&token.token))
                .and_then(|token| place_of(token.span.start, token.span.end))
        });
        places.into_iter().next()
    }
}

fn place_of(
    start: datafusion::sql::sqlparser::tokenizer::Location,
    end: datafusion::sql::sqlparser::tokenizer::Location,
) -> Option<Place> {
    let length = if end.line == start.line { end.column.saturating_sub(start.column) } else { 1 };
    (start.line > 0 && start.column > 0).then_some(Place {
        line: start.line as usize,
        column: start.column as usize,
        length: length as usize,
    })
}

fn place(span: Span) -> Option<Place> {
    let length =
        if span.end.line == span.start.line { span.end.column.saturating_sub(span.start.column) } else { 1 };
    (span.start.line > 0 && span.start.column > 0).then_some(Place {
        line: span.start.line as usize,
        column: span.start.column as usize,
        length: length as usize,
    })
}

/// What lies within contexts and places.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        other => other,
    }
}

/// None where it is no error of the statement.
fn wrong(error: &DataFusionError, context: &SessionContext) -> Option<Wrong> {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).and_then(place);
    let wrong = match root(error) {
        DataFusionError::SQL(..) => return parse_error(error),
        DataFusionError::SchemaError(inner, _) => schema_error(inner),
        DataFusionError::Plan(message) => plan_error(message, context),
        DataFusionError::NotImplemented(message) | DataFusionError::Internal(message) => {
            plan_error(message, context)
        }
        _ => return None,
    };
    Some(Wrong { place: span, ..wrong })
}

fn of(message: String) -> Wrong {
    Wrong { message, place: None, lists: Vec::new() }
}

/// `Expected: a, found: b at Line: 1, Column: 8`, in our words.
fn parse_error(error: &DataFusionError) -> Option<Wrong> {
    let DataFusionError::SQL(inner, _) = root(error) else { return None };
    let text = match inner.as_ref() {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply",
    };
    let (said, place) = match text.rsplit_once(" at Line: ") {
        Some((said, at)) => (said, line_and_column(at)),
        None => (text, None),
    };
    let said = said
        .replace("Expected: ", "expected ")
        .replace("end of ", "the end of the ")
        .replace(", found: EOF", ", but it ends here");
    let (mut message, found) = match said.split_once(", found: ") {
        Some((expected, found)) => (format!("{expected}, found {found}"), Some(found.to_owned())),
        None => (said, None),
    };
    if let Some(word) = found.as_deref().and_then(|found| closest(found, KEYWORDS).into_iter().next()) {
        message.push_str(&format!(": did you mean {word}?"));
    }
    let place =
        place.map(|(line, column)| Place { line, column, length: found.map_or(1, |f| f.chars().count()) });
    Some(Wrong { place, ..of(message) })
}

fn line_and_column(text: &str) -> Option<(usize, usize)> {
    let (line, column) = text.split_once(", Column: ")?;
    let column: String = column.chars().take_while(char::is_ascii_digit).collect();
    Some((line.trim().parse().ok()?, column.parse().ok()?)).filter(|(line, column)| *line > 0 && *column > 0)
}

fn schema_error(error: &SchemaError) -> Wrong {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            let name = &field.name;
            of(format!("{name} is a column of more than one table here: write TABLE.{name}"))
        }
        other => of(other.to_string()),
    }
}

fn no_column(field: &Column, valid: &[Column]) -> Wrong {
    let mut tables: Vec<&str> =
        valid.iter().filter_map(|column| column.relation.as_ref()).map(|table| table.table()).collect();
    tables.dedup();
    let asked = field.relation.as_ref().map(|table| table.table());
    let has_table = asked.is_none_or(|asked| tables.contains(&asked));
    let mut names: Vec<&str> = valid
        .iter()
        .filter(|column| {
            asked.is_none() || !has_table || column.relation.as_ref().map(|t| t.table()) == asked
        })
        .map(|column| column.name.as_str())
        .collect();
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    let of_table = match (asked, &tables[..]) {
        (Some(table), _) => format!(" in {table}"),
        (None, [table]) => format!(" in {table}"),
        _ => String::new(),
    };
    let near = closest(&field.name, names.iter().copied());
    let (message, lists) = if !has_table {
        let known = if tables.is_empty() { "there is none".to_owned() } else { tables.join(" and ") };
        (format!("no table {} in this FROM: {known}", asked.unwrap_or_default()), Vec::new())
    } else if near.is_empty() {
        let text = format!(
            "no column {}{of_table}; a text is written in single quotes: '{}'",
            field.name, field.name
        );
        let all = if names.is_empty() { Vec::new() } else { vec![format!("columns: {}", names.join(", "))] };
        (text, all)
    } else {
        (format!("no column {}{of_table}: {}", field.name, did_you_mean(&near)), Vec::new())
    };
    Wrong { lists, ..of(message) }
}

fn did_you_mean(names: &[&str]) -> String {
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    match others {
        [] => format!("did you mean {last}?"),
        others => format!("did you mean {} or {last}?", others.join(", ")),
    }
}

/// Errors of which DataFusion has only the text.
fn plan_error(message: &str, context: &SessionContext) -> Wrong {
    let quoted = || message.split('\'').nth(1).unwrap_or_default();
    if message.starts_with("table '") && message.ends_with("not found") {
        return no_table(quoted());
    }
    if message.starts_with("table function '") {
        let state = context.state();
        return no_function("table function", quoted(), state.table_functions().keys().map(String::as_str));
    }
    if message.starts_with("Invalid function '") {
        let state = context.state();
        let names = state.scalar_functions().keys().chain(state.aggregate_functions().keys());
        return no_function(
            "function",
            quoted(),
            names.chain(state.window_functions().keys()).map(String::as_str),
        );
    }
    if let Some((kind, what)) = message.split_once(" not supported: ")
        && matches!(kind, "DDL" | "DML" | "Statement")
    {
        return of(format!("a capture is only read, {what} would change something: write a SELECT"));
    }
    if message.contains("must appear in the GROUP BY clause") {
        let name = message.split('"').nth(1).unwrap_or("the column");
        let name = name.rsplit('.').next().unwrap_or(name);
        return of(format!("{name} is neither in GROUP BY nor in an aggregate such as max({name})"));
    }
    if let Some(call) = message.split("No function matches the given name and argument types '").nth(1) {
        let call = call.split('\'').next().unwrap_or_default();
        let takes: Vec<&str> =
            message.split("Candidate functions:").nth(1).unwrap_or_default().lines().map(str::trim).collect();
        let takes = takes.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
        return of(format!("no function {call}: there is {takes}"));
    }
    if message.starts_with("Projections require unique expression names") {
        let name = message.split('"').nth(1).unwrap_or_default();
        return of(format!(
            "two columns of the result are called {}: give one another name with AS",
            plain_name(name)
        ));
    }
    let message = message.split("This issue was likely caused by").next().unwrap_or(message).trim();
    of(message.lines().collect::<Vec<_>>().join(" "))
}

fn no_function<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Wrong {
    let near = closest(name, known);
    let hint = if near.is_empty() { String::new() } else { format!(": {}", did_you_mean(&near)) };
    of(format!("no {kind} {name}{hint}"))
}

fn no_table(name: &str) -> Wrong {
    let name = name.trim_start_matches("datafusion.public.");
    let all = all_tables();
    let near = closest(name, all.iter().map(|(name, _)| *name));
    let hint = if near.is_empty() { String::new() } else { format!(": {}", did_you_mean(&near)) };
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let list = all.iter().map(|(name, sentence)| format!("  {name:width$}  {sentence}"));
    let lists = std::iter::once("tables and views:".to_owned()).chain(list).collect();
    Wrong { lists, ..of(format!("no table {name}{hint}")) }
}

/// Every table and view with a sentence: derived tables first, since most questions are about them.
pub fn all_tables() -> Vec<(&'static str, &'static str)> {
    let derived = tables::ALL.iter().map(|table| (table.name, table.doc));
    let raw = raw::ALL.iter().map(|table| (table.name, table.doc));
    let views = library::views().unwrap_or_default();
    let views = views.into_iter().map(|view| (view.name, view.summary));
    derived.chain(raw).chain(views).map(|(name, doc)| (name, first_sentence(doc))).collect()
}

fn first_sentence(doc: &'static str) -> &'static str {
    doc.find(". ").map_or(doc, |end| &doc[..=end])
}

/// The known names most like a name: few edits away, or with it as a part; best first.
fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let most = match name.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let mut near: Vec<(usize, &str)> = Vec::new();
    for known in known {
        let lower = known.to_lowercase();
        if OTHER_NAMES.contains(&(name.as_str(), known)) {
            near.push((0, known));
            continue;
        }
        let edits = strsim::damerau_levenshtein(&lower, &name);
        let is_part = name.len() >= 4 && lower.split('_').any(|part| part == name);
        // Half of a short word is another word.
        if is_part {
            near.push((edits.min(1), known));
        } else if edits <= most && 2 * edits < lower.chars().count().max(name.chars().count()) {
            near.push((edits, known));
        }
    }
    near.sort();
    near.dedup();
    let best = near.first().map_or(0, |(edits, _)| *edits);
    near.into_iter()
        .filter(|(edits, _)| *edits <= best + 1)
        .map(|(_, name)| name)
        .take(MOST_CANDIDATES)
        .collect()
}

//! JSON in, spans out: documents of Jaeger and of OTLP, one after the other or one alone.
//!
//! A document is whatever stands at the top. What it holds shows by its names: `data`, `spans` and `processes` are
//! Jaeger's (of its API and its UI), `resourceSpans` is OTLP's, `batches`, `result` and `trace` are what Tempo and Jaeger
//! put around that. Documents are not held: each trace or `resourceSpans` is handed on when it is whole. After one that
//! is broken it goes on with the next line that begins as one.

mod documents;
mod jaeger;
mod lenient;
mod otlp;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, Read};

use serde::de::DeserializeSeed;

use crate::import::traces::json::documents::Document;
use crate::import::traces::json::text::Text;
use crate::import::traces::recognise::Contents;
use crate::import::traces::skipped::Skipped;
use crate::import::traces::steps::{Steps, Stopped};

pub use crate::import::traces::json::otlp::{kind_of, status_of};

/// Reads all documents.
pub fn read(source: impl Read, steps: &mut Steps<'_>) -> Result<Contents, Stopped> {
    let mut text = Text::new(source);
    let mut contents = Contents::default();
    while let Some(first) = text.begin() {
        if !b"{[".contains(&first) {
            contents.broken(format!("line {}: neither an object nor a list", text.line()));
            steps.skipped(Skipped::Broken, 1);
            text.skip_to_document();
            continue;
        }
        let (begun, before) = (text.line(), contents.traces);
        let mut reader = serde_json::Deserializer::from_reader(&mut text);
        let read = Document { steps, contents: &mut contents }.deserialize(&mut reader);
        if steps.has_failed() {
            return Err(Stopped);
        }
        match read {
            Ok(()) if contents.traces == before => steps.skipped(Skipped::NoTraces, 1),
            Ok(()) => {}
            Err(_) if text.failure().is_some() => break,
            Err(error) if error.is_eof() => {
                contents.cut = true;
                contents.broken(format!("line {begun}: {error}"));
            }
            Err(error) => {
                contents.broken(format!(
                    "line {}: {}",
                    begun + error.line().saturating_sub(1),
                    reason(&error)
                ));
                steps.skipped(Skipped::Broken, 1);
                text.skip_to_document();
            }
        }
    }
    contents.failure = text.into_failure();
    Ok(contents)
}

/// Without the place, which counts from the document's begin.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

/// Whether a compressed file ended too early or is damaged, so that it is one that was cut there.
pub fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Other
    )
}

//! Why a receiver did not take a request, in words, and whether to try again.

use std::time::Duration;

/// Why a request was not taken.
#[derive(Debug)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// Trying again may help.
    pub retryable: bool,
    /// The receiver asked for this pause.
    pub pause: Option<Duration>,
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

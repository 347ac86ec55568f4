//! Arguments before they are options: a capture alone stands for a command, and help fits the window.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgMatches, CommandFactory};

use crate::cli::Cli;
use crate::print;
use crate::terminal::{self, Terminal, width};

/// The arguments of a command. A page of help is printed in the width of the window, and ends the program.
pub fn matches(command: clap::Command, arguments: Vec<OsString>) -> ArgMatches {
    command.try_get_matches_from(arguments).unwrap_or_else(|message| {
        if message.use_stderr() {
            message.exit();
        }
        let terminal = terminal::stdout();
        let page = message.render();
        let page = if terminal.colour { page.ansi().to_string() } else { page.to_string() };
        // A reader that has gone wants no help.
        let _ = print::text(&wrapped(&page, terminal));
        std::process::exit(0)
    })
}

/// What is wider than the window continues below its description. Commands to copy stay whole.
fn wrapped(page: &str, terminal: Terminal) -> String {
    let line = |line: &str| {
        let is_command = line.trim_start().starts_with("retrospan ");
        let described = line.trim_end().rfind("  ").map_or(0, |gap| width(&line[..gap + 2]));
        if is_command { line.to_owned() } else { terminal.wrap(line, described) }
    };
    page.lines().map(|text| line(text) + "\n").collect()
}

/// Arguments in which a capture alone stands for its overview. A word that names no file is a command, or a mistyped one.
pub fn with_overview(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(first) = arguments.get(1) else { return arguments };
    let word = first.to_string_lossy();
    let is_command =
        word.starts_with('-') || word == "help" || Cli::command().find_subcommand(&*word).is_some();
    if !is_command && (word.ends_with(".cap") || word.contains('/') || Path::new(first).exists()) {
        arguments.insert(1, "overview".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_alone_is_its_overview() {
        let given = |words: &[&str]| {
            let words = with_overview(["retrospan"].iter().chain(words).map(OsString::from).collect());
            words[1..].iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(given(&["friday.cap"]), "overview friday.cap");
        assert_eq!(given(&["./friday", "--utc"]), "overview ./friday --utc");
        assert_eq!(given(&["src"]), "overview src", "it is there");
        for others in [&["info", "friday.cap"][..], &["spkies", "friday.cap"], &["--help"], &["help"], &[]] {
            assert_eq!(given(others), others.join(" "));
        }
    }
}

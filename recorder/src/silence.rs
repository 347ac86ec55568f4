//! What to tell somebody whose recording stays empty: after a few seconds, while a wrong filter can still be mended,
//! and at the end.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::host::listeners;
use crate::options::Options;
use crate::text::counted;

/// The user is told once a recording has been empty for so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a recording has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// Sockets that the filters let through.
    pub sockets: u64,
    /// Calls and state changes on them.
    pub events: u64,
}

impl Came {
    /// No socket was recorded. The record of a socket may be lost, then its events tell of it.
    pub fn nothing(self) -> bool {
        self.sockets == 0 && self.events == 0
    }
}

/// Which part of a sentence the recording is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tense {
    SoFar,
    AtTheEnd,
}

/// Watches for the first event, and says once that there was none.
pub struct Silence {
    options: Options,
    state: Watch,
}

enum Watch {
    Waiting,
    /// Looking through /proc takes a while on a large host; the rings do not wait for it.
    Looking(JoinHandle<Option<String>>),
    Done,
}

impl Silence {
    /// Watches a recording of these options.
    pub fn new(options: &Options) -> Silence {
        Silence { options: options.clone(), state: Watch::Waiting }
    }

    /// The line to print now, once in a recording at most. `elapsed`: since the recording began.
    pub fn line(&mut self, elapsed: Duration, came: Came) -> Option<String> {
        match std::mem::replace(&mut self.state, Watch::Done) {
            Watch::Waiting if came.events > 0 => None,
            Watch::Waiting if elapsed < PATIENCE => {
                self.state = Watch::Waiting;
                None
            }
            Watch::Waiting => {
                let options = self.options.clone();
                let look = move || sentence(&options, came, Tense::SoFar);
                let thread = thread::Builder::new().name("listeners".to_owned()).spawn(look);
                self.state = thread.map_or(Watch::Done, Watch::Looking);
                None
            }
            Watch::Looking(thread) if thread.is_finished() => thread.join().ok().flatten(),
            looking @ Watch::Looking(_) => {
                self.state = looking;
                None
            }
            Watch::Done => None,
        }
    }
}

/// What the summary of a recording ends with where nothing came of it.
pub fn closing(options: &Options, came: Came) -> Option<String> {
    sentence(options, came, Tense::AtTheEnd)
}

/// Whether a recording is a failure because of that. COMMAND may do without the network, and a host may be idle.
pub fn is_failure(options: &Options, came: Came) -> bool {
    came.nothing() && (options.has_filter() || options.command.is_empty())
}

fn sentence(options: &Options, came: Came, tense: Tense) -> Option<String> {
    if came.events > 0 {
        return None;
    }
    let so_far = tense == Tense::SoFar;
    let yet = if so_far { " yet" } else { "" };
    let happened = if so_far { "nothing has happened yet" } else { "nothing happened" };
    let has_filter = options.has_filter();
    Some(match came.sockets {
        0 if has_filter => {
            let matches = if so_far { "matches" } else { "matched" };
            let filters = options.filters();
            format!(
                "nothing {matches} {filters}{yet}; {}",
                listening(&listeners::named(&options.filters.ports()))
            )
        }
        0 if !options.command.is_empty() => {
            let opened = if so_far { "have opened" } else { "opened" };
            format!("the command and its children {opened} no socket{yet}")
        }
        0 => format!("{happened}: no socket was open here or was opened"),
        sockets => {
            let matching =
                if has_filter { format!(" matching {}", options.filters()) } else { String::new() };
            format!(
                "{happened} on {}{matching}: no connection was opened or closed, nothing was sent or received",
                counted(sockets, "open socket")
            )
        }
    })
}

fn listening(named: &str) -> String {
    if named.is_empty() { "nothing listens here".to_owned() } else { format!("listening here: {named}") }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    const NOTHING: Came = Came { sockets: 0, events: 0 };

    fn options(words: &[&str]) -> Options {
        Cli::try_parse_from([&["retrospan-record", "-o", "x.cap"], words].concat())
            .map(Options::from)
            .unwrap()
    }

    /// What is said once the patience is over.
    fn said(silence: &mut Silence, came: Came) -> Option<String> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(line) = silence.line(PATIENCE, came) {
                return Some(line);
            }
            if matches!(silence.state, Watch::Done) {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it looks for ever");
    }

    #[test]
    fn a_filter_that_nothing_matches_is_told_once_and_after_a_while() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wrong = (port - 1).to_string();
        let options = options(&["--port", &wrong, "--comm", "envoy"]);
        let mut silence = Silence::new(&options);
        assert_eq!(silence.line(PATIENCE / 2, NOTHING), None);
        let line = said(&mut silence, NOTHING).unwrap();
        assert!(
            line.starts_with(&format!("nothing matches --port {wrong} --comm envoy yet; listening here: "))
        );
        assert!(line.contains(&format!("{port} ")), "{line}");
        assert_eq!(silence.line(PATIENCE * 2, NOTHING), None);
        let line = closing(&options, NOTHING).unwrap();
        assert!(line.starts_with(&format!("nothing matched --port {wrong} --comm envoy; listening here: ")));
    }

    #[test]
    fn where_something_came_in_time_nothing_is_said() {
        let mut silence = Silence::new(&options(&["--port", "80"]));
        assert_eq!(said(&mut silence, Came { sockets: 1, events: 1 }), None);
        assert_eq!(said(&mut silence, NOTHING), None);
        assert_eq!(closing(&options(&["--port", "80"]), Came { sockets: 0, events: 1 }), None);
    }

    #[test]
    fn each_kind_of_silence_has_its_words() {
        let quiet = Came { sockets: 3, events: 0 };
        let said = |words: &[&str], came| closing(&options(words), came).unwrap();
        let port = ["--port", "8000-9000"];
        assert!(
            said(&port, quiet).starts_with("nothing happened on 3 open sockets matching --port 8000-9000: ")
        );
        assert!(said(&[], quiet).starts_with("nothing happened on 3 open sockets: "));
        assert_eq!(said(&[], NOTHING), "nothing happened: no socket was open here or was opened");
        assert_eq!(said(&["--", "true"], NOTHING), "the command and its children opened no socket");
        assert!(
            said(&["--port", "1", "--", "true"], NOTHING).starts_with("nothing matched --port 1 -- true; ")
        );
    }

    #[test]
    fn only_what_was_asked_for_and_is_not_there_is_a_failure() {
        let failure = |words: &[&str], came| is_failure(&options(words), came);
        assert!(failure(&["--comm", "envoy"], NOTHING) && failure(&[], NOTHING));
        assert!(failure(&["--port", "1", "--", "true"], NOTHING));
        assert!(!failure(&["--", "true"], NOTHING));
        assert!(!failure(&["--comm", "envoy"], Came { sockets: 1, events: 0 }));
    }
}

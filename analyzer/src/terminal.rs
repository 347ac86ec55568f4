//! What standard output and standard error can show: width, colours, characters. Every command asks here.
//!
//! A pipe or a file has no width: nothing is cut, wrapped or coloured there. Colours follow NO_COLOR and
//! TERM; box characters, arrows and the like follow the locale, and have ASCII in their place where it knows
//! none.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Size of a window that does not tell its own: lines and columns.
const USUAL_SIZE: (u16, u16) = (24, 80);
/// Narrower windows are written to as if they were so wide.
const LEAST_WIDTH: usize = 20;
/// Our own characters beyond ASCII, and what stands for each in a locale without them.
const IN_ASCII: [(char, &str); 24] = [
    ('·', "."),
    ('░', "."),
    ('▒', ":"),
    ('▓', "%"),
    ('█', "#"),
    ('▀', "#"),
    ('▄', "#"),
    ('▁', "_"),
    ('▂', "."),
    ('▃', ":"),
    ('▅', "+"),
    ('▆', "*"),
    ('▇', "%"),
    ('▲', "^"),
    ('→', "->"),
    ('…', "..."),
    ('µ', "u"),
    ('±', "+-"),
    ('×', "x"),
    ('≥', ">="),
    ('≤', "<="),
    ('─', "-"),
    ('–', "-"),
    ('│', "|"),
];

/// What a stream can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Lines and columns of the window; None for a pipe or a file.
    pub window: Option<(usize, usize)>,
    /// Whether bold text and colours may be used.
    pub colour: bool,
    /// Whether characters beyond ASCII can be shown.
    pub unicode: bool,
    /// Whether a line can be written over.
    pub can_redraw: bool,
}

/// How a text is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// What is to be read first.
    Bold,
    /// What may be skipped.
    Dim,
    /// What went wrong.
    Red,
    /// What is doubtful.
    Yellow,
    /// What is well.
    Green,
}

/// Standard output.
pub fn stdout() -> Terminal {
    let stream = std::io::stdout();
    of(stream.is_terminal(), console::Term::stdout().size_checked())
}

/// Standard error.
pub fn stderr() -> Terminal {
    let stream = std::io::stderr();
    of(stream.is_terminal(), console::Term::stderr().size_checked())
}

fn of(is_terminal: bool, size: Option<(u16, u16)>) -> Terminal {
    Terminal::new(is_terminal, size, |name| std::env::var(name).ok())
}

impl Terminal {
    /// A pipe or a file: nothing is cut, wrapped or coloured.
    pub const PLAIN: Terminal = Terminal { window: None, colour: false, unicode: true, can_redraw: false };

    /// From what the system says: the size in lines and columns, and variables of the environment.
    fn new(is_terminal: bool, size: Option<(u16, u16)>, env: impl Fn(&str) -> Option<String>) -> Terminal {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let is_dumb = !is_terminal || set("TERM").is_none_or(|term| term == "dumb");
        let (lines, columns) = size.unwrap_or(USUAL_SIZE);
        Terminal {
            window: is_terminal.then_some((usize::from(lines), usize::from(columns).max(LEAST_WIDTH))),
            colour: !is_dumb && set("NO_COLOR").is_none(),
            unicode: knows_unicode(["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name))),
            can_redraw: !is_dumb,
        }
    }

    /// Columns of the window; None where there is none.
    pub fn width(self) -> Option<usize> {
        self.window.map(|(_, columns)| columns)
    }

    /// The text set off, where that can be shown.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Red => "1;31",
            Paint::Yellow => "33",
            Paint::Green => "32",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Breaks a line at spaces where it is wider than the window; every line but the first begins with
    /// `indent` spaces. Painted text counts as wide as it looks. No line end is added at the end.
    pub fn wrap(self, line: &str, indent: usize) -> String {
        let Some(columns) = self.width().filter(|&columns| width(line) > columns) else {
            return line.to_owned();
        };
        let indent = indent.min(columns / 2);
        let lead = line.len() - line.trim_start_matches(' ').len();
        let mut wrapped = line[..lead].to_owned();
        let (mut at, mut is_first) = (lead, true);
        for word in line[lead..].split(' ') {
            let wide = width(word);
            if !is_first && at + 1 + wide > columns {
                wrapped.truncate(wrapped.trim_end_matches(' ').len());
                let _ = write!(wrapped, "\n{:indent$}", "");
                at = indent;
            } else if !is_first {
                wrapped.push(' ');
                at += 1;
            }
            wrapped.push_str(word);
            at += wide;
            is_first = false;
        }
        wrapped
    }

    /// Our own characters as ASCII where the locale knows nothing else.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        if self.unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let in_ascii = |c: char| IN_ASCII.iter().find(|(ours, _)| *ours == c).map(|(_, ascii)| *ascii);
        let mut plain = String::with_capacity(text.len());
        for c in text.chars() {
            match in_ascii(c) {
                Some(ascii) => plain.push_str(ascii),
                None => plain.push(c),
            }
        }
        Cow::Owned(plain)
    }

    /// At most so many columns of the text; what is longer ends with an ellipsis.
    pub fn cut(self, text: &str, columns: usize) -> String {
        if width(text) <= columns {
            return text.to_owned();
        }
        let end = if self.unicode { "…" } else { "..." };
        let room = columns.saturating_sub(width(end));
        let mut kept = String::new();
        let mut at = 0;
        for c in text.chars() {
            at += c.width().unwrap_or_default();
            if at > room {
                break;
            }
            kept.push(c);
        }
        kept + end
    }
}

/// A locale that is not set tells nothing: terminals know UTF-8 today.
fn knows_unicode(locale: Option<String>) -> bool {
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Columns that a text takes; codes for colours take none.
pub fn width(text: &str) -> usize {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().map_or(0, UnicodeWidthStr::width);
    first + pieces.map(|piece| piece.split_once('m').map_or(0, |(_, shown)| shown.width())).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(is_terminal: bool, env: &[(&str, &str)]) -> Terminal {
        let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        Terminal::new(is_terminal, Some((10, 30)), find)
    }

    #[test]
    fn what_can_be_shown_follows_stream_and_environment() {
        let full = with(true, &[("TERM", "xterm"), ("LANG", "de_DE.UTF-8")]);
        assert_eq!(full, Terminal { window: Some((10, 30)), colour: true, unicode: true, can_redraw: true });
        assert_eq!(with(false, &[("TERM", "xterm")]), Terminal::PLAIN);
        assert!(!with(true, &[("TERM", "xterm"), ("NO_COLOR", "1")]).colour);
        assert!(with(true, &[("TERM", "xterm"), ("NO_COLOR", "")]).colour, "empty is as if it were not set");
        assert!(!with(true, &[("TERM", "dumb")]).colour && !with(true, &[]).colour);
        assert!(!with(true, &[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]).unicode, "LC_ALL goes before LANG");
        assert!(
            with(true, &[("LC_ALL", "C.UTF-8")]).unicode && with(true, &[("LC_CTYPE", "C.utf8")]).unicode
        );
        assert!(!with(true, &[("LANG", "de_DE.ISO-8859-1")]).unicode);
        let unknown = Terminal::new(true, None, |_| None);
        assert_eq!(unknown.window, Some((24, 80)));
        assert_eq!(Terminal::new(true, Some((5, 3)), |_| None).width(), Some(20));
    }

    #[test]
    fn sentences_wrap_at_spaces_and_never_in_a_pipe() {
        let terminal = with(true, &[("TERM", "xterm")]);
        let long = "  cause  the server was stopped for 1.97 s in 9 of 9 cycles";
        let wrapped = terminal.wrap(long, 9);
        assert_eq!(
            wrapped,
            "  cause  the server was\n         stopped for 1.97 s in\n         9 of 9 cycles"
        );
        assert_eq!(Terminal::PLAIN.wrap(long, 9), long);
        assert_eq!(terminal.wrap("short", 4), "short");
        // One word that is too long stays whole: it may be an id or a command to copy.
        let id = "a".repeat(40);
        assert_eq!(terminal.wrap(&format!("trace {id} end"), 2), format!("trace\n  {id}\n  end"));
        let painted = format!("{} text that is just as wide as that", terminal.paint(Paint::Red, "red"));
        assert_eq!(
            terminal.wrap(&painted, 2).lines().next(),
            Some("\x1b[1;31mred\x1b[0m text that is just as wide")
        );
    }

    #[test]
    fn texts_are_cut_to_columns_that_they_take() {
        let terminal = with(true, &[("TERM", "xterm")]);
        assert_eq!(terminal.cut("/items/1", 8), "/items/1");
        assert_eq!(terminal.cut("/items/12", 8), "/items/…");
        assert_eq!(terminal.cut("日本語", 5), "日本…");
        let plain = with(true, &[("LC_ALL", "C")]);
        assert_eq!(plain.cut("/items/12", 8), "/item...");
        assert_eq!((width("日本"), width("\x1b[1mab\x1b[0mc"), width("é")), (4, 3, 1));
    }

    #[test]
    fn paint_needs_colour_and_symbols_need_unicode() {
        assert_eq!(with(true, &[("TERM", "xterm")]).paint(Paint::Red, "bad"), "\x1b[1;31mbad\x1b[0m");
        assert_eq!(Terminal::PLAIN.paint(Paint::Red, "bad"), "bad");
        let plain = with(true, &[("LC_ALL", "C")]);
        assert_eq!(plain.text("12 µs ··██ a → b é"), "12 us ..## a -> b é");
        assert_eq!(Terminal::PLAIN.text("12 µs"), "12 µs");
    }
}

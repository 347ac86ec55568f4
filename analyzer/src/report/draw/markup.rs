//! The one way by which text becomes HTML or SVG.
//!
//! Captured traffic is written by strangers. Here only markup known at compile time goes out as it is; all other text
//! is escaped, and what acts on a reader's eye (control characters, changes of direction) is written out.

use std::fmt::Write as _;

use crate::text::escape_controls;

/// Markup under construction.
#[derive(Clone, Debug, Default)]
pub struct Markup {
    out: String,
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Value {
    /// Any text.
    Text(String),
    /// Lines of any text; a line end within one is no line end.
    Lines(Vec<String>),
    /// A number, written with two decimals at most.
    Number(f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&[String]> for Value {
    fn from(lines: &[String]) -> Value {
        Value::Lines(lines.to_vec())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

/// Attributes: names known at compile time with any values.
pub type Attributes<'a> = &'a [(&'static str, Value)];

impl Markup {
    /// Markup of our own.
    pub fn raw(&mut self, markup: &'static str) -> &mut Markup {
        self.out.push_str(markup);
        self
    }

    /// Text from anywhere.
    pub fn text(&mut self, text: &str) -> &mut Markup {
        escape(&mut self.out, text);
        self
    }

    /// Lines of text from anywhere.
    pub fn lines(&mut self, lines: &[String]) -> &mut Markup {
        escape_lines(&mut self.out, lines);
        self
    }

    /// Data from anywhere, for the page's script: a script element that is never run, in which no text can end it.
    pub fn data(&mut self, id: &'static str, data: &impl serde::Serialize) -> &mut Markup {
        let json = serde_json::to_string(data).unwrap_or_default().replace('<', "\\u003c");
        self.open("script", &[("type", "application/json".into()), ("id", id.into())]);
        self.out.push_str(&json);
        self.close("script")
    }

    /// `<name a="...">`.
    pub fn open(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Markup {
        self.head(name, attributes);
        self.raw(">")
    }

    /// `</name>`.
    pub fn close(&mut self, name: &'static str) -> &mut Markup {
        self.raw("</").raw(name).raw(">")
    }

    /// `<name a="..."/>`: for SVG, and for HTML elements that are always empty.
    pub fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Markup {
        self.head(name, attributes);
        self.raw("/>")
    }

    /// `<name a="...">text</name>`.
    pub fn element(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) -> &mut Markup {
        self.open(name, attributes).text(text).close(name)
    }

    /// Markup made elsewhere.
    pub fn nest(&mut self, inner: &Markup) -> &mut Markup {
        self.out.push_str(&inner.out);
        self
    }

    /// The whole.
    pub fn into_string(self) -> String {
        self.out
    }

    fn head(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.raw("<").raw(name);
        for (name, value) in attributes {
            self.raw(" ").raw(name).raw("=\"");
            match value {
                Value::Text(text) => escape(&mut self.out, text),
                Value::Lines(lines) => escape_lines(&mut self.out, lines),
                Value::Number(number) => push_number(&mut self.out, *number),
            }
            self.raw("\"");
        }
    }
}

/// Two decimals at most, no more zeros than needed; what is no number is 0.
pub fn push_number(out: &mut String, number: f64) {
    let rounded = if number.is_finite() { (number * 100.0).round() / 100.0 } else { 0.0 };
    // Writing to a String cannot fail. Adding zero turns -0 into 0.
    let _ = write!(out, "{}", rounded + 0.0);
}

fn escape_lines(out: &mut String, lines: &[String]) {
    for (place, line) in lines.iter().enumerate() {
        // As a reference: what reads an attribute may turn a bare line end into a space.
        out.push_str(if place == 0 { "" } else { "&#10;" });
        escape(out, line);
    }
}

fn escape(out: &mut String, text: &str) {
    for c in escape_controls(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut markup = Markup::default();
        let hostile = "</style><script>x</script>\" onload='y' & \u{202e}\u{0}\n";
        markup.element("p", &[("title", hostile.into()), ("x", 1.006.into())], hostile);
        let escaped =
            "&lt;/style&gt;&lt;script&gt;x&lt;/script&gt;&quot; onload=&#39;y&#39; &amp; \\u{202e}\\x00\\n";
        assert_eq!(markup.into_string(), format!("<p title=\"{escaped}\" x=\"1.01\">{escaped}</p>"));
    }

    #[test]
    fn a_line_end_is_one_only_between_lines() {
        let lines = ["a".to_owned(), "b\nc".to_owned()];
        let mut markup = Markup::default();
        markup.open("p", &[("title", lines[..].into())]).lines(&lines);
        assert_eq!(markup.into_string(), "<p title=\"a&#10;b\\nc\">a&#10;b\\nc");
    }

    #[test]
    fn numbers_are_short() {
        let mut text = String::new();
        for number in [1.0, -0.001, 2.5, f64::NAN, 1234.567] {
            push_number(&mut text, number);
            text.push(' ');
        }
        assert_eq!(text, "1 0 2.5 0 1234.57 ");
    }
}

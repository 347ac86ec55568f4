//! Attributes in, what is kept of them out: a JSON object.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;

use retrospan_formats::table::MOST_TEXT_BYTES;
use retrospan_protocols::redact::Payload;
use retrospan_protocols::semconv::keep::{self, Keeper};

use crate::import::traces::span::{Attributes, Value, find};

/// Attributes by which database a span asks, for what its statements are written in.
const DATABASES: [&str; 3] = ["db.system.name", "db.system", "db.type"];
/// Longest text of an attribute.
const MAX_VALUE_BYTES: usize = 4096;
/// Lists in lists that are kept: who reads JSON has a limit, too.
const MAX_DEPTH: usize = 32;
/// Longest name of one.
const MAX_KEY_BYTES: usize = 255;

/// Makes JSON objects.
#[derive(Debug)]
pub struct Keeping {
    payload: Payload,
    json: String,
    one: String,
    /// Attributes that were not kept.
    pub left_out: u64,
}

impl Keeping {
    /// Nothing yet.
    pub fn new(payload: Payload) -> Keeping {
        Keeping { payload, json: String::new(), one: String::new(), left_out: 0 }
    }

    /// What is kept of a span's name.
    pub fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match self.payload {
            Payload::Full => Cow::Borrowed(keep::cut(name, MAX_VALUE_BYTES)),
            Payload::Heads | Payload::None => keep::name(name),
        }
    }

    /// The object. Of attributes of one name the first counts; those that do not fit are left out.
    pub fn json(&mut self, attributes: &Attributes) -> &str {
        self.json.clear();
        self.json.push('{');
        let database = DATABASES.iter().find_map(|name| find(attributes, name)?.text());
        let keeper = Keeper::new(database);
        let mut names: HashSet<&str> = HashSet::with_capacity(attributes.len());
        for (name, value) in attributes {
            if names.insert(name) && !self.add(keeper, name, value) {
                self.left_out += 1;
            }
        }
        self.json.push('}');
        &self.json
    }

    /// Whether it was kept.
    fn add(&mut self, keeper: Keeper, name: &str, value: &Value) -> bool {
        self.one.clear();
        let is_kept = match self.payload {
            Payload::None => false,
            Payload::Heads => write_kept(keeper, name, value, &mut self.one),
            Payload::Full => name.len() <= MAX_KEY_BYTES && write_value(value, MAX_DEPTH, &mut self.one),
        };
        let room = MOST_TEXT_BYTES - self.json.len() - "}".len();
        let is_kept = is_kept && {
            let mut key = String::new();
            write_text(name, &mut key);
            let comma = if self.json.len() > 1 { "," } else { "" };
            let fits = comma.len() + key.len() + ":".len() + self.one.len() <= room;
            if fits {
                self.json.extend([comma, &key, ":", &self.one]);
            }
            fits
        };
        // With nothing asked for, nothing is missed.
        is_kept || self.payload == Payload::None
    }
}

fn write_kept(keeper: Keeper, name: &str, value: &Value, json: &mut String) -> bool {
    if let Some(text) = value.text() {
        let kept = keeper.text(name, text);
        kept.iter().for_each(|kept| write_text(kept, json));
        return kept.is_some();
    }
    match value {
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => keeper.keeps(name) && write_value(value, 1, json),
        _ => false,
    }
}

/// Any value as it is; false where JSON has no such value, and where it is nested too deeply or far too long.
fn write_value(value: &Value, depth: usize, json: &mut String) -> bool {
    if depth == 0 || json.len() > MOST_TEXT_BYTES {
        return false;
    }
    match value {
        Value::Text(text) => write_text(keep::cut(text, MAX_VALUE_BYTES), json),
        Value::Int(number) => json.push_str(itoa::Buffer::new().format(*number)),
        Value::Float(number) if !number.is_finite() => return false,
        Value::Float(number) => {
            // As JSON has it, and never without a point: 1.0 is another number than 1.
            let _ = write!(json, "{number:?}");
        }
        Value::Bool(truth) => json.push_str(if *truth { "true" } else { "false" }),
        Value::List(list) => {
            json.push('[');
            for (place, value) in list.iter().enumerate() {
                json.push_str(if place > 0 { "," } else { "" });
                if !write_value(value, depth - 1, json) {
                    return false;
                }
            }
            json.push(']');
        }
        Value::Map(map) => {
            json.push('{');
            for (place, (name, value)) in map.iter().enumerate() {
                json.push_str(if place > 0 { "," } else { "" });
                write_text(name, json);
                json.push(':');
                if !write_value(value, depth - 1, json) {
                    return false;
                }
            }
            json.push('}');
        }
        Value::Other => return false,
    }
    true
}

fn write_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(payload: Payload, attributes: &Attributes) -> (String, u64) {
        let mut keeping = Keeping::new(payload);
        let json = keeping.json(attributes).to_owned();
        (json, keeping.left_out)
    }

    fn text(name: &str, value: &str) -> (String, Value) {
        (name.to_owned(), Value::Text(value.to_owned()))
    }

    #[test]
    fn what_is_kept_depends_on_what_was_asked() {
        let list = Value::List(vec![Value::Text("text/html".to_owned())]);
        let attributes = vec![
            text("http.request.method", "GET"),
            text("password", "hunter2"),
            ("http.response.status_code".to_owned(), Value::Int(200)),
            ("http.request.header.accept".to_owned(), list),
            ("order".to_owned(), Value::Map(vec![("price".to_owned(), Value::Float(1.0))])),
            text("http.request.method", "PUT"),
            ("bytes".to_owned(), Value::Other),
        ];
        let heads = r#"{"http.request.method":"GET","http.response.status_code":200,"http.request.header.accept":"text/html"}"#;
        assert_eq!(made(Payload::Heads, &attributes), (heads.to_owned(), 3));
        let full = r#"{"http.request.method":"GET","password":"hunter2","http.response.status_code":200,"http.request.header.accept":["text/html"],"order":{"price":1.0}}"#;
        assert_eq!(made(Payload::Full, &attributes), (full.to_owned(), 1));
        assert_eq!(made(Payload::None, &attributes), ("{}".to_owned(), 0));
    }

    #[test]
    fn an_object_is_json_and_fits_whatever_there_is() {
        let many: Attributes =
            (0..40_000).map(|n| text(&format!("k{n}\"\n"), &"\u{1}é".repeat(n % 50))).collect();
        let long = vec![text("a", &"é".repeat(100_000)), ("f".to_owned(), Value::Float(f64::NAN))];
        let nested = (0..5_000).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
        for attributes in [many, long, vec![("n".to_owned(), nested)]] {
            let (json, left_out) = made(Payload::Full, &attributes);
            assert!(json.len() <= MOST_TEXT_BYTES && left_out > 0);
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
        }
    }
}

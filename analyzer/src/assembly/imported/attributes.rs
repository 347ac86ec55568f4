//! The JSON object of a span's attributes, as it was kept: the texts and numbers in it.

use std::borrow::Cow;
use std::fmt;

use retrospan_protocols::ValueRef;
use retrospan_protocols::semconv::{OUTCOME, Reader};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::tables::outcome::Outcome;

/// Attributes by name; what is neither a text nor a whole number is left out.
#[derive(Debug, Default)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Scalar<'a>)>);

#[derive(Debug)]
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Other,
}

impl<'a> Attributes<'a> {
    /// Of a text; none where that is no object.
    pub fn of(json: &'a str) -> Attributes<'a> {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// What they say.
    pub fn reader(&self) -> Reader<'_> {
        let mut reader = Reader::default();
        for (name, value) in &self.0 {
            match value {
                Scalar::Text(text) => reader.tell(name, ValueRef::Text(text)),
                Scalar::Int(number) => reader.tell(name, ValueRef::Int(*number)),
                Scalar::Other => {}
            }
        }
        reader
    }

    /// How a span that Retrospan itself made had ended.
    pub fn outcome(&self) -> Option<Outcome> {
        let (_, value) = self.0.iter().find(|(name, _)| name == OUTCOME)?;
        match value {
            Scalar::Text(text) => Outcome::of(text),
            _ => None,
        }
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Attributes<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::with_capacity(map.size_hint().unwrap_or(16));
        while let Some(Text(name)) = map.next_key()? {
            all.push((name, map.next_value()?));
        }
        Ok(Attributes(all))
    }
}

impl<'de> Deserialize<'de> for Attributes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use retrospan_protocols::semconv::Kind;

    use super::*;

    #[test]
    fn anything_in_an_object_is_read() {
        let json = r#"{"http.request.method":"GET","url.path":"/a\"b","http.response.status_code":503,"retrospan.outcome":"reset","x":[1,{"y":2}],"z":null,"f":1.5,"t":true,"l":18446744073709551615}"#;
        let attributes = Attributes::of(json);
        let told = attributes.reader().read(Kind::Server);
        assert_eq!(
            (told.operation.as_deref(), told.path.as_deref(), told.status),
            (Some("GET"), Some("/a\"b"), Some(503))
        );
        assert_eq!(attributes.outcome(), Some(Outcome::Reset));
        for other in ["", "[]", "{", "7", r#"{"retrospan.outcome":7}"#, r#"{"retrospan.outcome":"x"}"#] {
            assert_eq!(Attributes::of(other).outcome(), None, "{other}");
        }
    }
}

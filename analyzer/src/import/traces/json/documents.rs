//! What stands at the top of a document, and what is put around spans.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

use crate::import::traces::json::jaeger::{self, JaegerSpan, Processes};
use crate::import::traces::json::lenient::{List, Maybe, nothing};
use crate::import::traces::json::otlp::ResourceSpans;
use crate::import::traces::recognise::Contents;
use crate::import::traces::steps::{Steps, Stopped};

/// A document, or what stands in one where a document may.
pub struct Document<'a, 'b> {
    /// Where spans go.
    pub steps: &'a mut Steps<'b>,
    /// What was found.
    pub contents: &'a mut Contents,
}

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    nothing!(());

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Document { steps, contents } = self;
        while list.next_element_seed(Document { steps, contents })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Document { steps, contents } = self;
        let (mut spans, mut processes) = (None, Processes::new());
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "resourceSpans" | "resource_spans" | "batches" => {
                    contents.traces += 1;
                    map.next_value_seed(OfResources(steps))?;
                }
                "data" | "result" | "trace" => map.next_value_seed(Document { steps, contents })?,
                "spans" => spans = Some(map.next_value::<List<JaegerSpan>>()?.0),
                "processes" => processes = map.next_value::<Maybe<Processes>>()?.0.unwrap_or_default(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            // An answer without traces is one, too.
            contents.traces += u64::from(key == "data");
        }
        let Some(spans) = spans else { return Ok(()) };
        contents.traces += 1;
        jaeger::trace(spans, processes, steps).map_err(stopped)
    }
}

/// A list of `resourceSpans`.
struct OfResources<'a, 'b>(&'a mut Steps<'b>);

impl<'de> DeserializeSeed<'de> for OfResources<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OfResources<'_, '_> {
    type Value = ();

    nothing!(());

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(Maybe(one)) = list.next_element::<Maybe<ResourceSpans>>()? {
            one.map_or(Ok(()), |one| one.hand_on(self.0)).map_err(stopped)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Reading stops; [`Steps::finish`] says why.
fn stopped<E: Error>(_: Stopped) -> E {
    E::custom("stopped")
}

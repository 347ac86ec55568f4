//! Maps for small integer keys that come from the capture's own counters.
//!
//! They are looked up several times an event; the standard hasher would be a tenth of the whole assembly.
//! A hostile capture could make keys collide, which costs time only: no order of such a map is ever seen outside.

/// A map with integer keys.
pub type IntMap<K, V> = rustc_hash::FxHashMap<K, V>;

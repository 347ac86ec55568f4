//! Maps keyed by ids that the kernel hands out: no attacker chooses them, so a multiplication is hash enough.

/// A map from an id.
pub type FastMap<K, V> = rustc_hash::FxHashMap<K, V>;

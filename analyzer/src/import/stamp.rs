//! When something was seen.

/// A moment of the capture: moments of equal time are in the order of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Boot time of the capture that is written, ns.
    pub ns: i64,
    /// Number of the packet.
    pub packet: u64,
}

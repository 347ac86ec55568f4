//! Why a packet was not understood.

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skipped {
    /// The file's link layer is not one of those that are read.
    LinkType,
    /// Something else than IP: ARP, spanning tree ...
    NotIp,
    /// The snap length, or damage, has cut a header.
    CutHeader,
    /// A header contradicts itself.
    BadHeader,
    /// IP, but neither TCP nor UDP: ICMP, ESP ...
    Transport,
    /// Headers within headers without end.
    TooDeep,
    /// Fragments of an IP packet of which others are not in the file.
    Fragment,
}

impl Skipped {
    /// Every reason.
    pub const ALL: [Skipped; 7] = [
        Skipped::LinkType,
        Skipped::NotIp,
        Skipped::CutHeader,
        Skipped::BadHeader,
        Skipped::Transport,
        Skipped::TooDeep,
        Skipped::Fragment,
    ];

    /// As it is told to people.
    pub const fn text(self) -> &'static str {
        match self {
            Skipped::LinkType => "of an unknown link layer",
            Skipped::NotIp => "not IP",
            Skipped::CutHeader => "cut within a header",
            Skipped::BadHeader => "with a damaged header",
            Skipped::Transport => "neither TCP nor UDP",
            Skipped::TooDeep => "nested too deeply",
            Skipped::Fragment => "fragments without the others",
        }
    }
}

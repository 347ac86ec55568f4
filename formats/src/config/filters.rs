//! Which sockets the kernel programs record.

use bytemuck::{Pod, Zeroable};

use super::{MAX_COMMS, MAX_PORT_RANGES};

/// Most networks of one filter.
pub const MAX_NETS: usize = 16;
/// Most network namespaces of one filter.
pub const MAX_NETNS: usize = 8;

/// A closed range of ports in host byte order; `first > last` never matches.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Zeroable, Pod)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

/// Ranges of ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Zeroable, Pod)]
pub struct Ranges {
    /// How many of `ranges` are used; 0: no such filter.
    pub used: u32,
    /// The ranges.
    pub ranges: [PortRange; MAX_PORT_RANGES],
}

/// A network: the addresses whose bits under `mask` are those of `address`. Words of four bytes, as they stand in memory in network
/// byte order; IPv4 is mapped into IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Zeroable, Pod)]
pub struct Net {
    /// The bits that are compared; the others are 0.
    pub address: [u32; 4],
    /// Which are.
    pub mask: [u32; 4],
}

/// Networks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Zeroable, Pod)]
pub struct Nets {
    /// How many of `nets` are used; 0: no such filter.
    pub used: u32,
    /// The networks.
    pub nets: [Net; MAX_NETS],
}

/// Network namespaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Zeroable, Pod)]
pub struct Namespaces {
    /// How many of `inodes` are used; 0: no such filter.
    pub used: u32,
    /// Their inode numbers.
    pub inodes: [u32; MAX_NETNS],
}

/// What is asked of a socket, its process apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Zeroable, Pod)]
pub struct SocketRules {
    /// Ports of either end.
    pub either: Ranges,
    /// Ports of its own end.
    pub local: Ranges,
    /// Ports of the other end.
    pub remote: Ranges,
    /// Addresses of either end.
    pub nets: Nets,
    /// Where it is.
    pub netns: Namespaces,
}

/// [`Filters::side`].
pub mod side {
    /// Both.
    pub const ANY: u32 = 0;
    /// Sockets that connect.
    pub const CLIENT: u32 = 1;
    /// Sockets that listen or were accepted.
    pub const SERVER: u32 = 2;
}

/// Bits of the map of watched processes.
pub mod watched {
    /// It and its descendants are recorded.
    pub const WITH_CHILDREN: u8 = 1 << 0;
    /// It is recorded, its descendants need not be.
    pub const ALONE: u8 = 1 << 1;
    /// It and its descendants are not recorded.
    pub const EXCLUDED: u8 = 1 << 2;
}

/// Every filter but those by pid and by name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Zeroable, Pod)]
pub struct Filters {
    /// Each kind of rule in use must match.
    pub include: SocketRules,
    /// None may.
    pub exclude: SocketRules,
    /// 1: `include`, `exclude`, `side` or `sample` ask for something.
    pub by_socket: u32,
    /// 1: something is asked of processes.
    pub by_process: u32,
    /// 1: user space tells of each process whether it matches.
    pub judged: u32,
    /// A constant of [`side`].
    pub side: u32,
    /// Of so many connections one is recorded; 0 and 1: each.
    pub sample: u32,
    /// How many of `excluded_comms` are used.
    pub excluded_comm_count: u32,
    /// `--exclude comm=`, NUL-padded.
    pub excluded_comms: [[u8; 16]; MAX_COMMS],
}
const _: () = assert!(size_of::<Filters>().is_multiple_of(8));

//! The counters of the kernel that are causes: which ones, of whom, and what they say.
//!
//! Few are, and each is well understood: whatever is held against a spike has to be paid for by all the others. The view
//! `counter_bursts` says which counters belong to which.

use crate::text::duration;

/// What the kernel counted more of than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Handshakes that found the queue of their listener full.
    ListenOverflow,
    /// SYNs and SYN/ACKs sent again.
    HandshakeResent,
    /// Datagrams for which a receive buffer had no room.
    UdpDrop,
    /// TCP had to make room in receive buffers.
    ReceiveBuffer,
    /// Windows closed because a process does not read.
    ZeroWindow,
    /// Packets that connection tracking dropped.
    ConntrackDrop,
    /// A cgroup met its memory limit.
    MemoryLimit,
    /// Tasks of a cgroup waited for memory or disks.
    CgroupPressure,
    /// Neighbours that could not be reached.
    NeighbourFailed,
    /// The kernel put off received packets, or dropped them.
    SoftnetSqueeze,
    /// A CPU was busy with soft interrupts.
    Softirq,
    /// The hypervisor took the CPUs away.
    Steal,
    /// Processes had to free memory themselves.
    DirectReclaim,
    /// Allocations waited for memory to be compacted.
    Compaction,
    /// Pages went to swap and came back.
    Swapping,
    /// A disk was busy.
    DiskBusy,
    /// Tasks waited for a CPU, for memory or for disks.
    Pressure,
}

/// Of whom a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole host: whom it hits is not known.
    Host,
    /// All that live in a network namespace.
    Namespace,
    /// The processes in a cgroup.
    Process,
}

impl Counter {
    /// All of them.
    pub const ALL: [Counter; 17] = [
        Counter::ListenOverflow,
        Counter::HandshakeResent,
        Counter::UdpDrop,
        Counter::ReceiveBuffer,
        Counter::ZeroWindow,
        Counter::ConntrackDrop,
        Counter::MemoryLimit,
        Counter::CgroupPressure,
        Counter::NeighbourFailed,
        Counter::SoftnetSqueeze,
        Counter::Softirq,
        Counter::Steal,
        Counter::DirectReclaim,
        Counter::Compaction,
        Counter::Swapping,
        Counter::DiskBusy,
        Counter::Pressure,
    ];

    /// The one that the view calls so.
    pub fn by_name(name: &str) -> Option<Counter> {
        Counter::ALL.into_iter().find(|counter| counter.name() == name)
    }

    /// Its name, in findings and in the view's column `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Counter::ListenOverflow => "listen_overflow",
            Counter::HandshakeResent => "handshake_resent",
            Counter::UdpDrop => "udp_drop",
            Counter::ReceiveBuffer => "receive_buffer",
            Counter::ZeroWindow => "zero_window",
            Counter::ConntrackDrop => "conntrack_drop",
            Counter::MemoryLimit => "memory_limit",
            Counter::CgroupPressure => "cgroup_pressure",
            Counter::NeighbourFailed => "neighbour_failed",
            Counter::SoftnetSqueeze => "softnet_squeeze",
            Counter::Softirq => "softirq",
            Counter::Steal => "steal",
            Counter::DirectReclaim => "direct_reclaim",
            Counter::Compaction => "compaction",
            Counter::Swapping => "swapping",
            Counter::DiskBusy => "disk_busy",
            Counter::Pressure => "pressure",
        }
    }

    /// A condition on the view for its rows.
    pub fn condition(self) -> String {
        format!("kind = '{}'", self.name())
    }

    /// Of whom it is.
    pub fn scope(self) -> Scope {
        match self {
            Counter::ListenOverflow
            | Counter::HandshakeResent
            | Counter::UdpDrop
            | Counter::ReceiveBuffer
            | Counter::ZeroWindow
            | Counter::ConntrackDrop => Scope::Namespace,
            Counter::MemoryLimit | Counter::CgroupPressure => Scope::Process,
            _ => Scope::Host,
        }
    }

    /// What it does, in words. `amount` is in the view's unit, `whom` its subject, `most` the counter that rose most, or
    /// which one of its kind.
    pub fn reason(self, amount: i64, whom: &str, most: &str) -> String {
        let time = duration(amount.saturating_mul(1000));
        let some = |one: &str, many: &str| format!("{amount} {}", if amount == 1 { one } else { many });
        let there = format!("in the network namespace of {whom} ({most})");
        match self {
            Counter::ListenOverflow => {
                format!(
                    "{} be queued by listeners {there}",
                    some("connection could not", "connections could not")
                )
            }
            Counter::HandshakeResent => {
                format!("{} sent again {there}", some("SYN or SYN/ACK is", "SYNs and SYN/ACKs are"))
            }
            Counter::UdpDrop => {
                let dropped = some("UDP datagram is", "UDP datagrams are");
                format!("{dropped} dropped for want of room in a receive buffer {there}")
            }
            Counter::ReceiveBuffer => {
                format!("full TCP receive buffers are squeezed {} {there}", some("time", "times"))
            }
            Counter::ZeroWindow => {
                format!(
                    "TCP windows are closed {} because a process does not read {there}",
                    some("time", "times")
                )
            }
            Counter::ConntrackDrop => {
                format!("{} dropped by connection tracking {there}", some("packet is", "packets are"))
            }
            Counter::MemoryLimit => {
                format!("the cgroup of {whom} meets its memory limit {} ({most})", some("time", "times"))
            }
            Counter::CgroupPressure => {
                format!("tasks in the cgroup of {whom} wait {time} for {} ({most})", resource(most))
            }
            Counter::NeighbourFailed => {
                let failed = some("neighbour (ARP, NDP) does", "neighbours (ARP, NDP) do");
                format!("{failed} not answer, on {whom} ({most})")
            }
            Counter::SoftnetSqueeze => {
                format!(
                    "received packets are put off or dropped {} on {whom} ({most})",
                    some("time", "times")
                )
            }
            Counter::Softirq => format!("CPU {most} is busy with soft interrupts for {time}"),
            Counter::Steal => format!("the hypervisor takes {time} of CPU time from {whom} (steal)"),
            Counter::DirectReclaim => {
                format!(
                    "processes of {whom} have to free memory themselves: {amount} pages looked at ({most})"
                )
            }
            Counter::Compaction => {
                format!(
                    "{} for memory to be compacted on {whom} ({most})",
                    some("allocation waits", "allocations wait")
                )
            }
            Counter::Swapping => {
                format!("{} to or from swap on {whom} ({most})", some("page goes", "pages go"))
            }
            Counter::DiskBusy => format!("the disk {whom} is busy for {time}"),
            Counter::Pressure => format!("tasks of the host wait {time} for {}", resource(whom)),
        }
    }
}

/// What is waited for, by the name of its pressure file.
fn resource(name: &str) -> &'static str {
    match name.split('.').next() {
        Some("cpu") => "a CPU",
        Some("io") => "disks",
        Some("memory") => "memory",
        _ => "a resource",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for counter in Counter::ALL {
            assert_eq!(Counter::by_name(counter.name()), Some(counter));
        }
        assert_eq!(Counter::by_name("stopped"), None);
    }

    #[test]
    fn a_reason_has_the_number_the_unit_and_the_counter() {
        let whom = "nginx, shop";
        let overflow = |n| Counter::ListenOverflow.reason(n, whom, "TcpExt.ListenOverflows");
        let end = "be queued by listeners in the network namespace of nginx, shop (TcpExt.ListenOverflows)";
        assert_eq!(overflow(41), format!("41 connections could not {end}"));
        assert_eq!(overflow(1), format!("1 connection could not {end}"));
        assert_eq!(
            Counter::DiskBusy.reason(1_930_000, "vda", "io_ticks_ms"),
            "the disk vda is busy for 1.93 s"
        );
        assert_eq!(
            Counter::Pressure.reason(310_000, "io", "some_total_us"),
            "tasks of the host wait 310 ms for disks"
        );
        let cgroup = Counter::CgroupPressure.reason(5_000, "shop", "memory.pressure.some_total_us");
        assert_eq!(
            cgroup,
            "tasks in the cgroup of shop wait 5.00 ms for memory (memory.pressure.some_total_us)"
        );
        for counter in Counter::ALL {
            let reason = counter.reason(i64::MAX, "x", "");
            assert!(!reason.is_empty() && !reason.contains('-'), "{reason}");
        }
    }
}

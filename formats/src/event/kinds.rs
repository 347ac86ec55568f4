//! The kinds of what is recorded: their numbers in records, their names in tables.

/// The kind of an event, as in column `events.kind`. Numbers are never reused.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A connect call returned.
    Connect = 1,
    /// An accept call returned a new socket.
    Accept = 2,
    /// A listen call returned.
    Listen = 3,
    /// A close call on a socket returned.
    Close = 4,
    /// A shutdown call returned.
    Shutdown = 5,
    /// Bytes were handed to the kernel.
    Send = 6,
    /// Bytes were taken from the kernel.
    Receive = 7,
    /// The TCP state changed.
    State = 8,
}

impl Kind {
    /// Every kind, in the order of its numbers.
    pub const ALL: [Kind; 8] = [
        Kind::Connect,
        Kind::Accept,
        Kind::Listen,
        Kind::Close,
        Kind::Shutdown,
        Kind::Send,
        Kind::Receive,
        Kind::State,
    ];

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Connect => "connect",
            Kind::Accept => "accept",
            Kind::Listen => "listen",
            Kind::Close => "close",
            Kind::Shutdown => "shutdown",
            Kind::Send => "send",
            Kind::Receive => "receive",
            Kind::State => "state",
        }
    }

    /// The kind with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Kind> {
        if number == 0 || number as usize > Kind::ALL.len() {
            None
        } else {
            Some(Kind::ALL[number as usize - 1])
        }
    }
}

/// The kind of a [`Tcp`](super::Tcp) record, as in column `tcp.kind`. Each number is also that of its loss counter.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpKind {
    /// A segment was sent again.
    Retransmit = 14,
    /// A reset was sent.
    ResetSent = 15,
    /// A reset arrived.
    ResetReceived = 16,
    /// The round-trip time as the kernel estimates it.
    Rtt = 17,
    /// A listening socket had no room for connections.
    ListenDrop = 28,
}

impl TcpKind {
    /// Every kind.
    pub const ALL: [TcpKind; 5] =
        [TcpKind::Retransmit, TcpKind::ResetSent, TcpKind::ResetReceived, TcpKind::Rtt, TcpKind::ListenDrop];

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            TcpKind::Retransmit => "retransmit",
            TcpKind::ResetSent => "reset_sent",
            TcpKind::ResetReceived => "reset_received",
            TcpKind::Rtt => "rtt",
            TcpKind::ListenDrop => "listen_drop",
        }
    }

    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<TcpKind> {
        TcpKind::ALL.into_iter().find(|&kind| kind as u8 == number)
    }
}

/// The kind of a [`Sched`](super::Sched) record, as in column `sched.kind`. Each number is also that of its loss counter.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchedKind {
    /// A thread that could run waited for a CPU.
    RunQueue = 18,
    /// A thread was blocked and could not be interrupted.
    OffCpu = 19,
    /// A process was stopped by a signal.
    Stopped = 20,
    /// A stopped process was woken.
    Continued = 21,
    /// A process's cgroup was throttled. Made by the recorder, never by the kernel programs.
    Throttled = 25,
}

impl SchedKind {
    /// Every kind.
    pub const ALL: [SchedKind; 5] = [
        SchedKind::RunQueue,
        SchedKind::OffCpu,
        SchedKind::Stopped,
        SchedKind::Continued,
        SchedKind::Throttled,
    ];

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            SchedKind::RunQueue => "run_queue",
            SchedKind::OffCpu => "off_cpu",
            SchedKind::Stopped => "stopped",
            SchedKind::Continued => "continued",
            SchedKind::Throttled => "throttled",
        }
    }

    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<SchedKind> {
        SchedKind::ALL.into_iter().find(|&kind| kind as u8 == number)
    }
}

//! Rows of `sockets`: of each connection that of its client's socket.

use std::net::SocketAddr;

use retrospan_formats::tables::SocketRow;

/// A socket that has had events.
#[derive(Clone, Debug)]
pub struct Socket {
    /// `sockets.socket_id`.
    pub id: i64,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The client's end, or what is taken for it.
    pub local: SocketAddr,
    /// The other one.
    pub remote: SocketAddr,
    /// Which end it is was seen, and not only guessed.
    pub role_known: bool,
    /// It is older than the file.
    pub discovered: bool,
    /// When it was opened, boot time ns.
    pub opened_ns: Option<i64>,
    /// When it ended, boot time ns.
    pub closed_ns: Option<i64>,
    /// Sequence numbers of the first bytes sent and received.
    pub firsts: [Option<u32>; 2],
}

impl Socket {
    /// Its addresses as they are written.
    pub fn addresses(&self) -> [String; 2] {
        [self.local.ip().to_string(), self.remote.ip().to_string()]
    }

    /// As it is written.
    pub fn written<'a>(&self, [local, remote]: &'a [String; 2]) -> SocketRow<'a> {
        SocketRow {
            socket_id: self.id,
            process_id: None,
            netns: 0,
            family: if self.local.is_ipv4() { "inet" } else { "inet6" },
            protocol: self.protocol,
            role: if self.role_known { "client" } else { "unknown" },
            local_addr: local,
            local_port: self.local.port().into(),
            remote_addr: Some(remote),
            remote_port: Some(self.remote.port().into()),
            inode: None,
            discovered: self.discovered,
            opened_boot_ns: self.opened_ns.filter(|_| !self.discovered),
            closed_boot_ns: self.closed_ns,
            first_send_seq: self.firsts[0],
            first_receive_seq: self.firsts[1],
            peer_socket_id: None,
            carrier_socket_id: None,
        }
    }
}

/// Sockets whose rows are due, and ids for new ones.
#[derive(Debug, Default)]
pub struct Sockets {
    given: i64,
    /// Those that have ended since the last look.
    pub ended: Vec<Socket>,
}

impl Sockets {
    /// An id that no socket has.
    pub fn new_id(&mut self) -> i64 {
        self.given += 1;
        self.given
    }
}

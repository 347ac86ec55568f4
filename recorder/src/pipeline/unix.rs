//! What the records of Unix sockets tell beyond those of others: their path, and which socket is the other end.

use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{self, UnixEnds};

use crate::pipeline::sockets::Sockets;

impl Sockets {
    /// Takes the record of a Unix socket; `more`: the bytes behind it.
    pub fn record_unix(&mut self, record: event::Socket, more: &[u8], process_id: Option<i64>) {
        let id = record.socket_id;
        self.record(record, process_id);
        let Some((fixed, path)) = more.split_at_checked(size_of::<UnixEnds>()) else { return };
        let ends: UnixEnds = pod_read_unaligned(fixed);
        if let Some(entry) = self.entries.get_mut(&id) {
            let path = path_text(&path[..path.len().min(ends.path_bytes as usize)]);
            entry.path = path.or(entry.path.take());
        }
        self.join_unix(id, ends.peer_id);
    }

    /// Notes that these are the two ends of a connection. Where both were seen from their first byte each byte is stored once.
    fn join_unix(&mut self, id: u64, other: u64) {
        if other == 0 || other == id {
            return;
        }
        let [Some(one), Some(two)] = self.entries.get_disjoint_mut([&id, &other]) else { return };
        if one.peer.is_some() || two.peer.is_some() {
            return;
        }
        (one.peer, two.peer) = (Some(other), Some(id));
        (one.changed, two.changed) = (true, true);
        // Both count from the same byte.
        let counts = |record: &Option<event::Socket>| record.is_some_and(|r| r.first_send_seq != 0);
        let shares =
            self.pairs && counts(&one.record) && counts(&two.record) && one.discovered() == two.discovered();
        if shares && !(one.stream.is_some() && two.stream.is_some()) {
            let guest = if one.stream.is_some() { two } else { one };
            (guest.stream_at_peer, guest.mirrored) = (true, true);
        }
    }
}

/// A path as text; a name that is none begins with `@`, as everywhere.
fn path_text(bytes: &[u8]) -> Option<Box<str>> {
    let is_abstract = bytes.first() == Some(&0);
    let name = if is_abstract { &bytes[1..] } else { bytes.split(|&byte| byte == 0).next()? };
    if name.is_empty() && !is_abstract {
        return None;
    }
    let text = String::from_utf8_lossy(name).replace('\0', "@");
    Some(if is_abstract { format!("@{text}") } else { text }.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use bytemuck::{Zeroable, bytes_of};

    use super::*;

    fn record(sockets: &mut Sockets, socket_id: u64, role: u8, peer_id: u64, path: &[u8]) {
        let record =
            event::Socket { socket_id, role, family: 1, first_send_seq: 1, ..event::Socket::zeroed() };
        let ends = UnixEnds { peer_id, path_bytes: path.len() as u32, reserved: 0 };
        sockets.record_unix(record, &[bytes_of(&ends), path].concat(), None);
    }

    #[test]
    fn ends_know_each_other_and_the_path() {
        let mut sockets = Sockets::new(true);
        record(&mut sockets, 1, event::role::CLIENT, 0, b"/run/app.sock\0");
        record(&mut sockets, 2, event::role::SERVER, 1, b"/run/app.sock\0");
        // Told again without the other end, which is gone.
        record(&mut sockets, 1, event::role::CLIENT, 0, b"");
        let rows = sockets.take_changed();
        let told = |at: usize| (rows[at].row.peer_socket_id, rows[at].row.role, rows[at].path.as_deref());
        assert_eq!(told(0), (Some(2), "client", Some("/run/app.sock")));
        assert_eq!(told(1), (Some(1), "server", Some("/run/app.sock")));
        assert_eq!((rows[0].row.family, rows[0].row.protocol), ("unix", "unix"));
    }

    #[test]
    fn names_are_text() {
        assert_eq!(path_text(b"\0app").as_deref(), Some("@app"));
        assert_eq!(path_text(b"\0a\0b").as_deref(), Some("@a@b"));
        assert_eq!(path_text(b"a\xffb\0rest").as_deref(), Some("a\u{fffd}b"));
        assert_eq!(path_text(b""), None);
        assert_eq!(path_text(b"\0").as_deref(), Some("@"));
    }
}

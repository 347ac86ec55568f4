//! What an import has read, in words.

use crate::import::skipped::Skipped;
use crate::text::{count, counted, size};

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Packets in the files.
    pub packets: u64,
    /// TCP connections.
    pub connections: u64,
    /// UDP sockets.
    pub udp_sockets: u64,
    /// Bytes of data, each once.
    pub bytes: u64,
    /// Segments and datagrams that brought nothing new: sent again, or captured twice.
    pub repeated: u64,
    /// Holes in streams whose packets are not in the files.
    pub holes: u64,
    /// Segments of no connection.
    pub strays: u64,
    /// Events that were moved to a later time, for the files are far from the order of time.
    pub moved: u64,
    /// Packets that were not understood, by reason.
    skipped: Vec<(Skipped, u64)>,
}

impl Summary {
    /// Counts packets that were not understood.
    pub fn skipped(&mut self, why: Skipped, packets: u64) {
        match self.skipped.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += packets,
            None => self.skipped.push((why, packets)),
        }
    }

    /// In one line.
    pub fn text(&self) -> String {
        let mut text = format!("imported {}", counted(self.packets, "packet"));
        text.push_str(&format!(": {}", counted(self.connections, "TCP connection")));
        if self.udp_sockets > 0 {
            text.push_str(&format!(", {}", counted(self.udp_sockets, "UDP socket")));
        }
        text.push_str(&format!(", {} of data", size(self.bytes)));
        let more = [
            (self.repeated, "repeated packet", " dropped"),
            (self.holes, "hole", ""),
            (self.strays, "packet", " of no connection"),
            (self.moved, "event", " moved in time"),
        ];
        for (many, noun, rest) in more.into_iter().filter(|(many, ..)| *many > 0) {
            text.push_str(&format!(", {}{rest}", counted(many, noun)));
        }
        let mut skipped: Vec<String> = Vec::new();
        for why in Skipped::ALL {
            let known = self.skipped.iter().find(|(known, packets)| *known == why && *packets > 0);
            skipped.extend(known.map(|(_, packets)| format!("{} {}", count(*packets), why.text())));
        }
        if !skipped.is_empty() {
            text.push_str(&format!("; not understood: {}", skipped.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_was_is_said() {
        let mut summary = Summary { packets: 1, connections: 2, bytes: 10, ..Summary::default() };
        assert_eq!(summary.text(), "imported 1 packet: 2 TCP connections, 10 B of data");
        summary.holes = 1;
        summary.skipped(Skipped::Transport, 1);
        summary.skipped(Skipped::NotIp, 2);
        summary.skipped(Skipped::NotIp, 1);
        summary.skipped(Skipped::Fragment, 0);
        let text = summary.text();
        assert!(
            text.ends_with("10 B of data, 1 hole; not understood: 3 not IP, 1 neither TCP nor UDP"),
            "{text}"
        );
    }
}

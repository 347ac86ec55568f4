//! A world as format version 2 has it: of a connection both of whose ends were recorded each byte is stored once.

use std::collections::HashMap;

use retrospan_formats::event::{Kind, TAIL_BYTES, flags};

use super::World;

impl World {
    /// The same story, with each byte stored by the call that moved it first.
    pub fn stored_once(&self) -> World {
        let mut world = self.clone();
        world.find_peers();
        world.rows.sort_by_key(|row| row.boot_ns);
        // By sender: the sequence number after the last byte that was read.
        let mut read: HashMap<usize, u32> = HashMap::new();
        for row in &mut world.rows {
            let Some(peer) = world.sockets[row.socket].peer else { continue };
            let sender = match row.kind {
                Kind::Send => row.socket,
                Kind::Receive => peer,
                _ => continue,
            };
            let Some(seq) = row.seq.filter(|_| row.done > 0) else { continue };
            let next = *read.entry(sender).or_insert(seq);
            let known = u64::from(next.wrapping_sub(seq)).min(row.done);
            if next.wrapping_sub(seq) as i32 <= 0 {
                read.insert(sender, seq.wrapping_add(row.done as u32));
                continue;
            }
            row.flags |= flags::PAYLOAD_AT_PEER;
            let payload = row.payload.take().unwrap_or_default();
            let tail = if row.flags & flags::PAYLOAD_TAIL != 0 { TAIL_BYTES } else { 0 };
            let head = payload.len() - tail;
            if known >= row.done || known as usize >= head {
                row.flags &= !flags::PAYLOAD_TAIL;
                continue;
            }
            let blanks = std::iter::repeat_n(b'*', known as usize);
            row.payload = Some(blanks.chain(payload[known as usize..].iter().copied()).collect());
            read.insert(sender, seq.wrapping_add(row.done as u32));
        }
        world
    }

    fn find_peers(&mut self) {
        let ends =
            |socket: &super::Socket| (socket.local, socket.remote, socket.first_send, socket.first_receive);
        let by_ends: HashMap<_, usize> = self
            .sockets
            .iter()
            .enumerate()
            .filter(|(_, socket)| socket.recorded)
            .map(|(index, socket)| (ends(socket), index))
            .collect();
        for index in 0..self.sockets.len() {
            let (local, remote, send, receive) = ends(&self.sockets[index]);
            let peer = by_ends.get(&(remote, local, receive, send)).copied();
            self.sockets[index].peer = peer.filter(|&peer| peer != index);
        }
    }
}

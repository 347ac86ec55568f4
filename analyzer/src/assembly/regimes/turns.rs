//! Calls on sockets in, requests and calls of processes out: who received what, who sent what, and what the thread had
//! received right before.
//!
//! No message is read: on an accepted connection whatever comes after an answer is a request, on an opened one whatever is
//! sent after an answer is a call. Where several are under way on one connection the first of them stands for all.

use std::hash::Hash;

use crate::hashing::IntMap;

/// Place of a request or call in [`Process`]; [`NONE`] where there is none.
pub type Place = u32;
/// No request, no call.
pub const NONE: Place = Place::MAX;

/// What a thread received last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behind {
    /// Nothing.
    #[default]
    Nothing,
    /// A request.
    Request(Place),
    /// The answer to a call, or a part of it.
    Call(Place),
}

/// A request that the process received.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The socket.
    pub socket: u32,
    /// The sequence number of the first byte, where it is known.
    pub seq: Option<u32>,
    /// Who received it.
    pub thread: u32,
    /// Its first bytes were received, boot time ns.
    pub received_ns: i64,
    /// The first bytes of its answer were sent, or its connection was closed; `i64::MAX` where neither happened.
    pub answered_ns: i64,
    /// Who sent them.
    pub answered_by: u32,
    /// What that thread had received last.
    pub behind: Behind,
    /// How long before, ns.
    pub behind_ns: i64,
}

/// A request that the process sent.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The socket.
    pub socket: u32,
    /// The sequence number of the first byte, where it is known.
    pub seq: Option<u32>,
    /// Number in [`Process::destinations`].
    pub to: u32,
    /// Who sent it.
    pub thread: u32,
    /// Its first bytes were sent, boot time ns.
    pub sent_ns: i64,
    /// It is the first on its connection.
    pub is_first: bool,
    /// The first bytes of its answer were received; `i64::MAX` where none were.
    pub begins_ns: i64,
    /// The last ones were.
    pub back_ns: i64,
    /// Who received them.
    pub back_by: u32,
    /// What the thread had received last: before it connected, where it did that for this call.
    pub behind: Behind,
    /// How long before, ns.
    pub behind_ns: i64,
    /// The only request that this thread has received and nobody answered.
    pub alone: Place,
}

/// What a process received and sent, in order of time.
#[derive(Debug)]
pub struct Process<D> {
    /// Requests, by `received_ns`.
    pub requests: Vec<Request>,
    /// Calls, by the end of the call that sent them.
    pub calls: Vec<Call>,
    /// Whom it calls, numbered.
    pub destinations: IntMap<D, u32>,
    threads: IntMap<u32, Thread>,
}

impl<D> Default for Process<D> {
    fn default() -> Process<D> {
        Process {
            requests: Vec::new(),
            calls: Vec::new(),
            destinations: IntMap::default(),
            threads: IntMap::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Thread {
    last: Behind,
    last_ns: i64,
    /// Requests that it received and nobody answered.
    in_hand: Vec<Place>,
}

/// What a socket is in the middle of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Socket {
    /// The request that waits for its answer, or the call under way or answered.
    place: Option<Place>,
    /// Bytes of the answer have moved.
    is_answered: bool,
    /// What the thread that connected had received last, and how long before, ns.
    connected: Option<(Behind, i64)>,
    /// Calls so far.
    is_used: bool,
}

/// Bytes that a thread moved on a socket.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// The socket.
    pub socket: u32,
    /// The sequence number of the first byte, where it is known.
    pub seq: Option<u32>,
    /// The thread.
    pub thread: u32,
    /// The call was entered, boot time ns.
    pub enter_ns: i64,
    /// The call ended, boot time ns.
    pub exit_ns: i64,
}

impl<D: Eq + Hash> Process<D> {
    /// Bytes came on an accepted connection. Returns whether they begin a request.
    pub fn received(&mut self, socket: &mut Socket, moved: Moved) -> bool {
        let before = self.requests.len();
        let thread = self.threads.entry(moved.thread).or_default();
        let place = match socket.place {
            Some(place) if !socket.is_answered => place,
            _ => {
                let place = self.requests.len() as Place;
                self.requests.push(Request {
                    socket: moved.socket,
                    seq: moved.seq,
                    thread: moved.thread,
                    received_ns: moved.exit_ns,
                    answered_ns: i64::MAX,
                    answered_by: 0,
                    behind: Behind::Nothing,
                    behind_ns: 0,
                });
                thread.in_hand.push(place);
                place
            }
        };
        (socket.place, socket.is_answered) = (Some(place), false);
        (thread.last, thread.last_ns) = (Behind::Request(place), moved.exit_ns);
        self.requests.len() > before
    }

    /// Bytes were sent on an accepted connection.
    pub fn answered(&mut self, socket: &mut Socket, moved: Moved) {
        let Some(place) = socket.place.filter(|_| !socket.is_answered) else { return };
        socket.is_answered = true;
        let request = &mut self.requests[place as usize];
        request.answered_ns = moved.enter_ns.max(request.received_ns);
        request.answered_by = moved.thread;
        let thread = self.threads.entry(moved.thread).or_default();
        (request.behind, request.behind_ns) = (thread.last, moved.enter_ns - thread.last_ns);
        self.release(place);
    }

    /// A thread connects a socket; it entered the call at `enter_ns`, boot time.
    pub fn connects(&mut self, socket: &mut Socket, thread: u32, enter_ns: i64) {
        let thread = self.threads.entry(thread).or_default();
        socket.connected = Some((thread.last, enter_ns - thread.last_ns));
    }

    /// Bytes were sent on a connection that the process opened. Returns whether they begin a call.
    pub fn called(&mut self, socket: &mut Socket, moved: Moved, to: D) -> bool {
        if socket.place.is_some() && !socket.is_answered {
            return false;
        }
        let thread = self.threads.entry(moved.thread).or_default();
        let alone = match thread.in_hand[..] {
            [only] => only,
            _ => NONE,
        };
        let (behind, behind_ns) =
            socket.connected.take().unwrap_or((thread.last, moved.enter_ns - thread.last_ns));
        let next = self.destinations.len() as u32;
        let to = *self.destinations.entry(to).or_insert(next);
        let is_first = !socket.is_used;
        *socket = Socket {
            place: Some(self.calls.len() as Place),
            is_answered: false,
            connected: None,
            is_used: true,
        };
        self.calls.push(Call {
            socket: moved.socket,
            seq: moved.seq,
            to,
            thread: moved.thread,
            sent_ns: moved.enter_ns,
            is_first,
            begins_ns: i64::MAX,
            back_ns: i64::MAX,
            back_by: 0,
            behind,
            behind_ns,
            alone,
        });
        true
    }

    /// Bytes came on a connection that the process opened.
    pub fn back(&mut self, socket: &mut Socket, moved: Moved) {
        let Some(place) = socket.place else { return };
        socket.is_answered = true;
        let call = &mut self.calls[place as usize];
        call.begins_ns = call.begins_ns.min(moved.exit_ns);
        (call.back_ns, call.back_by) = (moved.exit_ns, moved.thread);
        let thread = self.threads.entry(moved.thread).or_default();
        (thread.last, thread.last_ns) = (Behind::Call(place), moved.exit_ns);
    }

    /// An accepted connection was closed.
    pub fn gone(&mut self, socket: &mut Socket, at_ns: i64) {
        if let Some(place) = socket.place.take().filter(|_| !socket.is_answered) {
            // Nothing is done for it from now on.
            self.requests[place as usize].answered_ns = at_ns;
            self.release(place);
        }
        *socket = Socket::default();
    }

    fn release(&mut self, place: Place) {
        let receiver = self.requests[place as usize].thread;
        if let Some(thread) = self.threads.get_mut(&receiver) {
            thread.in_hand.retain(|&other| other != place);
        }
    }
}

impl<D> Process<D> {
    /// The request at that place, if its answer had not begun by then.
    pub fn open_at(&self, place: Place, at_ns: i64) -> Option<&Request> {
        self.requests.get(place as usize).filter(|request| request.answered_ns >= at_ns)
    }
}

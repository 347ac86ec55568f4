//! Streams of a connection that have begun with a request, and have not ended.

/// Streams held at most; a client that opens streams and ends none must not cost memory.
const MAX_STREAMS: usize = 4096;

/// A request, and how far it got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    /// Its request has come; else the answer came first, as two threads of a client may be reported.
    pub(super) begun: bool,
    /// It is one of gRPC.
    pub(super) grpc: bool,
    /// The last byte of the request has come.
    pub(super) asked: bool,
    pub(super) answer: Answer,
    /// Bytes of answers were lost, among which may have been the head of this one, or its end.
    pub(super) missed: bool,
}

/// How far the answer got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    #[default]
    None,
    Begun,
    Done,
}

/// The open streams by their ids, in order: clients give them out so (RFC 9113, section 5.1.1).
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Vec<(u32, Stream)>,
    /// All of the client's up to this one have begun.
    last: u32,
}

impl Streams {
    /// Adds one whose id is higher than those of all requests before. No request of a lower one will come.
    pub(super) fn begin(&mut self, id: u32, stream: Stream) {
        self.open.retain(|(open, stream)| stream.begun || *open > id);
        self.seen(id);
        self.add(id, stream);
    }

    /// Adds one whose answer came before its request.
    pub(super) fn begin_answered(&mut self, id: u32, grpc: bool) {
        self.add(id, Stream { grpc, answer: Answer::Begun, ..Stream::default() });
    }

    fn add(&mut self, id: u32, stream: Stream) {
        if self.open.len() == MAX_STREAMS {
            let done = self.open.iter().position(|(_, stream)| stream.answer == Answer::Done);
            self.open.remove(done.unwrap_or(0));
        }
        let place = self.open.partition_point(|(open, _)| *open < id);
        self.open.insert(place, (id, stream));
    }

    /// Whether a request may begin with this id: none as high has begun.
    pub(super) fn is_new(&self, id: u32) -> bool {
        is_of_client(id) && id > self.last
    }

    /// The stream has begun.
    pub(super) fn seen(&mut self, id: u32) {
        if is_of_client(id) {
            self.last = self.last.max(id);
        }
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.open.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id)?;
        Some(&mut self.open[place].1)
    }

    /// Whether its request has begun.
    pub(super) fn has(&self, id: u32) -> bool {
        self.place(id).is_some_and(|place| self.open[place].1.begun)
    }

    pub(super) fn end(&mut self, id: u32) -> Option<Stream> {
        let place = self.place(id)?;
        Some(self.open.remove(place).1)
    }

    /// Ends those whose ids are higher, and tells them.
    pub(super) fn end_above(&mut self, id: u32, mut tell: impl FnMut(u32, Stream)) {
        let kept = self.open.partition_point(|(open, _)| *open <= id);
        for (id, stream) in self.open.drain(kept..) {
            tell(id, stream);
        }
    }

    /// Bytes of answers were lost.
    pub(super) fn missed(&mut self) {
        for (_, stream) in &mut self.open {
            stream.missed |= stream.answer != Answer::Done;
        }
    }
}

/// Streams of even numbers are the server's (RFC 9113, section 5.1.1).
fn is_of_client(id: u32) -> bool {
    !id.is_multiple_of(2)
}

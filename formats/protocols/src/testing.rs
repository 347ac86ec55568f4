//! For tests of a protocol: what the parts of a conversation's calls say of its exchanges, however its bytes are cut.

pub mod recognition;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Call, Direction, Framing, HeadInfo, Memory, Operation, Part, Protocol, Status, What, blank};

/// One exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    pub key: Option<u64>,
    /// The answering side asked.
    pub turned: bool,
    pub operation: Arc<Operation>,
    /// When its first byte came, and when the last one of its request: numbers of calls, or times.
    pub start: i64,
    pub asked: Option<i64>,
    pub status: Status,
    /// When the last byte of its answer came.
    pub end: Option<i64>,
    /// None will come, or none came.
    pub one_way: bool,
    /// Which side gave it up.
    pub cancelled: Option<Direction>,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// Reads one connection.
#[derive(Debug)]
pub struct Reader {
    framing: Box<dyn Framing>,
    memory: [Memory; 2],
    lanes: [[Lane; 2]; 2],
    turned: [bool; 2],
    exchanges: Vec<Exchange>,
    offsets: [u64; 2],
    /// Where each call or gap of a direction began, and when.
    began: [Vec<(u64, i64)>; 2],
    /// Of each call: direction, offset, bytes as they came, what may be kept.
    kept: Vec<(Direction, u64, Vec<u8>, Vec<u8>)>,
    pub lost_bytes: u64,
    now: i64,
}

/// What is under way in one direction, for one kind of exchanges.
#[derive(Debug, Default)]
struct Lane {
    current: Option<usize>,
    /// When it was told of that one begins: its end is no earlier.
    begun: i64,
    may_begin: Option<(u64, i64)>,
    /// Where the bytes begin that are not counted yet.
    from: u64,
    parked: BTreeMap<u64, usize>,
}

impl Lane {
    /// The bytes up to there were those of the message under way; what follows is not.
    fn leave(&mut self, offset: u64, exchanges: &mut [Exchange], bytes: fn(&mut Exchange) -> &mut u64) {
        if let Some(index) = self.current.take() {
            *bytes(&mut exchanges[index]) += offset.saturating_sub(self.from);
        }
        self.from = offset;
    }
}

impl Reader {
    pub fn new(protocol: &dyn Protocol, before: Option<[u64; 2]>) -> Reader {
        Reader {
            framing: protocol.framing(before),
            memory: Default::default(),
            lanes: Default::default(),
            turned: [false; 2],
            exchanges: Vec::new(),
            offsets: before.unwrap_or_default(),
            began: Default::default(),
            kept: Vec::new(),
            lost_bytes: 0,
            now: 0,
        }
    }

    /// A call, not all of whose bytes are known.
    pub fn partly(&mut self, direction: Direction, call: Call<'_>, now: i64) {
        self.now = now;
        self.began[direction as usize].push((self.offsets[direction as usize], now));
        let mut parts = Vec::new();
        self.framing.call(direction, call, &mut self.memory[direction as usize], &mut parts);
        self.offsets[direction as usize] += call.length;
        self.parts(direction, parts);
    }

    /// A call at this time.
    pub fn call(&mut self, direction: Direction, bytes: &[u8], now: i64) {
        self.now = now;
        self.began[direction as usize].push((self.offsets[direction as usize], now));
        let mut parts = Vec::new();
        let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
        self.framing.call(direction, call, &mut self.memory[direction as usize], &mut parts);
        self.reveal(direction, &parts);
        let mut kept = Vec::new();
        blank::copy(&parts, bytes, 0, &mut kept);
        self.kept.push((direction, self.offsets[direction as usize], bytes.to_vec(), kept));
        self.offsets[direction as usize] += bytes.len() as u64;
        self.parts(direction, parts);
    }

    /// A call of so many bytes of which these, the first ones, were stored.
    pub fn stored_call(&mut self, direction: Direction, stored: &[u8], length: u64, now: i64) {
        self.now = now;
        let mut parts = Vec::new();
        let call = Call { length, head: stored, ..Call::default() };
        self.framing.call(direction, call, &mut self.memory[direction as usize], &mut parts);
        self.offsets[direction as usize] += length;
        self.parts(direction, parts);
    }

    pub fn gap(&mut self, direction: Direction, length: u64, now: i64) {
        self.now = now;
        self.began[direction as usize].push((self.offsets[direction as usize], now));
        let mut parts = Vec::new();
        self.framing.gap(direction, length, &mut parts);
        self.reveal(direction, &parts);
        self.offsets[direction as usize] += length;
        self.parts(direction, parts);
    }

    fn reveal(&mut self, direction: Direction, parts: &[Part]) {
        for (way, offset, came, kept) in &mut self.kept {
            if *way == direction {
                blank::reveal(parts, came, *offset, kept);
            }
        }
    }

    pub fn close(&mut self, direction: Direction, now: i64) {
        self.now = now;
        let mut parts = Vec::new();
        self.framing.close(direction, &mut parts);
        self.parts(direction, parts);
    }

    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// What may be kept of each call, as long as the call: blank where nothing may be.
    pub fn kept(&self) -> Vec<(Direction, Vec<u8>)> {
        let padded = |(way, _, came, kept): &(Direction, u64, Vec<u8>, Vec<u8>)| {
            let mut kept = kept.clone();
            kept.resize(came.len(), blank::BLANK);
            (*way, kept)
        };
        self.kept.iter().map(padded).collect()
    }

    /// When the byte before this one came.
    fn came(&self, direction: Direction, offset: u64) -> i64 {
        let before = self.began[direction as usize].iter().rev().find(|(began, _)| *began < offset);
        before.map_or(self.now, |&(_, time)| time)
    }

    fn parts(&mut self, direction: Direction, parts: Vec<Part>) {
        for part in parts {
            let turned = self.turned[direction as usize];
            match part.what {
                What::Turned(turned) => self.turned[direction as usize] = turned,
                What::Lost => self.lost_bytes += part.length,
                what if (direction == Direction::Requests) != turned => {
                    self.asking(direction, turned, part.offset, what);
                }
                what => self.answering(direction, turned, part.offset, what),
            }
        }
    }

    fn asking(&mut self, direction: Direction, turned: bool, offset: u64, what: What) {
        let came = self.came(direction, offset);
        let lane = &mut self.lanes[usize::from(turned)][direction as usize];
        match what {
            What::MayBegin => lane.may_begin = Some((offset, self.now)),
            What::Begin => {
                let began = lane.may_begin.take().filter(|(at, _)| *at == offset);
                let start = began.map_or(self.now, |(_, at)| at);
                lane.leave(offset, &mut self.exchanges, |e| &mut e.request_bytes);
                lane.current = Some(self.exchanges.len());
                self.exchanges.push(Exchange { start, turned, ..Exchange::default() });
            }
            What::HeadEnd(HeadInfo { key, operation, unanswered, .. }) => {
                let Some(index) = lane.current else { return };
                if let Some(key) = key {
                    lane.parked.insert(key, index);
                }
                let exchange = &mut self.exchanges[index];
                exchange.key = key;
                exchange.one_way = unanswered;
                exchange.operation = operation.unwrap_or_default();
            }
            What::Resume(key) => {
                lane.leave(offset, &mut self.exchanges, |e| &mut e.request_bytes);
                lane.current = lane.parked.get(&key).copied();
            }
            What::End { .. } => {
                let current = lane.current;
                lane.leave(offset, &mut self.exchanges, |e| &mut e.request_bytes);
                let Some(index) = current else { return };
                self.exchanges[index].asked = Some(came);
            }
            What::Cancelled(key) => self.cancel(direction, turned, key),
            _ => {}
        }
    }

    fn cancel(&mut self, direction: Direction, turned: bool, key: u64) {
        let same = |exchange: &&mut Exchange| {
            exchange.key == Some(key) && exchange.turned == turned && exchange.end.is_none()
        };
        if let Some(exchange) = self.exchanges.iter_mut().rev().find(same) {
            exchange.cancelled = Some(direction);
        }
    }

    fn answering(&mut self, direction: Direction, turned: bool, offset: u64, what: What) {
        let came = self.came(direction, offset);
        let lane = &mut self.lanes[usize::from(turned)][direction as usize];
        match what {
            What::Begin => {
                lane.leave(offset, &mut self.exchanges, |e| &mut e.response_bytes);
                lane.begun = self.now;
            }
            What::HeadEnd(HeadInfo { key, status, operation, .. }) => {
                let waits = |exchange: &Exchange| {
                    let open = exchange.end.is_none() && exchange.cancelled.is_none();
                    open && key.is_some() && exchange.key == key && exchange.turned == turned
                };
                lane.current = self.exchanges.iter().position(waits);
                if let (Some(index), Some(key)) = (lane.current, key) {
                    lane.parked.insert(key, index);
                    self.exchanges[index].status = status;
                    self.exchanges[index].one_way = false;
                    if let Some(more) = operation {
                        let operation = Arc::make_mut(&mut self.exchanges[index].operation);
                        operation.attributes.extend(more.attributes.iter().cloned());
                    }
                }
            }
            What::Status(status) => {
                if let Some(index) = lane.current {
                    self.exchanges[index].status = status;
                }
            }
            What::Resume(key) => {
                lane.leave(offset, &mut self.exchanges, |e| &mut e.response_bytes);
                lane.current = lane.parked.get(&key).copied();
            }
            What::End { .. } => {
                let current = lane.current;
                lane.leave(offset, &mut self.exchanges, |e| &mut e.response_bytes);
                if let Some(index) = current {
                    self.exchanges[index].end = Some(came.max(lane.begun));
                }
            }
            What::NoAnswer(key) => {
                let same = |exchange: &&mut Exchange| {
                    exchange.key == Some(key) && exchange.end.is_none() && exchange.turned == turned
                };
                if let Some(exchange) = self.exchanges.iter_mut().find(same) {
                    exchange.one_way = true;
                    exchange.key = None;
                }
            }
            What::Cancelled(key) => self.cancel(direction, turned, key),
            _ => {}
        }
    }
}

/// A conversation: which way, and what.
pub type Conversation = [(Direction, Vec<u8>)];

/// The exchanges of a conversation, each of whose calls is cut into calls of these lengths, over and over; none: as it is.
pub fn read(protocol: &dyn Protocol, conversation: &Conversation, cuts: &[usize]) -> Reader {
    let mut reader = Reader::new(protocol, None);
    let mut cuts = cuts.iter().cycle();
    for (now, (direction, bytes)) in conversation.iter().enumerate() {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = cuts.next().map_or(rest.len(), |&cut| cut.clamp(1, rest.len()));
            reader.call(*direction, &rest[..length], now as i64);
            rest = &rest[length..];
        }
    }
    reader
}

/// Checks that what was stored of each call tells the same exchanges, without blanks for what follows it.
pub fn check_stored(protocol: &dyn Protocol, conversation: &Conversation) {
    let whole = read(protocol, conversation, &[]);
    for cuts in [&[][..], &[1], &[3, 1], &[7, 2, 5], &[16], &[64, 5], &[100, 3]] {
        let cut = read(protocol, conversation, cuts);
        let mut again = Reader::new(protocol, None);
        for ((direction, _, came, stored), at) in cut.kept.iter().zip(times(conversation, cuts)) {
            again.stored_call(*direction, stored, came.len() as u64, at);
        }
        assert_eq!(again.exchanges(), whole.exchanges(), "stored of {cuts:?}");
    }
}

/// Checks what must hold of every protocol: that each cut gives the same exchanges, and what was kept, read again, too.
pub fn check_any_cut(protocol: &dyn Protocol, conversation: &Conversation) {
    recognition::check(conversation);
    let whole = read(protocol, conversation, &[]);
    for cuts in [&[1][..], &[2], &[3, 1], &[7, 2, 5], &[16], &[5, 64, 1], &[100, 3]] {
        let cut = read(protocol, conversation, cuts);
        assert_eq!(cut.exchanges(), whole.exchanges(), "{cuts:?}");
        let mut again = Reader::new(protocol, None);
        let mut now = cut.kept.iter().zip(times(conversation, cuts));
        for (direction, kept) in cut.kept() {
            let (_, at) = now.next().expect("a time for each call");
            again.call(direction, &kept, at);
        }
        assert_eq!(again.exchanges(), whole.exchanges(), "kept of {cuts:?}");
    }
}

fn times(conversation: &Conversation, cuts: &[usize]) -> Vec<i64> {
    let (mut cuts, mut times) = (cuts.iter().cycle(), Vec::new());
    for (now, (_, bytes)) in conversation.iter().enumerate() {
        let mut left = bytes.len();
        while left > 0 {
            left -= cuts.next().map_or(left, |&cut| cut.clamp(1, left));
            times.push(now as i64);
        }
    }
    times
}

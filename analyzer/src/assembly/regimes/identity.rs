//! Heads of messages in, the request that a call passes on out: by what it shares with one of those in hand only.
//!
//! Who passes requests on leaves most of their lines as they are. A [`Mark`] is one of these, as far as the capture has it: the path,
//! a line that was kept, how long a blanked value is, the keyed hash of one. Which kinds of marks a process passes on shows in the
//! recording: nearly all calls with a mark that some request has brought are sent while such a request is in hand. A mark that
//! the process makes itself, or keeps for later, does not.

use retrospan_formats::secrets::SecretHash;
use retrospan_protocols::blank::BLANK;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::assembly::regimes::lines::Step;
use crate::assembly::regimes::regime::{Regime, Rule, is_enough};
use crate::assembly::regimes::turns::{NONE, Place, Process};
use crate::hashing::IntMap;

/// Something that a message carries, and others may carry too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// What it is: the name of a line, and what of it.
    kind: u32,
    /// Equal for equal values.
    value: u32,
}

/// The marks of a process's requests and calls.
#[derive(Debug, Default)]
pub struct Marks {
    all: Vec<Mark>,
    /// Where those of each request end.
    requests: Vec<[u32; 2]>,
    calls: Vec<[u32; 2]>,
    known: IntMap<Mark, Known>,
}

/// A mark that requests have brought.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The first of them.
    first: Place,
    requests: u32,
}

/// Most marks of one message.
const MAX_MARKS: usize = 64;
/// Most marks of a process, 8 bytes each: of some millions of messages. What comes after tells nothing.
const MAX_KEPT: usize = 16 << 20;
/// A mark tells requests apart if one in so many has it at most.
const RARE: u32 = 8;
/// One that so many requests had, and one in so many, is not kept: it tells nothing.
const COMMON: [u32; 2] = [64, 4];

/// What of a line a mark is.
#[derive(Clone, Copy, Debug)]
enum Aspect {
    Value,
    Length,
    Secret,
}

impl Mark {
    fn new(name: &[u8], aspect: Aspect, value: &[u8]) -> Mark {
        let kind = xxh3_64_with_seed(name, aspect as u64) as u32;
        Mark { kind, value: xxh3_64_with_seed(value, 0) as u32 }
    }
}

/// The marks of a message that begins with these bytes, of HTTP/1; none of others. Hashes are those of its values that are blank.
pub fn of_head(head: &[u8], hashes: impl Iterator<Item = SecretHash>) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut lines = Vec::new();
    let mut at = 0;
    // A line that is cut says nothing.
    while let Some(length) = memchr::memmem::find(&head[at..], b"\r\n").filter(|&length| length > 0) {
        let line = &head[at..at + length];
        let name = match lines.is_empty() {
            true if !is_start(line) => return marks,
            true => path(line, &mut marks),
            false => field(line, &mut marks),
        };
        lines.push((at, name));
        at += length + 2;
    }
    for hash in hashes {
        let line = lines.partition_point(|(begin, _)| *begin <= usize::from(hash.offset));
        if let Some((_, name)) = line.checked_sub(1).and_then(|line| lines.get(line)) {
            marks.push(Mark::new(name, Aspect::Secret, &hash.hash.to_le_bytes()));
        }
    }
    marks.truncate(MAX_MARKS);
    marks
}

fn is_start(line: &[u8]) -> bool {
    line.len() > 9 && line[line.len() - 9..].starts_with(b" HTTP/1.")
}

/// The name of the start line is empty.
fn path(line: &[u8], marks: &mut Vec<Mark>) -> Vec<u8> {
    if let Some(target) = line.split(|&byte| byte == b' ').nth(1) {
        let path = target.split(|&byte| byte == b'?').next().unwrap_or(target);
        marks.push(Mark::new(b"", Aspect::Value, path));
    }
    Vec::new()
}

fn field(line: &[u8], marks: &mut Vec<Mark>) -> Vec<u8> {
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    let name = line[..colon].to_ascii_lowercase();
    let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
    if !value.is_empty() {
        marks.push(match value.iter().all(|&byte| byte == BLANK) {
            true => Mark::new(&name, Aspect::Length, &value.len().to_le_bytes()),
            false => Mark::new(&name, Aspect::Value, value),
        });
    }
    name
}

impl Marks {
    /// The next request of the process has these.
    pub fn request(&mut self, marks: &[Mark]) {
        let place = self.requests.len() as Place;
        let room = if self.all.len() < MAX_KEPT { marks } else { &[] };
        for &mark in room {
            self.known.entry(mark).or_insert(Known { first: place, requests: 0 }).requests += 1;
        }
        let range = self.keep(marks);
        self.requests.push(range);
    }

    /// The next call of the process has these.
    pub fn call(&mut self, marks: &[Mark]) {
        let range = self.keep(marks);
        self.calls.push(range);
    }

    fn keep(&mut self, marks: &[Mark]) -> [u32; 2] {
        let begin = self.all.len() as u32;
        let requests = self.requests.len() as u32;
        let tells = |mark: &&Mark| {
            self.known.get(mark).is_none_or(|known| {
                known.requests < COMMON[0] || known.requests.saturating_mul(COMMON[1]) < requests
            })
        };
        if self.all.len() < MAX_KEPT {
            self.all.extend(marks.iter().filter(tells));
        }
        [begin, self.all.len() as u32]
    }

    fn of(&self, of: &[[u32; 2]], place: Place) -> &[Mark] {
        let [begin, end] = of.get(place as usize).copied().unwrap_or_default();
        &self.all[begin as usize..end as usize]
    }

    /// It was brought before by few of all requests.
    fn is_rare(&self, mark: Mark) -> bool {
        let requests = self.requests.len() as u32;
        self.known.get(&mark).is_some_and(|known| known.requests.saturating_mul(RARE) <= requests)
    }

    /// Tells of each call, in order of time, of its marks that requests brought before, and who of those in hand has each.
    fn each_call<D>(
        &self,
        process: &Process<D>,
        steps: &[(i64, Step)],
        mut tell: impl FnMut(Place, &[(Mark, &[Place])]),
    ) {
        let mut in_hand: IntMap<Mark, Vec<Place>> = IntMap::default();
        for &(at_ns, step) in steps {
            match step {
                Step::Received(place) => {
                    for &mark in self.of(&self.requests, place) {
                        in_hand.entry(mark).or_default().push(place);
                    }
                }
                Step::Answered(place) => {
                    for mark in self.of(&self.requests, place) {
                        if let Some(holders) = in_hand.get_mut(mark) {
                            holders.retain(|&holder| holder != place);
                            if holders.is_empty() {
                                in_hand.remove(mark);
                            }
                        }
                    }
                }
                Step::Sent(call) => {
                    let was_brought = |mark: &&Mark| {
                        let first =
                            self.known.get(mark).and_then(|known| process.requests.get(known.first as usize));
                        first.is_some_and(|first| first.received_ns <= at_ns)
                    };
                    let marks = self.of(&self.calls, call).iter().filter(was_brought);
                    let held: Vec<(Mark, &[Place])> =
                        marks.map(|mark| (*mark, in_hand.get(mark).map_or(&[][..], Vec::as_slice))).collect();
                    tell(call, &held);
                }
                Step::Begins(_) | Step::Back(_) => {}
            }
        }
    }
}

/// Parents of the calls that pass on what one request in hand has brought and no other, and how far it is borne out.
pub fn identity<D>(process: &Process<D>, marks: &Marks, steps: &[(i64, Step)]) -> (Vec<Place>, Regime) {
    let mut kinds: IntMap<u32, [u32; 2]> = IntMap::default();
    marks.each_call(process, steps, |_, held| {
        for (mark, holders) in held.iter().filter(|(mark, _)| marks.is_rare(*mark)) {
            let [checked, agreed] = kinds.entry(mark.kind).or_default();
            *checked += 1;
            *agreed += u32::from(!holders.is_empty());
        }
    });
    kinds.retain(|_, [checked, agreed]| is_enough(*checked, *agreed));
    let [checked, agreed] = kinds.values().copied().max_by_key(|[_, agreed]| *agreed).unwrap_or_default();
    let mut parents = vec![NONE; process.calls.len()];
    if !kinds.is_empty() {
        marks.each_call(process, steps, |call, held| {
            parents[call as usize] =
                shared(marks, held.iter().filter(|(mark, _)| kinds.contains_key(&mark.kind)));
        });
    }
    let calls = parents.iter().filter(|&&parent| parent != NONE).count() as u32;
    let is_believed = !kinds.is_empty();
    (parents, Regime { rule: Rule::Identity, calls, checked, agreed, is_at_once: true, is_believed })
}

/// The only request that has all of these marks, of which one is rare.
fn shared<'a>(marks: &Marks, held: impl Iterator<Item = &'a (Mark, &'a [Place])>) -> Place {
    let mut all: Option<Vec<Place>> = None;
    let mut is_told = false;
    for &(mark, holders) in held {
        let is_rare = marks.is_rare(mark);
        if holders.is_empty() {
            if is_rare {
                // Somebody brought it who is not there any more.
                return NONE;
            }
            continue;
        }
        is_told |= is_rare;
        match &mut all {
            None => all = Some(holders.to_vec()),
            Some(all) => all.retain(|place| holders.contains(place)),
        }
    }
    match all.as_deref() {
        Some(&[only]) if is_told => only,
        _ => NONE,
    }
}

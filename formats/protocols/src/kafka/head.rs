//! What a request begins with: its length, what it asks for, its key, who asks; and what of its fields is
//! read.

use std::ops::Range;

use super::apis::{Api, CONTROLLED_SHUTDOWN};
use super::layout::Kind;
use super::walk::{Body, End, Going, Piece, tags, walk};
use crate::messaging::plain_name;
use crate::protocol::Verdict;

/// Bytes of the length.
pub(super) const LENGTH: usize = 4;
/// Bytes up to the name of the client: length, API, version, correlation id, length of the name.
pub(super) const FIXED: usize = 14;
/// Most bytes of a message that we believe.
pub(super) const MAX_BYTES: u32 = 1 << 30;
/// Longest name of a client that is one.
const MAX_CLIENT_BYTES: u16 = 255;
/// No API has more versions.
const MAX_VERSION: i16 = 30;

/// The length that a frame begins with, and how long it is with it.
pub(super) fn total(bytes: &[u8]) -> Option<u64> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    (length < MAX_BYTES).then_some(u64::from(length) + LENGTH as u64)
}

/// The correlation id of an answer.
pub(super) fn answer_id(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(LENGTH..)?.first_chunk()?))
}

/// The header of a request.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Bytes of the frame.
    pub(super) total: u64,
    /// None: of a kind that we do not know.
    pub(super) api: Option<&'static Api>,
    pub(super) version: u8,
    pub(super) id: u32,
    /// Where the name of the client is, all of which may not be there.
    pub(super) client: Range<usize>,
    /// There is one.
    pub(super) has_client: bool,
}

impl Header {
    /// None where too little is there, or it is no header.
    pub(super) fn of(bytes: &[u8]) -> Option<Header> {
        let fixed = bytes.first_chunk::<{ FIXED - 2 }>()?;
        let short = |at: usize| i16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (key, version) = (short(4), short(6));
        let api = Api::of(key);
        let total = total(bytes)?;
        if key < 0 || !(0..=MAX_VERSION).contains(&version) || total < FIXED as u64 {
            return None;
        }
        let id = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
        let version = version as u8;
        if key == CONTROLLED_SHUTDOWN && version == 0 {
            let client = FIXED - 2..FIXED - 2;
            return Some(Header { total, api, version, id, client, has_client: false });
        }
        let length = match bytes.get(FIXED - 2..FIXED) {
            Some(length) => u16::from_be_bytes([length[0], length[1]]),
            None => 0,
        };
        let has_client = length != u16::MAX;
        let length = if has_client { length } else { 0 };
        let client = FIXED..FIXED + usize::from(length);
        let fits = length <= MAX_CLIENT_BYTES && client.end as u64 <= total;
        fits.then_some(Header { total, api, version, id, client, has_client })
    }

    /// The API, where its layout of this version is known.
    pub(super) fn known(&self) -> Option<&'static Api> {
        self.api.filter(|api| self.version <= api.newest)
    }

    /// The name of the client, where all of it is there and may be kept.
    pub(super) fn client<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        plain_name(bytes.get(self.client.clone())?)
    }

    /// Tells of the fields behind the header, its tagged ones included.
    pub(super) fn walk(&self, bytes: &[u8], mut see: impl FnMut(&Piece) -> Going) -> End {
        let Some(api) = self.known() else { return End::Broken };
        let flexible = api.is_flexible(self.version);
        let body = Body {
            layout: api.request,
            version: self.version,
            flexible,
            bytes,
            at: self.client.end,
            total: self.total,
            last: None,
        };
        if bytes.len() < body.at {
            return End::Cut(body.at as u64);
        }
        match tags(body, &mut see) {
            End::Done(at) => walk(Body { at, ..body }, see),
            end => end,
        }
    }
}

/// What is read of a request's fields.
#[derive(Debug, Default)]
pub(super) struct Asked<'a> {
    /// How many acknowledgements are wanted: none, of the leader, of all.
    pub(super) acks: Option<i16>,
    pub(super) group: Option<&'a str>,
    /// The first topic.
    pub(super) topic: Option<&'a str>,
    pub(super) topic_id: Option<[u8; 16]>,
    /// No other is named beside it.
    pub(super) one_topic: bool,
    named: bool,
    of_topic: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn of(header: &Header, bytes: &'a [u8]) -> Asked<'a> {
        let mut asked = Asked::default();
        header.walk(bytes, |piece| asked.see(piece, bytes));
        asked
    }

    /// Takes a field. Behind the first topic nothing is of interest.
    pub(super) fn see(&mut self, piece: &Piece, bytes: &'a [u8]) -> Going {
        let content = &bytes[piece.content.clone()];
        match piece.kind {
            Kind::Acks => self.acks = content.first_chunk().map(|acks| i16::from_be_bytes(*acks)),
            Kind::Group if self.group.is_none() => self.group = plain_name(content),
            Kind::ResourceType => self.of_topic = content == [2],
            Kind::Topic => self.topic(piece, plain_name(content)),
            Kind::ResourceName if self.of_topic => self.topic(piece, plain_name(content)),
            Kind::TopicId => {
                self.topic(piece, self.topic);
                self.topic_id = content.first_chunk().copied().filter(|id| *id != [0; 16]);
            }
            _ => {}
        }
        let more = matches!(piece.next, Some(Kind::Topic | Kind::TopicId));
        if self.named && !more { Going::Enough } else { Going::On }
    }

    fn topic(&mut self, piece: &Piece, topic: Option<&'a str>) {
        self.topic = topic;
        self.one_topic = piece.first && piece.left == 0;
        self.named = true;
    }
}

/// Whether the content of a field may be kept: names of topics and groups, and what tells what they are names
/// of.
pub(super) fn may_keep(piece: &Piece, bytes: &[u8], of_topic: bool) -> bool {
    match piece.kind {
        Kind::Acks | Kind::ResourceType | Kind::TopicId => true,
        Kind::Topic | Kind::Group => plain_name(&bytes[piece.content.clone()]).is_some(),
        Kind::ResourceName => of_topic && plain_name(&bytes[piece.content.clone()]).is_some(),
        _ => false,
    }
}

/// Whether bytes begin a request: all that is there must be as the layout of its version says, to the very
/// end of the frame, or far enough. What is kept of them says the same.
pub(super) fn likeness(bytes: &[u8]) -> Verdict {
    Header::of(bytes).map_or(Verdict::No, |header| judge(&header, bytes, header.total))
}

/// `ends`: where the frame ends, if all of it is there.
fn judge(header: &Header, bytes: &[u8], ends: u64) -> Verdict {
    let here = header.client.start.min(bytes.len())..header.client.end.min(bytes.len());
    let is_name = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if header.api.is_none() || header.total > u64::from(MAX_BYTES >> 2) || !is_name(&bytes[here]) {
        return Verdict::No;
    }
    let named = header.has_client && !header.client.is_empty() && bytes.len() >= header.client.end;
    if header.known().is_none() {
        return if named { Verdict::Maybe } else { Verdict::No };
    }
    let own = &bytes[..bytes.len().min(usize::try_from(header.total).unwrap_or(usize::MAX))];
    let (mut plausible, mut topic, mut kept) = (true, false, 0);
    let end = header.walk(own, |piece| {
        let content = &own[piece.content.clone()];
        plausible &= match piece.kind {
            Kind::Acks => matches!(content, [] | [0, 0 | 1] | [0xff, 0xff]),
            Kind::Topic => content.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-*".contains(byte)),
            Kind::Group => is_name(content),
            _ => true,
        };
        topic |= piece.kind == Kind::Topic && !content.is_empty();
        kept = kept.max(piece.length.end);
        Going::On
    });
    let is_whole = own.len() as u64 >= header.total;
    // Few bytes may be zeros of something else.
    let enough = match end {
        End::Done(at) if at as u64 != ends => return Verdict::No,
        End::Done(_) => named || topic || !header.has_client,
        End::Cut(end) if end == header.total => named || topic || !header.has_client,
        End::Cut(_) if !is_whole => topic || named && kept >= header.client.end + 4,
        _ => return Verdict::No,
    };
    match plausible {
        true if enough => Verdict::Surely,
        true => Verdict::Maybe,
        false => Verdict::No,
    }
}

/// Whether bytes, too few to tell, may begin a request: its length at least is there.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let is = |at: usize, most: u8| bytes.get(at).is_none_or(|&byte| byte <= most);
    let length = total(bytes).is_some_and(|total| (FIXED as u64..1 << 20).contains(&total));
    let api = bytes.get(4..6).is_none_or(|key| Api::of(i16::from_be_bytes([key[0], key[1]])).is_some());
    length && bytes.len() < FIXED && is(4, 0) && api && is(6, 0) && is(7, MAX_VERSION as u8) && is(12, 0)
}

/// Whether bytes begin a request whose length was read before them, by a call of its own.
pub(super) fn is_without_length(bytes: &[u8]) -> bool {
    /// As much as is looked at.
    const MOST: usize = 512;
    let may_be = matches!(bytes, [0, _, 0, _, _, _, _, _, 0, 2..=255, first, ..] if first.is_ascii_graphic());
    may_be && {
        let long = MAX_BYTES >> 6;
        let bytes = &bytes[..bytes.len().min(MOST)];
        let bytes = [&long.to_be_bytes(), bytes].concat();
        let verdict = |header: Header| judge(&header, &bytes, bytes.len() as u64);
        Header::of(&bytes).map(verdict) == Some(Verdict::Surely)
    }
}

//! Message heads longer than what a record keeps, or split over several calls: read on until they end.
//!
//! What framing needs may stand anywhere in a head, so its end is looked for in what was taken of a call that begins a
//! message or goes on with its head; where it is not there the rest follows in [`More`] records, as far as
//! [`MAX_HEAD_BYTES`] go. What is left of them goes to a body that begins like a chunked one, whose chunk-size lines frame
//! it; nothing else is read of a body but what shares a step of copying with the end of a head.

use crate::{
    gather::{Area, gather, step_bytes},
    kernel::config,
    maps::{Data, InCall},
    ring::{BODY, HEADER, Reservation, bounded, reserve_at},
    rules::{
        head_end::{Keeps, WINDOW, behind_head, place, place_at_start, scan},
        request_line::{LATER_WORDS, Start, start_later},
        signature::{Match, signature, start},
    },
};
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use core::{mem::size_of, ptr};
use retrospan_formats::config::Signature;
use retrospan_formats::event::{MAX_HEAD_BYTES, MAX_SNAP_BYTES, MORE_BYTES, More, Record, loss};

const MORE_BODY: usize = HEADER + size_of::<More>();
const MOST: u64 = MORE_BYTES as u64;
/// Room behind [`MOST`] bytes for a step of copying.
const SPARE: u64 = step_bytes(MOST);
/// Most records for the rest of a head.
const MOST_RECORDS: i32 = (MAX_HEAD_BYTES / MORE_BYTES) as i32;

/// What [`more`] did: there is nothing more to read, ...
const NOTHING: i32 = 0;
/// ... it wrote a record behind which reading goes on, ...
const GOES_ON: i32 = 1;
/// ... or the last one.
const ENDS: i32 = 2;

/// The [`Match`] of data whose first word is `first`, of which `available` bytes are there. A function of its own for the
/// verifier, and for the stack: with this loop in them, its callers' frames together are too large for Linux 6.1.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn match_signature(first: u64, available: u64) -> i32 {
    let signature_at = |index: usize| Signature {
        word: config!(signatures[index].word),
        mask: config!(signatures[index].mask),
        bytes: config!(signatures[index].bytes),
        keep: config!(signatures[index].keep),
    };
    signature(signature_at, config!(used_signatures), first, available).0
}

/// The first bytes of some data.
pub type Words = [u64; LATER_WORDS + 1];

/// What [`begin_head`] says: no head begins here, ...
const NO_HEAD: i32 = 0;
/// ... one does, ...
const A_HEAD: i32 = 1;
/// ... or one may: these bytes are too few to tell.
pub const PERHAPS_A_HEAD: i32 = 2;

/// Notes that a head begins where data begins with these words, of which `available` bytes are there and that match `known`
/// ([`match_signature`]), and says whether it does. A function of its own for the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begin_head(words: *const Words, data: *const Data, available: u64, known: i32) -> i32 {
    // SAFETY: null or valid; the verifier insists on the check.
    let (Some(words), Some(data)) = (unsafe { (words.as_ref(), data.as_ref()) }) else { return NO_HEAD };
    let first = words[0];
    let mut told = start(Match(known), first, available);
    if told == Start::Perhaps && available > 8 {
        let ended = first >> 56 == b' ' as u64;
        told = start_later([words[1], words[2], words[3]], available - 8, ended);
    }
    let place = place_at_start(told);
    if place == place::OUTSIDE {
        return NO_HEAD;
    }
    data.place.set(place);
    data.left.set(MAX_HEAD_BYTES as u64);
    if told == Start::Perhaps { PERHAPS_A_HEAD } else { A_HEAD }
}

/// Follows the head that a call begins, or goes on with, beyond the `head` bytes of the call that its record has, at most
/// `CAP`. `turned`: whether it begins one was not looked at yet. Returns how many [`More`] records it wrote;
/// [`Data::place`] says where the head stands afterwards.
#[inline(always)]
pub fn follow<const CAP: u64>(reservation: &Reservation, call: &InCall, turned: bool, head: u64) -> u16 {
    let data = &call.data;
    data.head.set(head);
    // SAFETY: a record that keeps bytes has room for the 128 of the smallest.
    let first = unsafe { reservation.at.add(BODY) };
    if turned {
        // SAFETY: as above.
        let word = unsafe { first.cast::<u64>().read_unaligned() };
        begin_head(first.cast(), data, head, match_signature(word, head));
    }
    if data.place.get() == place::OUTSIDE {
        return 0;
    }
    if head == 0 {
        data.place.set(place::OUTSIDE);
        return 0;
    }
    let done = data.done.get();
    if data.place.get() == place::BEHIND_HEAD {
        // SAFETY: as above.
        data.place.set(place_behind(unsafe { first.cast::<u64>().read_unaligned() }, head));
    }
    match data.place.get() {
        place::OUTSIDE => return 0,
        place::CHUNKS => count_record_as_read(data),
        place if head == done && ends_with_empty_line::<CAP>(first, head) => {
            // The whole head of a request in one call, as most are, is hardly ever that of a chunked one.
            let whole_request = place == place::REQUEST_LINE;
            data.place.set(if whole_request { place::OUTSIDE } else { place::BEHIND_HEAD });
            return 0;
        }
        _ => scan_first::<CAP>(first, data),
    }
    if data.place.get() == place::OUTSIDE || data.read.get() >= done {
        return 0;
    }
    rest_of_head(ptr::from_ref(call).cast_mut(), reservation.seq, reservation.boot_ns) as u16
}

/// Looks for the end of the head in the first bytes of a record, for which it has room for `CAP`.
#[inline(always)]
fn scan_first<const CAP: u64>(first: *const u8, data: &Data) {
    // `CAP` bytes and the room for a tail behind them.
    match CAP {
        128 => scan_128(first.cast(), data),
        256 => scan_256(first.cast(), data),
        512 => scan_512(first.cast(), data),
        1024 => scan_1024(first.cast(), data),
        _ => scan_4096(first.cast(), data),
    };
}

/// Whether the record's `head` bytes end with an empty line, as most requests do.
#[inline(always)]
fn ends_with_empty_line<const CAP: u64>(first: *const u8, head: u64) -> bool {
    if head < 4 {
        return false;
    }
    // SAFETY: at most `CAP` bytes, which there is room for.
    let last = unsafe { first.add(bounded(head - 4, CAP - 4) as usize).cast::<u32>().read_unaligned() };
    last >> 24 == b'\n' as u32
        && (last >> 16 & 0xff == b'\n' as u32
            || last >> 8 & 0xffff == u32::from(u16::from_le_bytes(*b"\n\r")))
}

/// Some bytes and a word more.
type Scanned<const BYTES: usize> = [u8; BYTES];
const WORD: usize = size_of::<u64>();

// Functions of their own for the verifier, which so looks at each loop once.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scan_128(bytes: *const Scanned<{ 128 + WORD }>, data: *const Data) -> i32 {
    scan_record::<128>(bytes.cast(), data)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scan_256(bytes: *const Scanned<{ 256 + WORD }>, data: *const Data) -> i32 {
    scan_record::<256>(bytes.cast(), data)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scan_512(bytes: *const Scanned<{ 512 + WORD }>, data: *const Data) -> i32 {
    scan_record::<512>(bytes.cast(), data)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scan_1024(bytes: *const Scanned<{ 1024 + WORD }>, data: *const Data) -> i32 {
    scan_record::<1024>(bytes.cast(), data)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scan_4096(bytes: *const Scanned<{ MAX_SNAP_BYTES + WORD }>, data: *const Data) -> i32 {
    scan_record::<{ MAX_SNAP_BYTES as u64 }>(bytes.cast(), data)
}

/// Looks for the end of the head in the call's own record, and takes the bytes off what may be read.
#[inline(always)]
fn scan_record<const CAP: u64>(bytes: *const u8, data: *const Data) -> i32 {
    // SAFETY: null or valid; the verifier insists on the check.
    let Some(data) = (unsafe { data.as_ref() }) else { return 0 };
    if bytes.is_null() {
        return 0;
    }
    let mut from = 0;
    while from < CAP {
        if from >= data.head.get() {
            break;
        }
        // SAFETY: a window and a word more lie within `CAP` bytes and a word.
        let end = unsafe { scan_window(bytes.add(from as usize).cast(), data, data.head.get() - from) };
        if end != 0 {
            let end = bounded(from + end as u64, CAP);
            // SAFETY: as above.
            let next = unsafe { bytes.add(end as usize).cast::<u64>().read_unaligned() };
            data.place.set(place_behind(next, data.head.get() - end));
            break;
        }
        if data.place.get() == place::OUTSIDE {
            return 0;
        }
        from += WINDOW;
    }
    if data.place.get() != place::OUTSIDE {
        count_record_as_read(data);
    }
    0
}

/// [`behind_head`], which the verifier so looks at once.
#[inline(always)]
fn place_behind(next: u64, available: u64) -> u64 {
    place_behind_head(next, available) as u64
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn place_behind_head(next: u64, available: u64) -> i32 {
    behind_head(next, available) as i32
}

/// Counts the call's own record as read.
#[inline(always)]
fn count_record_as_read(data: &Data) {
    data.read.set(data.head.get());
    take_off(data, data.head.get());
}

/// Takes bytes off what may be read; the head is cut where nothing is left.
#[inline(always)]
fn take_off(data: &Data, bytes: u64) {
    let left = data.left.get();
    if left > bytes {
        data.left.set(left - bytes);
    } else {
        data.place.set(place::OUTSIDE);
    }
}

impl Keeps for Data {
    #[inline(always)]
    fn place(&self) -> u64 {
        self.place.get()
    }
    #[inline(always)]
    fn set_place(&self, place: u64) {
        self.place.set(place);
    }
}

/// Scans the first `bytes` bytes of a window; returns where the head ends, 0 where it does not.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn scan_window(
    window: *const Scanned<{ WINDOW as usize + WORD }>,
    data: *const Data,
    bytes: u64,
) -> i32 {
    // SAFETY: null or valid; the verifier insists on the check.
    let Some(data) = (unsafe { data.as_ref() }) else { return 0 };
    if window.is_null() {
        return 0;
    }
    let word_at = |at: u64| {
        // SAFETY: a word at an offset of at most `WINDOW`.
        unsafe { window.cast::<u8>().add(bounded(at, WINDOW) as usize).cast::<u64>().read_unaligned() }
    };
    scan(word_at, bytes, data) as i32
}

/// Reads on until the head ends, as far as its budget goes. Returns how many records that took.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rest_of_head(call: *mut InCall, call_seq: u64, boot_ns: u64) -> i32 {
    // SAFETY: null or valid; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_ref() }) else { return 0 };
    let mut records = 0;
    while records < MOST_RECORDS {
        let result = more(ptr::from_ref(call).cast_mut(), call_seq, boot_ns);
        if result == NOTHING {
            break;
        }
        records += 1;
        if result == ENDS {
            break;
        }
    }
    records
}

/// The next bytes of the head as a record.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn more(call: *mut InCall, call_seq: u64, boot_ns: u64) -> i32 {
    // SAFETY: null or valid; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_ref() }) else { return NOTHING };
    let data = &call.data;
    let (read, left) = (data.read.get(), data.left.get());
    let unread = data.done.get().saturating_sub(read);
    let wanted = bounded(if unread < left { unread } else { left }, MOST);
    if wanted == 0 {
        return NOTHING;
    }
    const BYTES: u64 = MORE_BODY as u64 + MOST + SPARE;
    let Some(reservation) =
        reserve_at::<BYTES>(Record::More, call.kind, loss::MORE, call.task_id, Some(boot_ns))
    else {
        // The head is cut here.
        data.place.set(place::OUTSIDE);
        return NOTHING;
    };
    // SAFETY: within the record.
    let target = unsafe { reservation.at.add(MORE_BODY) };
    let copied = bounded(copy(target, data, read, wanted), MOST);
    if data.place.get() == place::BEHIND_HEAD {
        // SAFETY: within the record.
        data.place.set(place_behind(unsafe { target.cast::<u64>().read_unaligned() }, copied));
    }
    let bytes = match data.place.get() {
        place::OUTSIDE => 0,
        place::CHUNKS => copied,
        _ => head_bytes(target, copied, data),
    };
    let bytes = bounded(bytes, MOST);
    data.read.set(read + bytes);
    take_off(data, bytes);
    if copied == 0 {
        data.place.set(place::OUTSIDE);
    }
    let body = More { socket_id: call.socket_id, call_seq, bytes: bytes as u32, reserved: 0 };
    // SAFETY: the room is longer than both.
    unsafe { reservation.put(HEADER, body) };
    reservation.submit((MORE_BODY as u64 + bytes) as u32);
    if data.place.get() == place::OUTSIDE { ENDS } else { GOES_ON }
}

/// How many of the `copied` bytes of a [`More`] record are to be kept: up to the end of the head, or of the chunks behind
/// it.
#[inline(always)]
fn head_bytes(target: *const u8, copied: u64, data: &Data) -> u64 {
    let mut from = 0;
    while from < MOST {
        if from >= copied || data.place.get() == place::OUTSIDE {
            break;
        }
        // SAFETY: a window and a word more lie within the record.
        let end = unsafe { scan_window(target.add(from as usize).cast(), data, copied - from) };
        if end != 0 {
            let end = bounded(from + end as u64, MOST);
            // SAFETY: as above.
            let next = unsafe { target.add(end as usize).cast::<u64>().read_unaligned() };
            data.place.set(place_behind(next, copied - end));
            return if data.place.get() == place::CHUNKS { copied } else { end };
        }
        from += WINDOW;
    }
    copied
}

/// Copies bytes of the data from the `read`th on; returns how many.
#[inline(always)]
fn copy(target: *mut u8, data: &Data, read: u64, wanted: u64) -> u64 {
    if data.count.get() != 0 {
        // The record has room for a step behind `MOST` bytes.
        gather_more(target.cast(), data, wanted);
        return data.copied.get();
    }
    // SAFETY: at most `MOST` bytes, which the record has room for.
    let result = unsafe {
        let address = data.first_address.get() + read;
        bpf_probe_read_user(target.cast(), bounded(wanted, MOST) as u32, address as *const _)
    };
    if result == 0 { wanted } else { 0 }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn gather_more(
    target: *mut Area<{ MORE_BYTES + SPARE as usize }>,
    data: *const Data,
    wanted: u64,
) -> i32 {
    gather(target.cast(), data, wanted, MOST)
}

//! The event of one piece of data: how much of it is kept, and the copy into the ring.
//!
//! A reservation has a constant size, so there are a few of them and the smallest that fits is taken.
//! Data in one buffer is copied at once; data in several is copied in steps, each small enough for the
//! verifier to see that it stays within the record.

use crate::{
    gather::{
        Buffer, SNAP, TAIL, buffer, gather_128, gather_256, gather_512, gather_1024, gather_4096,
        gather_tail, read_buffers, read_pair, step_bytes,
    },
    heads,
    kernel::config,
    maps::{Data, Entry, InCall, WITHIN_TLS, form, nature},
    ring::{BODY, HEADER, Reservation, bounded, reserve},
    rules::{
        head_end::place,
        kept::{Kept, keep},
        request_line::LATER_WORDS,
        signature::Match,
    },
    shed,
    sockets::known,
    task_id::TaskId,
    tcp, wakes,
};
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use retrospan_formats::event::{Call, Kind, Record, flags};

/// Most buffers of one call that are looked at; what lies beyond is cut.
const MOST_BUFFERS: u64 = 256;

/// Writes the event of one message. `address` is that of the message (or of the data), `seq_and_flags`
/// its sequence number in the upper half. A function of its own for the verifier, which so looks at it
/// once however often it is called; hence the plain arguments.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn emit_data(
    call: *mut InCall,
    address: u64,
    done: u64,
    seq_and_flags: u64,
    errno: u64,
) -> i32 {
    // SAFETY: null or a valid call; the verifier insists on the check.
    let Some(call) = (unsafe { call.as_ref() }) else { return 0 };
    let mut event = event_of(call, done, seq_and_flags, errno);
    let data = &call.data;
    data.first_address.set(address);
    data.first_bytes.set(call.length);
    data.count.set(0);
    data.place.set(place::OUTSIDE);
    data.done.set(done);
    if call.form == form::SPLICE {
        event.flags |= flags::SPLICED;
    } else if call.form != form::BUFFER {
        find_buffers(data, call, address, done);
        if call.form != form::ITERATOR {
            event.asked_bytes = data.asked.get();
        }
    }
    let readable = call.form != form::SPLICE && call.length_only == 0;
    let Some(kept) = settle(call, &mut event, done, readable) else { return 0 };
    if kept.head == 0 {
        write::<0>(call, event, kept);
    } else if kept.head <= 128 {
        write::<128>(call, event, kept);
    } else if kept.head <= 256 {
        write::<256>(call, event, kept);
    } else if kept.head <= 512 {
        write::<512>(call, event, kept);
    } else if kept.head <= 1024 {
        write::<1024>(call, event, kept);
    } else {
        write::<SNAP>(call, event, kept);
    }
    put_head(call);
    0
}

/// The event of data of which no more than its length is known: [`emit_data`] without what that needs for the bytes.
#[inline(always)]
pub fn emit_length(call: &InCall, done: u64, seq_and_flags: u64, errno: u64) {
    if call.nature == nature::DATAGRAMS {
        return;
    }
    let mut event = event_of(call, done, seq_and_flags, errno);
    event.flags |= flags::SPLICED;
    call.data.place.set(place::OUTSIDE);
    call.data.done.set(done);
    if let Some(kept) = settle(call, &mut event, done, false) {
        write::<0>(call, event, kept);
        put_head(call);
    }
}

#[inline(always)]
fn event_of(call: &InCall, done: u64, seq_and_flags: u64, errno: u64) -> Call {
    Call {
        socket_id: call.socket_id,
        duration_ns: 0,
        asked_bytes: call.length,
        done_bytes: done,
        arrived_wall_ns: call.data.done.get(),
        tcp_seq: (seq_and_flags >> 32) as u32,
        flags: seq_and_flags as u32,
        errno: errno as u16,
        more_records: 0,
        head_bytes: 0,
        tail_bytes: 0,
    }
}

/// Moves what is remembered of the socket on by this data, and says what of it is kept; `None` where there is to be no event.
#[inline(always)]
fn settle(call: &InCall, event: &mut Call, done: u64, readable: bool) -> Option<Kept> {
    let nothing = Kept { head: 0, tail: 0 };
    match known(call.sk) {
        Some(entry) if entry.socket_id == call.socket_id => {
            if !entry.is_recorded() {
                return None;
            }
            if done == 0 {
                return Some(nothing);
            }
            if shed::leaves_out_data(entry, call.sk) {
                entry.head_place = [0; 2];
                return None;
            }
            let kept = plan(entry, call.kind, &call.data, done, readable, &mut event.flags);
            tcp::sample(entry, call.sk, call.enter_ns);
            Some(kept)
        }
        // The socket ended while the call did: there is nothing to keep its turns in any more.
        _ => {
            if call.recorded == 0 {
                return None;
            }
            if done != 0 {
                event.flags |= flags::LENGTH_ONLY;
            }
            Some(nothing)
        }
    }
}

/// Finds the buffers of a vector or message, and in them the place where the tail begins.
#[inline(always)]
pub fn find_buffers(data: &Data, call: &InCall, address: u64, done: u64) {
    let vector = if call.form == form::VECTOR {
        Buffer { address, bytes: call.length }
    } else if config!(sockets) != 0 && call.form == form::ITERATOR {
        Buffer { address, bytes: data.pieces() }
    } else {
        // `struct msghdr`: msg_iov and msg_iovlen follow the name and its length.
        let [vector] = read_buffers(data, address + 16).unwrap_or([Buffer { address: 0, bytes: 0 }]);
        vector
    };
    let skipped = if config!(sockets) != 0 && call.form == form::ITERATOR { data.skipped() } else { 0 };
    if config!(sockets) != 0 && call.form == form::ITERATOR && vector.bytes == 1 {
        let [only] = read_buffers(data, address).unwrap_or([Buffer { address: 0, bytes: 0 }]);
        data.first_address.set(only.address + skipped);
        data.first_bytes.set(only.bytes.saturating_sub(skipped));
        return;
    }
    read_pair(data, vector, skipped);
    data.buffers.set(vector.address);
    data.count.set(vector.bytes);
    data.first_bytes.set(0);
    data.tail_buffer.set(0);
    data.tail_offset.set(0);
    data.asked.set(0);
    let tail_from = done.saturating_sub(TAIL);
    let mut index = 0;
    while index < MOST_BUFFERS {
        if index >= data.count.get() {
            break;
        }
        let Some(buffer) = buffer(data, index) else { break };
        if data.first_bytes.get() == 0 {
            data.first_address.set(buffer.address);
            data.first_bytes.set(buffer.bytes);
        }
        let before = data.asked.get();
        if before <= tail_from {
            data.tail_buffer.set(index);
            data.tail_offset.set(tail_from - before);
        }
        data.asked.set(before + buffer.bytes);
        index += 1;
    }
    if data.first_bytes.get() >= done {
        data.count.set(0);
    }
}

/// Moves the socket's turn and budget on by this data, and says what of it is kept.
#[inline(always)]
fn plan(entry: &mut Entry, kind: u8, data: &Data, done: u64, readable: bool, event_flags: &mut u32) -> Kept {
    let nothing = Kept { head: 0, tail: 0 };
    let snap = config!(snap_bytes);
    let side = usize::from(kind == Kind::Receive as u8);
    let mut budget = if side == 0 { entry.budget[0] } else { entry.budget[1] };
    let turned = entry.direction != kind;
    if turned {
        entry.direction = kind;
        *event_flags |= flags::TURN;
        budget = snap;
    }
    let in_head = take_head(entry, side, data);
    let kept = if !readable {
        *event_flags |= flags::LENGTH_ONLY;
        data.place.set(place::OUTSIDE);
        nothing
    } else if snap == 0 {
        *event_flags |= flags::PAYLOAD_CUT;
        nothing
    } else if shed::leaves_out_heads() {
        *event_flags |= flags::PAYLOAD_CUT;
        data.place.set(place::OUTSIDE);
        nothing
    } else {
        // After a turn, which most heads come with, there is nothing to find out.
        let mut begins = turned;
        if !turned {
            let first = data.first_bytes.get();
            let available = if first < done { first } else { done };
            begins = begins_message(data, data.first_address.get(), available, in_head);
            if begins {
                budget = snap;
            }
        }
        if !begins && !in_head && shed::leaves_out_continuations() {
            *event_flags |= flags::PAYLOAD_CUT;
            budget = 0;
            nothing
        } else {
            keep(done, u64::from(budget), u64::from(config!(short_head_bytes)))
        }
    };
    budget = if done < u64::from(budget) { budget - done as u32 } else { 0 };
    if side == 0 {
        entry.budget[0] = budget;
    } else {
        entry.budget[1] = budget;
    }
    kept
}

/// Takes the place in a message out of the socket's entry, to be put back by [`put_head`] where there is one after this
/// data; whether a head goes on.
#[inline(always)]
fn take_head(entry: &mut Entry, side: usize, data: &Data) -> bool {
    let place = if side == 0 { entry.head_place[0] } else { entry.head_place[1] };
    if u64::from(place) == place::OUTSIDE {
        return false;
    }
    data.place.set(place.into());
    if side == 0 {
        data.left.set(entry.head_left[0].into());
        entry.head_place[0] = 0;
    } else {
        data.left.set(entry.head_left[1].into());
        entry.head_place[1] = 0;
    }
    place::is_in_head(place.into())
}

#[inline(always)]
fn put_head(call: &InCall) {
    let data = &call.data;
    let place = data.place.get();
    if place == place::OUTSIDE {
        return;
    }
    let Some(entry) = known(call.sk).filter(|entry| entry.socket_id == call.socket_id) else { return };
    if call.kind == Kind::Receive as u8 {
        entry.head_place[1] = place as u16;
        entry.head_left[1] = data.left.get() as u16;
    } else {
        entry.head_place[0] = place as u16;
        entry.head_left[0] = data.left.get() as u16;
    }
}

/// Whether the data at this address, which follows data of the same direction, may begin a message; a head begins there,
/// unless one goes on (`in_head`) or chunks do.
#[inline(always)]
fn begins_message(data: &Data, address: u64, available: u64, in_head: bool) -> bool {
    let mut words: heads::Words = [0; LATER_WORDS + 1];
    let bytes = bounded(available, size_of::<heads::Words>() as u64);
    // SAFETY: the helper writes at most as many bytes as there is room for, or zeroes them.
    unsafe { bpf_probe_read_user((&raw mut words).cast(), bytes as u32, address as *const _) };
    let known = heads::match_signature(words[0], available);
    let (place, left) = (data.place.get(), data.left.get());
    let begins = heads::begin_head(&words, data, available, known);
    // A few bytes of a chunk may look like the begin of a method.
    if in_head || (begins == heads::PERHAPS_A_HEAD && place == place::CHUNKS) {
        data.place.set(place);
        data.left.set(left);
    }
    begins != 0 || Match(known) != Match::NONE
}

/// Writes the event with at most `CAP` bytes of head.
#[inline(always)]
fn write<const CAP: u64>(call: &InCall, mut event: Call, kept: Kept) {
    let task_id = call.task_id;
    let room = if CAP == 0 {
        let Some(reservation) =
            reserve::<{ BODY as u64 }>(Record::Call, call.kind, u32::from(call.kind), task_id)
        else {
            return;
        };
        return finish(reservation, call, event, kept);
    } else if call.data.count.get() == 0 {
        reserve_for::<CAP, TAIL>(call.kind, task_id).map(|reservation| {
            let head = copy_one(&reservation, call, kept, CAP);
            event.more_records =
                heads::follow::<CAP>(&reservation, call, event.flags & flags::TURN != 0, head);
            let head = bounded(call.data.head.get(), CAP);
            let tail = tail_of_one(&reservation, call, event.done_bytes, kept, head);
            (reservation, Kept { head, tail })
        })
    } else {
        reserve_for::<CAP, 0>(call.kind, task_id).map(|reservation| {
            let (head, is_cut) = copy_many(&reservation, &call.data, kept, CAP);
            event.more_records =
                heads::follow::<CAP>(&reservation, call, event.flags & flags::TURN != 0, head);
            let head = bounded(call.data.head.get(), CAP);
            let tail = if is_cut { 0 } else { tail_of_many(&reservation, &call.data, kept, head) };
            (reservation, Kept { head, tail })
        })
    };
    match room {
        Some((reservation, copied)) => finish(reservation, call, event, copied),
        // What was lost may hold the end of the head.
        None => call.data.place.set(place::OUTSIDE),
    }
}

/// Room for an event with `CAP` bytes of head and behind it `MORE` bytes, or, where that is 0, a step of copying.
#[inline(always)]
fn reserve_for<const CAP: u64, const MORE: u64>(kind: u8, task_id: TaskId) -> Option<Reservation> {
    let counter = u32::from(kind);
    match (CAP, MORE) {
        (128, TAIL) => reserve::<{ BODY as u64 + 128 + TAIL }>(Record::Call, kind, counter, task_id),
        (128, _) => reserve::<{ BODY as u64 + 128 + step_bytes(128) }>(Record::Call, kind, counter, task_id),
        (256, TAIL) => reserve::<{ BODY as u64 + 256 + TAIL }>(Record::Call, kind, counter, task_id),
        (256, _) => reserve::<{ BODY as u64 + 256 + step_bytes(256) }>(Record::Call, kind, counter, task_id),
        (512, TAIL) => reserve::<{ BODY as u64 + 512 + TAIL }>(Record::Call, kind, counter, task_id),
        (512, _) => reserve::<{ BODY as u64 + 512 + step_bytes(512) }>(Record::Call, kind, counter, task_id),
        (1024, TAIL) => reserve::<{ BODY as u64 + 1024 + TAIL }>(Record::Call, kind, counter, task_id),
        (1024, _) => {
            reserve::<{ BODY as u64 + 1024 + step_bytes(1024) }>(Record::Call, kind, counter, task_id)
        }
        (_, TAIL) => reserve::<{ BODY as u64 + SNAP + TAIL }>(Record::Call, kind, counter, task_id),
        (_, _) => reserve::<{ BODY as u64 + SNAP + step_bytes(SNAP) }>(Record::Call, kind, counter, task_id),
    }
}

/// Copies `bytes` of the caller's memory to `at` behind the call in the record.
#[inline(always)]
fn copy(reservation: &Reservation, at: u64, bytes: u64, address: u64) -> bool {
    copy_at(reservation, BODY + at as usize, bytes, address)
}

/// Copies `bytes` of the caller's memory to `at` in the record.
#[inline(always)]
pub fn copy_at(reservation: &Reservation, at: usize, bytes: u64, address: u64) -> bool {
    // SAFETY: the verifier checks that the bytes lie within the record.
    unsafe { bpf_probe_read_user(reservation.at.add(at).cast(), bytes as u32, address as *const _) == 0 }
}

/// A number of which the verifier knows no more than that it is at most `most`. Those before 6.2 follow paths on which what
/// they know of it cannot be, and none looks twice at what comes after two of which it knows the same.
#[inline(always)]
fn forgotten(data: &Data, number: u64, most: u64) -> u64 {
    data.head.set(number);
    bounded(data.head.get(), most)
}

/// Copies the head of data in one buffer; returns how many bytes, all or none.
#[inline(always)]
fn copy_one(reservation: &Reservation, call: &InCall, kept: Kept, cap: u64) -> u64 {
    let head = forgotten(&call.data, kept.head, cap);
    if copy(reservation, 0, head, call.data.first_address.get()) { head } else { 0 }
}

#[inline(always)]
fn tail_of_one(reservation: &Reservation, call: &InCall, done: u64, kept: Kept, head: u64) -> u64 {
    if kept.tail == 0 || head == 0 {
        return 0;
    }
    let address = call.data.first_address.get();
    if copy(reservation, head, TAIL, address + done - TAIL) { TAIL } else { 0 }
}

/// Copies the head of data in several buffers; returns how many bytes, and whether those are fewer than wanted.
#[inline(always)]
fn copy_many(reservation: &Reservation, data: &Data, kept: Kept, cap: u64) -> (u64, bool) {
    data.buffer.set(0);
    data.offset.set(0);
    // SAFETY: the room is that of `reserve_for`, and the function that of its size.
    unsafe {
        let target = reservation.at.add(BODY);
        match cap {
            128 => gather_128(target.cast(), data, kept.head),
            256 => gather_256(target.cast(), data, kept.head),
            512 => gather_512(target.cast(), data, kept.head),
            1024 => gather_1024(target.cast(), data, kept.head),
            _ => gather_4096(target.cast(), data, kept.head),
        };
    }
    // Compared first and bounded afterwards: what the compiler knows to be equal it takes from either.
    let copied = data.copied.get();
    let is_cut = copied != kept.head;
    (bounded(copied, cap), is_cut)
}

#[inline(always)]
fn tail_of_many(reservation: &Reservation, data: &Data, kept: Kept, head: u64) -> u64 {
    if kept.tail == 0 {
        return 0;
    }
    data.buffer.set(data.tail_buffer.get());
    data.offset.set(data.tail_offset.get());
    // SAFETY: behind at most `cap` bytes of head there is room for a step.
    unsafe { gather_tail(reservation.at.add(BODY + head as usize).cast(), data) };
    if data.copied.get() == TAIL { TAIL } else { 0 }
}

/// Completes the event with what was copied.
#[inline(always)]
fn finish(reservation: Reservation, call: &InCall, mut event: Call, copied: Kept) {
    event.duration_ns = reservation.boot_ns - call.enter_ns;
    if event.done_bytes != 0 && event.flags & flags::LENGTH_ONLY == 0 {
        if copied.head == 0 && config!(snap_bytes) != 0 {
            event.flags |= flags::LENGTH_ONLY;
        } else if copied.head + copied.tail < event.done_bytes {
            event.flags |= flags::PAYLOAD_CUT;
        }
    }
    if copied.tail != 0 {
        event.flags |= flags::PAYLOAD_TAIL;
    }
    event.head_bytes = copied.head as u16;
    event.tail_bytes = copied.tail as u16;
    if config!(wakes) != 0 && event.done_bytes != 0 {
        if call.kind == Kind::Receive as u8 {
            wakes::received(call.task_id.tid, reservation.boot_ns);
        } else if call.recorded & WITHIN_TLS == 0 {
            wakes::tell(call.task_id, reservation.boot_ns);
        }
    }
    // SAFETY: every room for a call has space for both.
    unsafe { reservation.put(HEADER, event) };
    reservation.submit((BODY as u64 + copied.head + copied.tail) as u32);
}

//! What TCP does on watched sockets outside of system calls: segments sent again, resets, and samples of
//! the round-trip time.

use crate::{
    kernel::{Sk, config, probe},
    maps::{CLOSED, Entry, IS_TCP},
    ring::{HEADER, now_ns, reserve},
    sockets::known,
    task_id::TaskId,
};
use aya_ebpf::helpers::generated::bpf_jiffies64;
use core::mem::size_of;
use retrospan_formats::event::{Flow, Record, Tcp, TcpKind, loss};

/// Least time between two looks at one socket's round-trip time, in units of 2^20 ns: one second.
const SAMPLE_PAUSE: u32 = 954;
/// A round-trip time that stays as it was is written down after this at the latest, in the same units: ten seconds.
const STILL_PAUSE: u32 = 9537;
/// What changes less than this, us, or by less than half, stays as it was.
const CHANGE_US: u32 = 500;

const NOTHING: Tcp =
    Tcp { socket_id: 0, tcp_seq: 0, bytes: 0, rtt_us: 0, rttvar_us: 0, state: 0, reserved: [0; 7] };

/// `tcp_retransmit_skb(sk, skb)`.
#[inline(always)]
pub fn sent_again(sk: Sk, skb: u64) {
    let Some(entry) = known(sk.0) else { return };
    if !entry.is_recorded() || entry.flags & CLOSED != 0 {
        return;
    }
    let seq: u32 = probe(skb, config!(offsets.skb_seq));
    let end: u32 = probe(skb, config!(offsets.skb_end_seq));
    let tcp = Tcp { tcp_seq: seq, bytes: end.wrapping_sub(seq), ..NOTHING };
    emit(TcpKind::Retransmit, entry.socket_id, sk, tcp);
}

/// `tcp_send_reset(sk, skb)` and `tcp_receive_reset(sk)`. A reset is often sent after the step to CLOSE.
#[inline(always)]
pub fn reset(kind: TcpKind, sk: Sk) {
    if sk.0 == 0 {
        return;
    }
    if let Some(entry) = known(sk.0)
        && entry.is_recorded()
    {
        emit(kind, entry.socket_id, sk, NOTHING);
    }
}

/// A process asks a listening socket for a connection: what was dropped since it did so last, for want of room in the listen queue.
/// A function of its own: it is only for accept.
#[inline(never)]
pub fn listens(entry: &mut Entry, sk: u64) {
    if config!(tcp) == 0 || entry.flags & IS_TCP == 0 {
        return;
    }
    // In units of 2^20 ns, as good as 1 ms.
    let now = (now_ns() >> 20) as u32;
    let (before, sampled) = (entry.written, entry.sampled);
    let drops: u32 = probe(sk, config!(offsets.sk_drops));
    let more = drops.wrapping_sub(before);
    entry.sampled = now;
    // Another thread may have looked meanwhile, and seen more.
    if sampled != 0 && more as i32 <= 0 {
        return;
    }
    entry.written = drops;
    if sampled != 0 {
        let since = now.wrapping_sub(sampled);
        let since = if since as i32 > 0 { since } else { 0 };
        emit(
            TcpKind::ListenDrop,
            entry.socket_id,
            Sk(sk),
            Tcp { tcp_seq: drops, bytes: more, rtt_us: since, ..NOTHING },
        );
    }
}

/// Takes a sample where data has been moved, unless the socket's last one is younger than a second or still holds.
#[inline(always)]
pub fn sample(entry: &mut Entry, sk: u64, now_ns: u64) {
    if config!(tcp) == 0 || entry.flags & IS_TCP == 0 {
        return;
    }
    let now = (now_ns >> 20) as u32;
    if entry.sampled != 0 && now.wrapping_sub(entry.sampled) < SAMPLE_PAUSE {
        return;
    }
    entry.sampled = now;
    write_sample(entry, sk, now);
}

/// A function of its own: it runs once a second and socket, and must not make the way of the others longer.
#[inline(never)]
fn write_sample(entry: &mut Entry, sk: u64, now: u32) {
    // The kernel keeps eight times the time, and four times its deviation.
    let rtt_us = probe::<u32>(sk, config!(offsets.tcp_srtt_us)) >> 3;
    if rtt_us == 0 {
        return;
    }
    let before_us = entry.rtt_us;
    let change_us = if rtt_us > before_us { rtt_us - before_us } else { before_us - rtt_us };
    let still = change_us < CHANGE_US || change_us < before_us / 2;
    if entry.written != 0 && still && now.wrapping_sub(entry.written) < STILL_PAUSE {
        return;
    }
    if entry.written != 0 {
        flow(entry.socket_id, Sk(sk), false);
    }
    entry.written = now;
    entry.rtt_us = rtt_us;
    let deviation: u32 = probe(sk, config!(offsets.tcp_mdev_us));
    emit(TcpKind::Rtt, entry.socket_id, Sk(sk), Tcp { rtt_us, rttvar_us: deviation >> 2, ..NOTHING });
}

/// Writes down what the kernel counted on the socket of a connection: now and then while it moves data, and at its end.
/// A function of its own, for it is rare and long.
#[inline(never)]
pub fn flow(socket_id: u64, sk: Sk, end: bool) {
    const BYTES: u64 = (HEADER + size_of::<Flow>()) as u64;
    let Some(reservation) = reserve::<BYTES>(Record::Flow, 0, loss::FLOW, TaskId::UNKNOWN) else {
        return;
    };
    let with: u8 = probe(sk.0, config!(offsets.tcp_chrono_type));
    let stat = |index: u32| probe(sk.0, config!(offsets.tcp_chrono_stat) + 4 * index);
    let flow = Flow {
        socket_id,
        sent_bytes: probe(sk.0, config!(offsets.tcp_bytes_sent)),
        again_bytes: probe(sk.0, config!(offsets.tcp_bytes_retrans)),
        received_bytes: probe(sk.0, config!(offsets.tcp_bytes_received)),
        // SAFETY: no arguments.
        ticks: unsafe { bpf_jiffies64() },
        sent_segments: probe(sk.0, config!(offsets.tcp_segs_out)),
        received_segments: probe(sk.0, config!(offsets.tcp_segs_in)),
        again_segments: probe(sk.0, config!(offsets.tcp_total_retrans)),
        rtt_us: probe::<u32>(sk.0, config!(offsets.tcp_srtt_us)) >> 3,
        min_rtt_us: probe(sk.0, config!(offsets.tcp_rtt_min)),
        busy_ticks: [stat(0), stat(1), stat(2)],
        busy_since: probe(sk.0, config!(offsets.tcp_chrono_start)),
        busy_with: with >> (config!(offsets.tcp_chrono_type_bit) & 7) & 3,
        state: sk.state(),
        end: u8::from(end),
        reserved: 0,
    };
    // SAFETY: BYTES is the sum of both.
    unsafe { reservation.put(HEADER, flow) };
    reservation.submit(BYTES as u32);
}

#[inline(always)]
fn emit(kind: TcpKind, socket_id: u64, sk: Sk, tcp: Tcp) {
    const BYTES: u64 = (HEADER + size_of::<Tcp>()) as u64;
    let Some(reservation) = reserve::<BYTES>(Record::Tcp, kind as u8, kind as u32, TaskId::UNKNOWN) else {
        return;
    };
    // SAFETY: BYTES is the sum of both.
    unsafe { reservation.put(HEADER, Tcp { socket_id, state: sk.state(), ..tcp }) };
    reservation.submit(BYTES as u32);
}

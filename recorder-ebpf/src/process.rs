//! Processes: born, changed, ended. For all processes of the host, since names and causes need them.

use crate::{
    filter::{Matches, owner_answer},
    kernel::{config, current_task, field, probe},
    maps::{JUDGEMENTS, Judgement, PROGRAMS, WATCHED},
    ring::{HEADER, Reservation, bounded, now_ns, reserve},
    task_id::TaskId,
    threads, tls, unix_close, wakes,
};
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str,
};
use core::mem::size_of;
use retrospan_formats::config::watched;
use retrospan_formats::event::{ARGV_BYTES, EXE_BYTES, Process, Record, life, loss};

const BODY: usize = HEADER + size_of::<Process>();

#[inline(always)]
fn describe(task: *const u8, what: u8) -> Process {
    // SAFETY: `task` is a pointer the verifier can follow.
    let (leader, parent): (u64, u64) = unsafe {
        (field(task, config!(offsets.task_group_leader)), field(task, config!(offsets.task_real_parent)))
    };
    Process {
        start_boot_ns: probe(leader, config!(offsets.task_start_boottime)),
        // SAFETY: no arguments.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        parent_pid: probe(parent, config!(offsets.task_tgid)),
        exit_code: if what == life::EXIT { probe(leader, config!(offsets.task_exit_code)) } else { 0 },
        comm: probe(leader, config!(offsets.task_comm)),
        what,
        reserved: [0; 3],
        exe_bytes: 0,
        argv_bytes: 0,
    }
}

#[inline(always)]
fn emit(process: Process, task_id: TaskId) {
    if let Some(reservation) = reserve::<{ BODY as u64 }>(Record::Process, 0, loss::PROCESS, task_id) {
        // SAFETY: the room is as long as both.
        unsafe { reservation.put(HEADER, process) };
        reservation.submit(BODY as u32);
    }
}

/// `sched_process_fork(parent, child)`.
#[inline(always)]
pub fn forked(parent: *const u8, child: *const u8) {
    let TaskId { pid, tid } = TaskId::of(child);
    if config!(wakes) != 0 {
        wakes::created(TaskId::of(parent), TaskId { pid, tid });
    }
    if pid != tid {
        return;
    }
    let parent_pid = TaskId::of(parent).pid;
    let process = Process { parent_pid, ..describe(child, life::FORK) };
    inherit(parent_pid, pid, process.start_boot_ns);
    emit(process, TaskId { pid, tid: pid });
}

/// What the filters by process say of a new process: what they say of its parent.
#[inline(always)]
fn inherit(parent_pid: u32, pid: u32, began_ns: u64) {
    if config!(filters.by_process) == 0 {
        return;
    }
    if let Some(bits) = WATCHED.get_ptr(parent_pid) {
        // SAFETY: values of a preallocated map stay readable memory.
        let bits = unsafe { *bits } & !watched::ALONE;
        if bits != 0 {
            let _ = WATCHED.insert(pid, bits, 0);
        }
    }
    if config!(filters.judged) == 0 {
        return;
    }
    let _ = PROGRAMS.insert(pid, began_ns, 0);
    let matches = owner_answer(u64::from(parent_pid), u64::MAX);
    if matches == Matches::Perhaps as u64 {
        let _ = JUDGEMENTS.remove(pid);
    } else {
        let _ = JUDGEMENTS.insert(pid, Judgement { began_ns, matches }, 0);
    }
}

/// What user space said of a process was said of another program, or of another place.
#[inline(always)]
fn changes_program(pid: u32, began_ns: u64) {
    if config!(filters.judged) != 0 {
        let _ = PROGRAMS.insert(pid, began_ns, 0);
    }
}

/// `sched_process_exec(task, old tid, binprm)`, in the process that changed.
#[inline(always)]
pub fn executed(old_tid: u32, program: *const u8) {
    let task = current_task();
    let task_id = TaskId::of(task);
    // A thread that is not the leader takes the leader's id, and nobody ends under its own.
    if old_tid != task_id.tid {
        threads::forget(old_tid);
        tls::forget_thread(old_tid);
    }
    const BYTES: u64 = (BODY + EXE_BYTES + ARGV_BYTES) as u64;
    let Some(reservation) = reserve::<BYTES>(Record::Process, 0, loss::PROCESS, task_id) else {
        changes_program(task_id.pid, now_ns());
        return;
    };
    changes_program(task_id.pid, reservation.boot_ns);
    let mut process = describe(task, life::EXEC);
    // SAFETY: both pointers are ones the verifier can follow.
    let (filename, mm): (u64, u64) =
        unsafe { (field(program, config!(offsets.bprm_filename)), field(task, config!(offsets.task_mm))) };
    // SAFETY: the helper writes at most EXE_BYTES bytes into the record.
    let exe = unsafe {
        bpf_probe_read_kernel_str(reservation.at.add(BODY).cast(), EXE_BYTES as u32, filename as *const _)
    };
    let exe = bounded(if exe > 0 { exe as u64 } else { 0 }, EXE_BYTES as u64);
    let argv = arguments(&reservation, exe, mm);
    process.exe_bytes = exe as u16;
    process.argv_bytes = argv as u16;
    // SAFETY: the room is as long as both.
    unsafe { reservation.put(HEADER, process) };
    reservation.submit((BODY as u64 + exe + argv) as u32);
}

/// Copies the arguments, or only the first where the others are not to be read at all.
#[inline(always)]
fn arguments(reservation: &Reservation, at: u64, mm: u64) -> u64 {
    let from: u64 = probe(mm, config!(offsets.mm_arg_start));
    let to: u64 = probe(mm, config!(offsets.mm_arg_end));
    if from == 0 || to <= from {
        return 0;
    }
    let most = ARGV_BYTES as u64;
    // SAFETY: at most EXE_BYTES behind the body, and ARGV_BYTES from there.
    unsafe {
        let target = reservation.at.add(BODY + at as usize);
        if config!(read_argv) == 0 {
            let bytes = bpf_probe_read_user_str(target.cast(), most as u32, from as *const _);
            return bounded(if bytes > 0 { bytes as u64 } else { 0 }, most);
        }
        let bytes = bounded(to - from, most);
        if bpf_probe_read_user(target.cast(), bytes as u32, from as *const _) == 0 { bytes } else { 0 }
    }
}

/// `task_rename(task, name)`, before the task has the name.
#[inline(always)]
pub fn renamed(task: *const u8, name: u64) {
    let TaskId { pid, tid } = TaskId::of(task);
    if pid != tid {
        return;
    }
    let mut comm = [0_u8; 16];
    // SAFETY: the helper writes at most as many bytes as there are, a NUL last.
    unsafe { bpf_probe_read_kernel_str(comm.as_mut_ptr().cast(), comm.len() as u32, name as *const _) };
    emit(Process { comm, ..describe(task, life::RENAME) }, TaskId { pid, tid });
}

/// `cgroup_attach_task(cgroup, path, task)`, in whoever moves the process.
#[inline(always)]
pub fn moved(path: u64, task: *const u8) {
    let TaskId { pid, .. } = TaskId::of(task);
    let task_id = TaskId { pid, tid: pid };
    const BYTES: u64 = (BODY + EXE_BYTES) as u64;
    let Some(reservation) = reserve::<BYTES>(Record::Process, 0, loss::PROCESS, task_id) else {
        changes_program(pid, now_ns());
        return;
    };
    changes_program(pid, reservation.boot_ns);
    // SAFETY: the helper writes at most EXE_BYTES bytes into the record.
    let read = unsafe {
        bpf_probe_read_kernel_str(reservation.at.add(BODY).cast(), EXE_BYTES as u32, path as *const _)
    };
    let read = bounded(if read > 0 { read as u64 } else { 0 }, EXE_BYTES as u64);
    // The current process is in another cgroup.
    let process = Process { cgroup_id: 0, exe_bytes: read as u16, ..describe(task, life::MOVED) };
    // SAFETY: the room is as long as both.
    unsafe { reservation.put(HEADER, process) };
    reservation.submit((BODY as u64 + read) as u32);
}

/// `sched_process_exit(task)`, in the thread that ends.
#[inline(always)]
pub fn exited() {
    let task = current_task();
    let task_id = TaskId::of(task);
    threads::forget(task_id.tid);
    tls::forget_thread(task_id.tid);
    // SAFETY: `task` is a pointer the verifier can follow.
    let signal: u64 = unsafe { field(task, config!(offsets.task_signal)) };
    let alive: u32 = probe(signal, config!(offsets.signal_live));
    if alive != 0 {
        return;
    }
    unix_close::process_ends(task);
    if config!(filters.by_process) != 0 {
        let _ = WATCHED.remove(task_id.pid);
    }
    if config!(filters.judged) != 0 {
        let _ = PROGRAMS.remove(task_id.pid);
        let _ = JUDGEMENTS.remove(task_id.pid);
    }
    emit(describe(task, life::EXIT), TaskId { pid: task_id.pid, tid: task_id.pid });
}

//! Which sockets are recorded: decided once for each, as soon as the facts are there.

use crate::{
    kernel::{Sk, TCP_LISTEN, config, config_place, configured, current_task, field, number, probe},
    maps::{
        Entry, IGNORED, JUDGEMENTS, LISTENING, MAYBE, PERHAPS, PROCESS_MATCHES, PROGRAMS, RECORDED, UNIX,
        WATCHED,
    },
    rules::{
        answer::Answer,
        ports::is_dns,
        socket::{Ends, Facts, Rules, is_excluded, is_included, is_on_side, is_sampled},
    },
};
use retrospan_formats::{
    config::{MAX_COMMS, Net, PortRange, SocketRules, side, watched},
    event::role,
};

/// What the filters by process say of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Matches {
    No = 0,
    Yes = 1,
    /// User space has not told yet: what its sockets do is recorded until it does.
    Perhaps = 2,
}

impl Matches {
    #[inline(always)]
    fn of(number: u64) -> Matches {
        match number {
            0 => Matches::No,
            1 => Matches::Yes,
            _ => Matches::Perhaps,
        }
    }
}

/// Whether the filters by process let this task's process through.
#[inline(always)]
pub fn process_matches(task: *const u8, tgid: u32) -> Matches {
    if tgid == config!(own_pid) {
        return Matches::No;
    }
    if config!(filters.by_process) == 0 {
        return Matches::Yes;
    }
    // SAFETY: `task` is a pointer the verifier can follow.
    let leader: *const u8 = unsafe { field(task, config!(offsets.task_group_leader)) };
    Matches::of(process_answer(number(leader), u64::from(tgid)))
}

/// A [`Matches`]. A function of its own for the verifier, which so looks at it once and not at every place where a socket is decided.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn process_answer(leader: u64, tgid: u64) -> u64 {
    let mut bits = 0;
    if let Some(found) = WATCHED.get_ptr(tgid as u32) {
        // SAFETY: values of a preallocated map stay readable memory.
        bits = unsafe { *found };
    }
    if bits & watched::EXCLUDED != 0 {
        return Matches::No as u64;
    }
    if config!(filter_pids) != 0 && bits & (watched::WITH_CHILDREN | watched::ALONE) == 0 {
        return Matches::No as u64;
    }
    let (names, excluded) = (config!(comm_count), config!(filters.excluded_comm_count));
    if names != 0 || excluded != 0 {
        let name: [u32; 4] = probe(leader, config!(offsets.task_comm));
        if names != 0 && !is_one_of(name, names, |index| (&raw const config_place().comms[index]).cast()) {
            return Matches::No as u64;
        }
        let excluded_at = |index: usize| (&raw const config_place().filters.excluded_comms[index]).cast();
        if excluded != 0 && is_one_of(name, excluded, excluded_at) {
            return Matches::No as u64;
        }
    }
    if config!(filters.judged) == 0 {
        return Matches::Yes as u64;
    }
    judgement(tgid, u64::MAX)
}

/// Whether a name is one of the first `used`: each 16 bytes of the configuration, at a multiple of 4 from its start.
#[inline(always)]
fn is_one_of(name: [u32; 4], used: u32, name_at: impl Fn(usize) -> *const [u32; 4]) -> bool {
    let mut index = 0;
    while index < MAX_COMMS {
        if index < used as usize {
            let wanted = configured(name_at(index));
            if name[0] == wanted[0] && name[1] == wanted[1] && name[2] == wanted[2] && name[3] == wanted[3] {
                return true;
            }
        }
        index += 1;
    }
    false
}

/// What user space has told of the program that a process runs, if it ran it at that time: a [`Matches`].
#[inline(always)]
fn judgement(tgid: u64, at_ns: u64) -> u64 {
    let mut began_ns = 0;
    if let Some(found) = PROGRAMS.get_ptr(tgid as u32) {
        // SAFETY: values of a preallocated map stay readable memory.
        began_ns = unsafe { *found };
    }
    if began_ns > at_ns {
        return Matches::Perhaps as u64;
    }
    let Some(found) = JUDGEMENTS.get_ptr(tgid as u32) else { return Matches::Perhaps as u64 };
    // SAFETY: as above.
    let found = unsafe { *found };
    if found.began_ns == began_ns { found.matches & 1 } else { Matches::Perhaps as u64 }
}

/// The same for a socket that is recorded until it is told.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn owner_answer(tgid: u64, at_ns: u64) -> u64 {
    judgement(tgid, at_ns)
}

/// A set of rules of the configuration.
struct Configured(*const SocketRules);

impl Configured {
    #[inline(always)]
    fn place(&self) -> &SocketRules {
        // SAFETY: a place in a static, of which only addresses are taken here.
        unsafe { &*self.0 }
    }
}

impl Rules for Configured {
    #[inline(always)]
    fn ranges(&self, of: Ends) -> u32 {
        configured(match of {
            Ends::Either => &raw const self.place().either.used,
            Ends::Local => &raw const self.place().local.used,
            Ends::Remote => &raw const self.place().remote.used,
        })
    }
    #[inline(always)]
    fn range(&self, of: Ends, index: usize) -> PortRange {
        let ranges = match of {
            Ends::Either => &raw const self.place().either,
            Ends::Local => &raw const self.place().local,
            Ends::Remote => &raw const self.place().remote,
        };
        // SAFETY: a place in a static; callers keep to the length of the list.
        let range = unsafe { (&raw const (*ranges).ranges).cast::<PortRange>().add(index) };
        // SAFETY: as above.
        unsafe {
            PortRange {
                first: configured(&raw const (*range).first),
                last: configured(&raw const (*range).last),
            }
        }
    }
    #[inline(always)]
    fn nets(&self) -> u32 {
        configured(&raw const self.place().nets.used)
    }
    #[inline(always)]
    fn net(&self, index: usize) -> Net {
        // SAFETY: a place in a static; callers keep to the length of the list.
        unsafe {
            let net = (&raw const self.place().nets.nets).cast::<Net>().add(index);
            Net { address: configured(&raw const (*net).address), mask: configured(&raw const (*net).mask) }
        }
    }
    #[inline(always)]
    fn namespaces(&self) -> u32 {
        configured(&raw const self.place().netns.used)
    }
    #[inline(always)]
    fn namespace(&self, index: usize) -> u32 {
        // SAFETY: a place in a static; callers keep to the length of the list.
        configured(unsafe { (&raw const self.place().netns.inodes).cast::<u32>().add(index) })
    }
}

/// What the filters that look at the socket alone say of it: an [`Answer`]. A function of its own for the same reason.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn socket_answer(sk: u64, role: u64) -> u64 {
    let sk = Sk(sk);
    let mut facts = Facts {
        listens: sk.state() == TCP_LISTEN,
        local: (sk.local_address(), sk.local_port()),
        remote: (sk.remote_address(), sk.remote_port()),
        netns: sk.netns(),
        side: side::ANY,
    };
    let wanted = config!(filters.side);
    if wanted != side::ANY {
        facts.side = side_of(role as u8, &facts);
    }
    let include = Configured(&raw const config_place().filters.include);
    let exclude = Configured(&raw const config_place().filters.exclude);
    let answer = is_on_side(wanted, &facts).and(is_included(&include, &facts));
    if answer == Answer::No {
        return Answer::No as u64;
    }
    let answer = answer.and(is_excluded(&exclude, &facts).not());
    if answer == Answer::No {
        return Answer::No as u64;
    }
    answer.and(is_sampled(config!(filters.sample), &facts)) as u64
}

/// Which side the socket is on. One that was open before is the server's where something listened on its port.
#[inline(always)]
fn side_of(role: u8, facts: &Facts) -> u32 {
    if facts.listens || role == role::SERVER || role == role::LISTENER {
        return side::SERVER;
    }
    if role == role::CLIENT {
        return side::CLIENT;
    }
    let key = u64::from(facts.netns) << 16 | u64::from(facts.local.1);
    if LISTENING.get_ptr(key).is_some() { side::SERVER } else { side::CLIENT }
}

/// Decides an undecided socket as far as it can be: `process` is what the filters by process say of
/// the one that uses it, `None` where that is not known (a soft interrupt).
#[inline(always)]
pub fn decide(entry: &mut Entry, sk: Sk, process: Option<Matches>) {
    if entry.is_decided() {
        return;
    }
    if entry.verdict == PERHAPS {
        return follow_owner(entry);
    }
    match process {
        Some(Matches::Yes) => entry.flags = (entry.flags | PROCESS_MATCHES) & !MAYBE,
        Some(Matches::Perhaps) if entry.flags & PROCESS_MATCHES == 0 => {
            entry.flags |= PROCESS_MATCHES | MAYBE
        }
        Some(Matches::No) if entry.flags & PROCESS_MATCHES == 0 || entry.flags & MAYBE != 0 => {
            entry.verdict = IGNORED;
            return;
        }
        None if config!(filters.by_process) == 0 => entry.flags |= PROCESS_MATCHES,
        _ => {}
    }
    let answer = if config!(filters.by_socket) == 0 {
        Answer::Yes as u64
    } else {
        socket_answer(sk.0, u64::from(entry.role))
    };
    if answer == Answer::No as u64 {
        entry.verdict = IGNORED;
    } else if answer == Answer::Yes as u64 && entry.flags & PROCESS_MATCHES != 0 {
        entry.verdict = if entry.flags & MAYBE != 0 { PERHAPS } else { RECORDED };
    }
}

/// Decides an undecided socket in a system call of the process that uses it.
#[inline(always)]
pub fn decide_in(entry: &mut Entry, sk: Sk, tgid: u32) {
    if !entry.is_decided() {
        let matches = process_matches(current_task(), tgid);
        decide(entry, sk, Some(matches));
    }
}

/// A set of rules as far as it can be asked of sockets that have neither ports nor addresses.
struct Portless(Configured);

impl Rules for Portless {
    #[inline(always)]
    fn ranges(&self, _of: Ends) -> u32 {
        0
    }
    #[inline(always)]
    fn range(&self, of: Ends, index: usize) -> PortRange {
        self.0.range(of, index)
    }
    #[inline(always)]
    fn nets(&self) -> u32 {
        0
    }
    #[inline(always)]
    fn net(&self, index: usize) -> Net {
        self.0.net(index)
    }
    #[inline(always)]
    fn namespaces(&self) -> u32 {
        self.0.namespaces()
    }
    #[inline(always)]
    fn namespace(&self, index: usize) -> u32 {
        self.0.namespace(index)
    }
}

/// Whether only sockets with certain ports or addresses are recorded.
#[inline(always)]
pub fn has_socket_filter() -> bool {
    config!(filters.include.either.used)
        | config!(filters.include.local.used)
        | config!(filters.include.remote.used)
        | config!(filters.include.nets.used)
        != 0
}

/// What the filters that look at the socket alone say of a Unix socket: an [`Answer`]. All of those are in a sample.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn portless_answer(sk: u64, role: u64) -> u64 {
    let nothing = ([0; 4], 0);
    let mut facts =
        Facts { listens: false, local: nothing, remote: nothing, netns: Sk(sk).netns(), side: side::ANY };
    let wanted = config!(filters.side);
    if wanted != side::ANY {
        facts.side = side_of(role as u8, &facts);
    }
    let include = Portless(Configured(&raw const config_place().filters.include));
    let exclude = Portless(Configured(&raw const config_place().filters.exclude));
    let answer = is_on_side(wanted, &facts).and(is_included(&include, &facts));
    answer.and(is_excluded(&exclude, &facts).not()) as u64
}

/// What they say of datagrams between a UDP socket and that port, 0 where it is not known: an [`Answer`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn datagram_answer(sk: u64, remote_port: u64) -> u64 {
    if config!(filters.by_socket) == 0 {
        return Answer::Yes as u64;
    }
    let sk = Sk(sk);
    let mut facts = Facts {
        listens: false,
        local: (sk.local_address(), sk.local_port()),
        remote: (sk.remote_address(), remote_port as u16),
        netns: sk.netns(),
        side: side::ANY,
    };
    let wanted = config!(filters.side);
    if wanted != side::ANY {
        facts.side = if is_dns(facts.local.1) { side::SERVER } else { side::CLIENT };
    }
    let include = Configured(&raw const config_place().filters.include);
    let exclude = Configured(&raw const config_place().filters.exclude);
    let answer = is_on_side(wanted, &facts).and(is_included(&include, &facts));
    let answer = answer.and(is_excluded(&exclude, &facts).not());
    answer.and(is_sampled(config!(filters.sample), &facts)) as u64
}

/// Decides about a socket that is none of TCP, by the process that uses it, and of a Unix socket by what else can be asked. Of
/// datagrams each is asked for by itself ([`datagram_answer`]).
#[inline(always)]
pub fn decide_other(entry: &mut Entry, sk: Sk, process: Option<Matches>) {
    entry.verdict = match process {
        Some(Matches::Yes) => RECORDED,
        Some(Matches::Perhaps) => PERHAPS,
        Some(Matches::No) | None => IGNORED,
    };
    if entry.verdict != IGNORED {
        entry.flags |= PROCESS_MATCHES;
    }
    if entry.kind & UNIX != 0
        && config!(filters.by_socket) != 0
        && portless_answer(sk.0, u64::from(entry.role)) != Answer::Yes as u64
    {
        entry.verdict = IGNORED;
    }
}

/// Whether what happens on a socket that is none of TCP is recorded, as far as user space has told by now.
#[inline(always)]
pub fn is_recorded(entry: &mut Entry) -> bool {
    if config!(filters.judged) != 0 && entry.verdict == PERHAPS {
        follow_owner(entry);
    }
    entry.is_recorded()
}

/// Takes over what user space has told of the socket's process.
#[inline(always)]
fn follow_owner(entry: &mut Entry) {
    match Matches::of(owner_answer(u64::from(entry.owner), entry.opened_ns)) {
        Matches::Yes => entry.verdict = RECORDED,
        Matches::No => entry.verdict = IGNORED,
        Matches::Perhaps => {}
    }
}

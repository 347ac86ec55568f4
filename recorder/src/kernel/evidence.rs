//! The programs that record evidence for causes: each optional, and left out with a warning where the
//! kernel does not have or does not take them.

use aya::{Btf as KernelTypes, Ebpf};
use retrospan_formats::config::{Config, Offsets};

use super::Probes;
use super::error::ProbeError;
use super::hooks::Hooked;
use super::stamps::Stamps;
use crate::kernel::btf::{Btf, BtfError};
use crate::text::one_line;

/// Which evidence is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Retransmits, resets and round-trip times.
    pub tcp: bool,
    /// Waits of threads, stopped processes and throttled cgroups.
    pub sched: bool,
    /// CPU time by process.
    pub usage: bool,
    /// Programs started.
    pub execs: bool,
    /// When received data had arrived.
    pub arrivals: bool,
    /// Who woke the threads that send.
    pub wakes: bool,
    /// What the kernel counts by itself.
    pub counters: bool,
}

impl Evidence {
    /// None of it.
    pub const NONE: Evidence = Evidence {
        tcp: false,
        sched: false,
        usage: false,
        execs: false,
        arrivals: false,
        wakes: false,
        counters: false,
    };
    /// All of it.
    pub const ALL: Evidence = Evidence {
        tcp: true,
        sched: true,
        usage: true,
        execs: true,
        arrivals: true,
        wakes: true,
        counters: true,
    };
    /// What is recorded where nothing else is asked for.
    pub const DEFAULT: Evidence = Evidence { wakes: false, ..Evidence::ALL };

    /// A list such as `tcp,sched`, or `none` or `all`.
    pub fn parse(text: &str) -> Result<Evidence, String> {
        if text == "none" {
            return Ok(Evidence::NONE);
        }
        if text == "all" {
            return Ok(Evidence::ALL);
        }
        let mut evidence = Evidence::NONE;
        for word in text.split(',') {
            match word.trim() {
                "tcp" => evidence.tcp = true,
                "sched" => evidence.sched = true,
                "usage" => evidence.usage = true,
                "execs" => evidence.execs = true,
                "arrivals" => evidence.arrivals = true,
                "wakes" => evidence.wakes = true,
                "counters" => evidence.counters = true,
                other => {
                    return Err(format!(
                        "{other:?} is not one of tcp, sched, usage, execs, arrivals, wakes and counters (or none or all, alone)"
                    ));
                }
            }
        }
        Ok(evidence)
    }

    /// The words of the list.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (self.tcp, "tcp"),
            (self.sched, "sched"),
            (self.usage, "usage"),
            (self.execs, "execs"),
            (self.arrivals, "arrivals"),
            (self.wakes, "wakes"),
            (self.counters, "counters"),
        ];
        all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }

    /// What is left without `other`.
    pub fn without(self, other: Evidence) -> Evidence {
        Evidence {
            tcp: self.tcp && !other.tcp,
            sched: self.sched && !other.sched,
            usage: self.usage && !other.usage,
            execs: self.execs && !other.execs,
            arrivals: self.arrivals && !other.arrivals,
            wakes: self.wakes && !other.wakes,
            counters: self.counters && !other.counters,
        }
    }
}

const TCP: [Hooked; 3] = [
    Hooked::tracepoint("tcp_retransmit_skb", "tcp_retransmit_skb"),
    Hooked::tracepoint("tcp_send_reset", "tcp_send_reset"),
    Hooked::tracepoint("tcp_receive_reset", "tcp_receive_reset"),
];
const SWITCH: Hooked = Hooked::tracepoint("sched_switch", "sched_switch");
const WAKING: Hooked = Hooked::tracepoint("sched_waking", "sched_waking");
const WAKEUP: Hooked = Hooked::tracepoint("sched_wakeup", "sched_wakeup");

const TAKEN: Hooked = Hooked::tracepoint("skb_copy_datagram_iovec", "skb_copy_datagram_iovec");

/// Every program that may be loaded here.
pub const ALL: [Hooked; 7] = [TCP[0], TCP[1], TCP[2], TAKEN, WAKING, WAKEUP, SWITCH];

/// The programs of this evidence, in the order of attaching.
fn programs(evidence: Evidence) -> impl Iterator<Item = Hooked> {
    let tcp = evidence.tcp.then_some(TCP).into_iter().flatten();
    let wakeup = evidence.sched.then_some(WAKEUP);
    let switch = (evidence.sched || evidence.usage).then_some(SWITCH);
    let waking = evidence.wakes.then_some(WAKING);
    tcp.chain(evidence.arrivals.then_some(TAKEN)).chain(waking).chain(wakeup).chain(switch)
}

/// Tells the programs what they need, and says which evidence this kernel can give. What it cannot is a warning.
pub fn configure(
    types: &Btf,
    wanted: Evidence,
    threshold_us: u32,
    config: &mut Config,
    warnings: &mut Vec<String>,
) -> Evidence {
    let mut on = Evidence::NONE;
    let mut settle = |name: &str, result: Result<(), BtfError>| match result {
        Ok(()) => true,
        Err(error) => {
            warnings.push(warning(name, &error));
            false
        }
    };
    on.tcp = wanted.tcp && settle("tcp", tcp(types, config));
    on.arrivals = wanted.arrivals && settle("arrivals", arrivals(types, config));
    let switch = !(wanted.sched || wanted.usage) || settle("sched,usage", switch(types, config));
    on.sched = wanted.sched && switch && settle("sched", takes_task(types, "sched_wakeup"));
    on.usage = wanted.usage && switch;
    on.wakes = wanted.wakes && settle("wakes", waking(types, config));
    // The programs that processes are known by see them anyway.
    on.execs = wanted.execs;
    // Read in /proc, without a program.
    on.counters = wanted.counters;
    config.tcp = u32::from(on.tcp);
    config.sched = u32::from(on.sched);
    config.usage = u32::from(on.usage);
    config.wakes = u32::from(on.wakes);
    config.sched_threshold_us = threshold_us;
    on
}

fn tcp(types: &Btf, config: &mut Config) -> Result<(), BtfError> {
    let again = types.tracepoint("tcp_retransmit_skb")?;
    expect("tcp_retransmit_skb", again.first().is_some_and(|a| a.points_to("sock")))?;
    expect("tcp_retransmit_skb", again.get(1).is_some_and(|a| a.points_to("sk_buff")))?;
    for name in ["tcp_send_reset", "tcp_receive_reset"] {
        expect(name, types.tracepoint(name)?.first().is_some_and(|a| a.points_to("sock")))?;
    }
    config.retransmit_result = u32::from(again.len() > 2);
    let control = types.offset("sk_buff", "cb")?;
    let chrono_type = types.bit("tcp_sock", "chrono_type")?;
    config.offsets = Offsets {
        tcp_srtt_us: types.offset("tcp_sock", "srtt_us")?,
        tcp_mdev_us: types.offset("tcp_sock", "mdev_us")?,
        tcp_bytes_sent: types.offset("tcp_sock", "bytes_sent")?,
        tcp_bytes_retrans: types.offset("tcp_sock", "bytes_retrans")?,
        tcp_segs_out: types.offset("tcp_sock", "segs_out")?,
        tcp_segs_in: types.offset("tcp_sock", "segs_in")?,
        tcp_total_retrans: types.offset("tcp_sock", "total_retrans")?,
        tcp_rtt_min: types.offset("tcp_sock", "rtt_min")? + types.offset("minmax_sample", "v")?,
        tcp_chrono_stat: types.offset("tcp_sock", "chrono_stat")?,
        tcp_chrono_start: types.offset("tcp_sock", "chrono_start")?,
        tcp_chrono_type: chrono_type / 8,
        tcp_chrono_type_bit: chrono_type % 8,
        sk_drops: types.offset("sock", "sk_drops")?,
        skb_seq: control + types.offset("tcp_skb_cb", "seq")?,
        skb_end_seq: control + types.offset("tcp_skb_cb", "end_seq")?,
        ..config.offsets
    };
    Ok(())
}

fn arrivals(types: &Btf, config: &mut Config) -> Result<(), BtfError> {
    let name = "skb_copy_datagram_iovec";
    expect(name, types.tracepoint(name)?.first().is_some_and(|a| a.points_to("sk_buff")))?;
    config.offsets.skb_tstamp = types.offset("sk_buff", "tstamp")?;
    Ok(())
}

fn switch(types: &Btf, config: &mut Config) -> Result<(), BtfError> {
    let arguments = types.tracepoint("sched_switch")?;
    for index in [1, 2] {
        expect("sched_switch", arguments.get(index).is_some_and(|a| a.points_to("task_struct")))?;
    }
    config.switch_state = u32::from(arguments.len() > 3);
    config.offsets.task_state = types.offset("task_struct", "__state")?;
    Ok(())
}

fn waking(types: &Btf, config: &mut Config) -> Result<(), BtfError> {
    takes_task(types, "sched_waking")?;
    config.offsets.task_state = types.offset("task_struct", "__state")?;
    Ok(())
}

fn takes_task(types: &Btf, name: &str) -> Result<(), BtfError> {
    expect(name, types.tracepoint(name)?.first().is_some_and(|a| a.points_to("task_struct")))
}

/// The programs take their arguments by place.
fn expect(name: &str, is_so: bool) -> Result<(), BtfError> {
    if is_so { Ok(()) } else { Err(BtfError::OtherArguments(name.to_owned())) }
}

fn warning(name: &str, reason: &dyn std::fmt::Display) -> String {
    format!("recording goes on without --evidence {name}: {}", one_line(&reason.to_string()))
}

/// Loads what the configuration allows. A program that is refused takes its evidence with it.
pub fn load(ebpf: &mut Ebpf, types: &KernelTypes, on: Evidence, warnings: &mut Vec<String>) -> Evidence {
    settle(on, warnings, &mut |hooked| hooked.load(ebpf, types))
}

/// Attaches what is loaded.
pub fn attach(probes: &mut Probes) {
    let (on, mut warnings) = (probes.evidence, std::mem::take(&mut probes.warnings));
    probes.evidence = settle(on, &mut warnings, &mut |hooked| probes.attach(hooked));
    if probes.evidence.arrivals {
        match Stamps::switch_on() {
            Ok(stamps) => probes.stamps = Some(stamps),
            Err(error) => {
                warnings.push(warning("arrivals", &error));
                probes.evidence.arrivals = false;
            }
        }
    }
    probes.warnings = warnings;
}

/// Does something for every program of this evidence; what fails is taken off it.
fn settle(
    mut on: Evidence,
    warnings: &mut Vec<String>,
    step: &mut dyn FnMut(Hooked) -> Result<(), ProbeError>,
) -> Evidence {
    for hooked in programs(on) {
        let Err(error) = step(hooked) else { continue };
        let lost = if TCP.iter().any(|tcp| tcp.program == hooked.program) {
            Evidence { tcp: on.tcp, ..Evidence::NONE }
        } else if hooked.program == TAKEN.program {
            Evidence { arrivals: on.arrivals, ..Evidence::NONE }
        } else if hooked.program == WAKING.program {
            Evidence { wakes: on.wakes, ..Evidence::NONE }
        } else if hooked.program == WAKEUP.program {
            Evidence { sched: on.sched, ..Evidence::NONE }
        } else {
            Evidence { sched: on.sched, usage: on.usage, ..Evidence::NONE }
        };
        if lost != Evidence::NONE {
            warnings.push(warning(&lost.names().join(","), &error));
        }
        on = on.without(lost);
    }
    on
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(program: &'static str) -> (Evidence, Vec<String>) {
        let mut warnings = Vec::new();
        let on = settle(Evidence::ALL, &mut warnings, &mut |hooked| {
            if hooked.program == program { Err(ProbeError::Kernel("no\nreally".into())) } else { Ok(()) }
        });
        (on, warnings)
    }

    #[test]
    fn a_list_says_what_is_wanted() {
        assert_eq!(Evidence::parse("tcp,sched,usage,execs,arrivals,wakes,counters"), Ok(Evidence::ALL));
        assert_eq!(Evidence::parse("tcp,sched,usage,execs,arrivals,counters"), Ok(Evidence::DEFAULT));
        assert_eq!(Evidence::parse("all"), Ok(Evidence::ALL));
        assert_eq!(Evidence::parse("none"), Ok(Evidence::NONE));
        assert_eq!(Evidence::parse("usage, tcp").unwrap().names(), ["tcp", "usage"]);
        for wrong in ["", "none,tcp", "all,tcp", "net", "tcp,"] {
            assert!(Evidence::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_left() {
        let tcp = Evidence { tcp: true, ..Evidence::NONE };
        assert_eq!(
            Evidence::ALL.without(tcp).names(),
            ["sched", "usage", "execs", "arrivals", "wakes", "counters"]
        );
        assert_eq!(Evidence::NONE.without(tcp), Evidence::NONE);
    }

    #[test]
    fn a_refused_program_takes_only_its_own_evidence_with_it() {
        let (on, warnings) = failing("tcp_send_reset");
        assert_eq!(on.names(), ["sched", "usage", "execs", "arrivals", "wakes", "counters"]);
        assert_eq!(warnings, ["recording goes on without --evidence tcp: no ... really"]);
        assert_eq!(
            failing("sched_wakeup").0.names(),
            ["tcp", "usage", "execs", "arrivals", "wakes", "counters"]
        );
        assert_eq!(failing("sched_waking").0, Evidence::DEFAULT);
        assert_eq!(
            failing("skb_copy_datagram_iovec").0.names(),
            ["tcp", "sched", "usage", "execs", "wakes", "counters"]
        );
        let (on, warnings) = failing("sched_switch");
        assert_eq!(on.names(), ["tcp", "execs", "arrivals", "wakes", "counters"]);
        assert_eq!(warnings, ["recording goes on without --evidence sched,usage: no ... really"]);
        assert_eq!(failing("").0, Evidence::ALL);
    }

    #[test]
    fn the_running_kernel_gives_all_evidence() {
        if !std::path::Path::new(crate::kernel::btf::VMLINUX).exists() {
            eprintln!("skipped: this kernel has no {}", crate::kernel::btf::VMLINUX);
            return;
        }
        let types = Btf::of_running_kernel().expect("readable");
        let (mut config, mut warnings) = (Config::default(), Vec::new());
        let on = configure(&types, Evidence::ALL, 5_000, &mut config, &mut warnings);
        assert_eq!((on, warnings), (Evidence::ALL, Vec::new()));
        assert_eq!((config.tcp, config.sched, config.usage, config.wakes), (1, 1, 1, 1));
        assert_eq!(config.offsets.skb_end_seq, config.offsets.skb_seq + 4);
    }
}

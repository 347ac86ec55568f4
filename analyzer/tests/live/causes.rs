//! Causes that the kernel counts, injected every eight seconds: `spikes` finds them and says where the time is lost, and names
//! what was scarce where it can be sure. Each run shows first, by the client's own figures, that requests suffered.
//!
//! Where something nearer to the requests explains them as well (SYNs of the very connections, sleep of the very threads) that
//! may be all that is named: what the kernel counted is then shown to be in the capture, at the teeth.
//!
//! A minute each: all but the first run with `.ci/long` only.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::lab::causes::{Injected, Rhythm};
use crate::lab::check::none_of;
use crate::lab::ebpf_or_skip;
use crate::lab::judge::Contrast;
use crate::lab::scarce::{self, Trial, Want};

const RHYTHM: Rhythm =
    Rhythm { period: Duration::from_secs(8), length: Duration::from_millis(600), cycles: 7 };

/// One run at a time: each is what disturbs its own shop, and none the other's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn suffered(want: Want) -> Trial {
    let trial = scarce::run(want, RHYTHM);
    let contrast = Contrast::of(&trial.injected, &trial.answers);
    let most = contrast.inside.iter().filter(|&&slow| slow >= 3).count();
    assert!(most + 1 >= trial.injected.len(), "{want:?}: requests did not suffer: {contrast:?}");
    trial
}

/// Fails where no finding has the period, or neither one of these kinds is among its causes nor one of these parts of a request
/// first among those that took longer. Seven teeth beside what else the host does may be too few to be sure of a cause.
fn found(trial: &Trial, kinds: &[&str], parts: &[&str]) {
    let (causes, part, wrong) = trial.told(kinds, parts);
    for (kind, claim) in &causes {
        eprintln!("{kind}: {claim}");
    }
    eprintln!("most time is lost in: {part}");
    none_of("the finding", &wrong);
}

/// Fails where the view of counters has no burst of this kind at more than one of the teeth.
fn counted(trial: &Trial, kind: &str) {
    shown(trial, &format!("(SELECT * FROM counter_bursts WHERE kind = '{kind}')"));
}

/// Fails where these rows show nothing at more than one of the teeth.
fn shown(trial: &Trial, source: &str) {
    let rows = trial.capture.sql(&format!(
        "SELECT CAST(b.time AS BIGINT) - c.wall_ns + c.boot_ns AS a, CAST(b.end_time AS BIGINT) - c.wall_ns + c.boot_ns AS b
         FROM {source} b, (SELECT wall_ns, boot_ns FROM clock ORDER BY boot_ns LIMIT 1) c"
    ));
    let at = |row: &serde_json::Value, name: &str| row[name].as_i64().unwrap_or_default();
    let is_seen =
        |one: &&Injected| rows.iter().any(|row| at(row, "a") <= one.end_ns && at(row, "b") >= one.onset_ns);
    let seen = trial.injected.iter().filter(is_seen).count();
    assert!(seen + 1 >= trial.injected.len(), "{source}: at {seen} of {} teeth", trial.injected.len());
}

#[test]
fn a_listen_queue_that_overflows_is_found() {
    let Some(_turn) = ebpf_or_skip("a_listen_queue_that_overflows_is_found") else { return };
    let _alone = alone();
    let trial = suffered(Want::Backlog);
    found(
        &trial,
        &["listen_overflow", "listen_drop", "listen_queue", "syn_retransmit"],
        &["queue", "connect"],
    );
    counted(&trial, "listen_overflow");
    // What the kernel counted in the shop's namespace, and not what others did.
    let overflows = trial.capture.number(
        "SELECT coalesce(sum(delta), 0) AS n FROM counters WHERE name = 'TcpExt.ListenOverflows'
         AND netns IN (SELECT netns FROM sockets WHERE role = 'listener')",
    );
    assert!(overflows >= 7 * 5, "{overflows} overflows");
}

#[test]
#[ignore = "a minute: .ci/long"]
fn questions_to_a_resolver_that_are_dropped_and_asked_again_are_visible() {
    let Some(_turn) = ebpf_or_skip("questions_to_a_resolver_that_are_dropped_and_asked_again_are_visible")
    else {
        return;
    };
    let _alone = alone();
    // Nobody asked for UDP at other ports than those of DNS: the shop's own time grows, and the resolver's buffer overflows.
    counted(&suffered(Want::Resolver), "udp_drop");
}

#[test]
#[ignore = "a minute: .ci/long"]
fn reclaim_under_a_memory_limit_is_found() {
    let Some(_turn) = ebpf_or_skip("reclaim_under_a_memory_limit_is_found") else { return };
    let _alone = alone();
    let trial = suffered(Want::Memory);
    found(&trial, &["memory_limit"], &["server"]);
    counted(&trial, "memory_limit");
}

#[test]
#[ignore = "a minute: .ci/long"]
fn a_reload_that_closes_connections_together_is_shown() {
    let Some(_turn) = ebpf_or_skip("a_reload_that_closes_connections_together_is_shown") else { return };
    let _alone = alone();
    shown(&suffered(Want::Connections), "closed_together");
}

#[test]
#[ignore = "a minute: .ci/long"]
fn a_disk_that_another_program_keeps_busy_is_found() {
    let Some(_turn) = ebpf_or_skip("a_disk_that_another_program_keeps_busy_is_found") else { return };
    let _alone = alone();
    let trial = suffered(Want::Disk);
    found(&trial, &["disk_busy", "pressure", "off_cpu"], &["server"]);
    counted(&trial, "disk_busy");
}

#[test]
#[ignore = "a minute: .ci/long"]
fn a_cpu_that_is_busy_receiving_is_found() {
    let Some(_turn) = ebpf_or_skip("a_cpu_that_is_busy_receiving_is_found") else { return };
    let _alone = alone();
    let trial = suffered(Want::Cpu);
    found(&trial, &["softirq", "run_queue"], &["server", "queue", "network"]);
    counted(&trial, "softirq");
}

use super::*;
use bytemuck::{Zeroable, bytes_of};
use retrospan_formats::event::Record;

const MS: u64 = 1_000_000;

fn table(args: bool) -> Processes {
    Processes::new(args, Cgroups::below(None))
}

/// Pids far above any real one, so that nothing is found in /proc.
const BASE: u32 = 5_000_000;

struct Told {
    what: u8,
    pid: u32,
    parent: u32,
    start_ns: u64,
    at_ns: u64,
    comm: &'static str,
    exe: &'static str,
    argv: &'static str,
    exit_code: u32,
}

const NOTHING: Told =
    Told { what: 0, pid: 0, parent: 0, start_ns: 0, at_ns: 0, comm: "", exe: "", argv: "", exit_code: 0 };

fn tell(processes: &mut Processes, told: Told) {
    let mut comm = [0; 16];
    comm[..told.comm.len()].copy_from_slice(told.comm.as_bytes());
    let fixed = Process {
        start_boot_ns: told.start_ns,
        parent_pid: told.parent,
        exit_code: told.exit_code,
        comm,
        what: told.what,
        exe_bytes: told.exe.len() as u16,
        argv_bytes: told.argv.len() as u16,
        ..Process::zeroed()
    };
    let header =
        Header { boot_ns: told.at_ns, pid: told.pid, record: Record::Process as u8, ..Header::zeroed() };
    let body = [bytes_of(&fixed), told.exe.as_bytes(), told.argv.as_bytes()].concat();
    processes.record(&header, &body);
}

fn found(pid: u32, start_ns: u64, argv: &str) -> Found {
    Found {
        pid,
        start_boot_ns: start_ns,
        comm: "sh".into(),
        exe: Some("/bin/sh".into()),
        argv: argv.into(),
        cgroup: Some("/a".into()),
        ..Found::default()
    }
}

#[test]
fn a_child_inherits_until_it_runs_another_program() {
    let mut processes = table(false);
    processes.snapshot(vec![found(BASE, 10 * MS, "sh\0-c\0secret\0")]);
    tell(
        &mut processes,
        Told { what: life::FORK, pid: BASE + 1, parent: BASE, start_ns: 90 * MS, comm: "sh", ..NOTHING },
    );
    let rows = processes.take_changed();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].parent_process_id, Some(rows[0].process_id));
    assert_eq!(rows[1].exe.as_deref(), Some("/bin/sh"));
    assert_eq!(rows[1].cgroup.as_deref(), Some("/a"));
    assert_eq!(rows[1].process_id, 90 << 22 | i64::from(BASE + 1));
    tell(
        &mut processes,
        Told {
            what: life::EXEC,
            pid: BASE + 1,
            parent: BASE,
            start_ns: 90 * MS,
            comm: "curl",
            exe: "/usr/bin/curl",
            argv: "curl\0-u\0me:secret\0",
            ..NOTHING
        },
    );
    let rows = processes.take_changed();
    assert_eq!(rows.len(), 1, "the shell did not change");
    assert_eq!((&*rows[0].comm, rows[0].exe.as_deref()), ("curl", Some("/usr/bin/curl")));
    assert_eq!(rows[0].argv.as_deref(), Some("curl"));
}

#[test]
fn arguments_are_kept_only_where_asked_for() {
    for (args, kept) in [(false, "sh"), (true, "sh -c 'a secret'")] {
        let mut processes = table(args);
        processes.snapshot(vec![found(BASE, 10 * MS, "sh\0-c\0a secret\0")]);
        assert_eq!(processes.take_changed()[0].argv.as_deref(), Some(kept));
    }
}

#[test]
fn arguments_longer_than_a_column_may_hold_are_cut() {
    // Quoting makes them longer yet, and the cut may fall into a character.
    for argument in ["x".repeat(40_000), "'".repeat(9_000), "\u{20ac}".repeat(9_000)] {
        for (args, argv) in [(true, format!("a\0{argument}\0")), (false, format!("{argument}\0"))] {
            let mut processes = table(args);
            processes.snapshot(vec![found(BASE, 10 * MS, &argv)]);
            let kept = processes.take_changed()[0].argv.clone().expect("arguments");
            assert!((MOST_TEXT_BYTES - 2..=MOST_TEXT_BYTES).contains(&kept.len()), "{}", kept.len());
        }
    }
}

#[test]
fn a_process_that_writes_its_arguments_into_its_name_keeps_its_first_word() {
    for (argv, exe, kept) in [
        ("nginx: master process nginx -g env TOKEN=secret;\0", "/usr/sbin/nginx", "nginx:"),
        ("postgres:\tsecret\0\0\0", "/usr/bin/postgres", "postgres:"),
        ("/opt/my server/run\0secret\0", "/opt/my server/run", "'/opt/my server/run'"),
        ("/opt/my server/run secret\0", "/opt/my server/run", "/opt/my"),
        (" secret\0", "/bin/x", "''"),
    ] {
        let mut processes = table(false);
        processes.snapshot(vec![Found { exe: Some(exe.into()), ..found(BASE, 10 * MS, argv) }]);
        assert_eq!(processes.take_changed()[0].argv.as_deref(), Some(kept));
        tell(
            &mut processes,
            Told { what: life::EXEC, pid: BASE, start_ns: 10 * MS, comm: "a", exe, argv, ..NOTHING },
        );
        assert_eq!(processes.take_changed()[0].argv.as_deref(), Some(kept));
    }
}

#[test]
fn a_record_of_a_process_from_the_snapshot_is_the_same_process() {
    let mut processes = table(false);
    processes.snapshot(vec![found(BASE, 10 * MS, "")]);
    let id = processes.id_of(BASE);
    // /proc rounds down to 10 ms.
    let start_ns = 17 * MS;
    tell(
        &mut processes,
        Told { what: life::EXIT, pid: BASE, start_ns, at_ns: 500 * MS, exit_code: 256, ..NOTHING },
    );
    let rows = processes.take_changed();
    assert_eq!(rows.len(), 1);
    assert_eq!((Some(rows[0].process_id), rows[0].end_boot_ns), (id, Some(500 * MS)));
    assert_eq!(rows[0].exit_code, Some(256));
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut processes = table(false);
    processes.snapshot(vec![found(BASE, 10 * MS, "")]);
    let first = processes.id_of(BASE);
    tell(&mut processes, Told { what: life::EXIT, pid: BASE, start_ns: 10 * MS, at_ns: 50 * MS, ..NOTHING });
    assert_eq!(processes.id_of(BASE), first, "its last calls may still report");
    tell(&mut processes, Told { what: life::FORK, pid: BASE, start_ns: 80 * MS, ..NOTHING });
    let second = processes.id_of(BASE);
    assert_ne!(first, second);
    let rows = processes.take_changed();
    assert_eq!(rows.iter().map(|r| Some(r.process_id)).collect::<Vec<_>>(), [first, second]);
    assert_eq!(rows[1].end_boot_ns, None);
    assert!(processes.take_changed().is_empty());
}

#[test]
fn who_is_not_known_is_looked_up() {
    let mut processes = table(false);
    let me = processes.id_of(std::process::id()).unwrap();
    assert_eq!(me & 0x3f_ffff, i64::from(std::process::id()));
    assert_eq!(processes.id_of(BASE), None);
    assert_eq!(processes.id_of(0), None);
}

#[test]
fn a_record_that_is_cut_short_changes_nothing() {
    let mut processes = table(false);
    processes.record(&Header { pid: BASE, ..Header::zeroed() }, &[0; 20]);
    assert!(processes.take_changed().is_empty());
}

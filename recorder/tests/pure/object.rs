//! The committed kernel object: that it is made from the sources beside it, and that it asks no more
//! of a kernel than is promised.

use aya_obj::{Object, ProgramSection};
use retrospan_formats::config::CAST_CALL;
use std::{collections::BTreeMap, path::Path, process::Command};

const PROMISED: (u32, u32) = (5, 15);

/// Every helper that may be used: number, name, and the kernel that brought it.
const HELPERS: [(i32, &str, (u32, u32)); 18] = [
    (1, "map_lookup_elem", (3, 19)),
    (2, "map_update_elem", (3, 19)),
    (3, "map_delete_elem", (3, 19)),
    (8, "get_smp_processor_id", (4, 1)),
    (12, "tail_call", (4, 2)),
    (80, "get_current_cgroup_id", (4, 18)),
    (112, "probe_read_user", (5, 5)),
    (113, "probe_read_kernel", (5, 5)),
    (114, "probe_read_user_str", (5, 5)),
    (115, "probe_read_kernel_str", (5, 5)),
    (118, "jiffies64", (5, 6)),
    (125, "ktime_get_boot_ns", (5, 8)),
    (131, "ringbuf_reserve", (5, 8)),
    (132, "ringbuf_submit", (5, 8)),
    (134, "ringbuf_query", (5, 8)),
    (137, "skc_to_tcp_sock", (5, 9)),
    (158, "get_current_task_btf", (5, 11)),
    (175, "task_pt_regs", (5, 15)),
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../recorder-ebpf")
}

fn object() -> Object {
    let path = std::env::var_os("RETROSPAN_EBPF_OBJECT")
        .map_or_else(|| folder().join("object/retrospan.bpf.o"), Into::into);
    Object::parse(&std::fs::read(&path).expect("the object can be read")).expect("the object is well-formed")
}

#[test]
fn the_object_is_made_from_these_sources() {
    let output =
        Command::new("sh").arg(folder().join("sources.sh")).output().expect("sh and sha256sum exist");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let now = String::from_utf8_lossy(&output.stdout);
    let then =
        std::fs::read_to_string(folder().join("object/SOURCES.sha256")).expect("the hashes can be read");
    assert_eq!(then, now, "the object is stale: run recorder-ebpf/build.sh and commit what it writes");
}

#[test]
fn helpers_are_as_old_as_promised() {
    let mut used = BTreeMap::new();
    for function in object().functions.values() {
        for instruction in &function.instructions {
            if instruction.code == 0x85 && instruction.src_reg() == 0 {
                *used.entry(instruction.imm).or_insert(0) += 1;
            }
            assert!(
                !(instruction.code == 0x85 && instruction.src_reg() == 2),
                "{} calls a kernel function by number, which every kernel numbers otherwise",
                function.name
            );
        }
    }
    // Written over where the kernel has the function; else no path leads there, or the kernel tests on 6.1 would fail.
    assert!(used.remove(&CAST_CALL).is_some(), "the check sees the place of the kernel's own function");
    assert!(!used.is_empty());
    for (number, count) in used {
        let known = HELPERS.iter().find(|helper| helper.0 == number);
        let (_, name, since) =
            known.unwrap_or_else(|| panic!("helper {number} is not in the list of what may be used"));
        println!("{name}: {count} calls, Linux {}.{}", since.0, since.1);
        assert!(*since <= PROMISED, "{name} needs Linux {}.{}", since.0, since.1);
    }
}

/// Helpers that change something outside of the programs' own maps: the memory of a process, packets, results of calls, signals.
const WRITERS: [(i32, &str); 16] = [
    (9, "skb_store_bytes"),
    (13, "clone_redirect"),
    (23, "redirect"),
    (36, "probe_write_user"),
    (49, "setsockopt"),
    (51, "redirect_map"),
    (52, "sk_redirect_map"),
    (58, "override_return"),
    (60, "msg_redirect_map"),
    (90, "msg_push_data"),
    (91, "msg_pop_data"),
    (103, "sysctl_set_new_value"),
    (109, "send_signal"),
    (117, "send_signal_thread"),
    (142, "store_hdr_opt"),
    (166, "sys_bpf"),
];

#[test]
fn the_programs_can_only_look() {
    let object = object();
    assert!(object.programs.len() > 10);
    for (name, program) in &object.programs {
        // What runs there has no say in what happens next: its result is not looked at.
        let looks = matches!(
            program.section,
            ProgramSection::BtfTracePoint
                | ProgramSection::RawTracePoint
                | ProgramSection::FEntry { sleepable: false }
                | ProgramSection::FExit { sleepable: false }
                | ProgramSection::Iter { sleepable: false }
                | ProgramSection::UProbe { sleepable: false }
                | ProgramSection::URetProbe { sleepable: false }
        );
        assert!(looks, "{name} is a {:?}", program.section);
    }
    for (number, name) in WRITERS {
        assert!(HELPERS.iter().all(|helper| helper.0 != number), "{name} is not to be used");
    }
}

/// The kernel that an instruction needs, where that is newer than the first with BTF tracepoints.
fn since(code: u8, imm: i32, offset: i16) -> ((u32, u32), &'static str) {
    let (class, mode) = (code & 0x07, code & 0xe0);
    match (class, mode) {
        (0x03, 0xc0) if imm != 0 => ((5, 12), "atomic with a result"),
        (0x01, 0x80) => ((6, 6), "sign-extending load"),
        (0x06, _) if code & 0xf0 == 0x00 => ((6, 6), "long jump"),
        (0x07, _) if code & 0xf0 == 0xd0 => ((6, 6), "unconditional byte swap"),
        (0x04 | 0x07, _) if matches!(code & 0xf0, 0x30 | 0x90) && offset != 0 => ((6, 6), "signed division"),
        (0x04 | 0x07, _) if code & 0xf0 == 0xb0 && offset != 0 => ((6, 6), "sign-extending move"),
        (0x05, _) if code & 0xf0 == 0xe0 => ((6, 9), "may_goto"),
        _ => ((5, 5), "base"),
    }
}

#[test]
fn instructions_are_as_old_as_promised() {
    let mut found = BTreeMap::new();
    for function in object().functions.values() {
        let mut instructions = function.instructions.iter();
        while let Some(instruction) = instructions.next() {
            let (version, what) = since(instruction.code, instruction.imm, instruction.off);
            *found.entry((version, what)).or_insert(0) += 1;
            // The second half of a 64-bit constant is no instruction.
            if instruction.code == 0x18 {
                instructions.next();
            }
        }
    }
    for (((major, minor), what), count) in &found {
        println!("{what}: {count}, Linux {major}.{minor}");
        assert!((*major, *minor) <= PROMISED, "{what} needs Linux {major}.{minor}");
    }
    assert!(found.contains_key(&((5, 12), "atomic with a result")), "the check sees atomics");
}

#[test]
fn every_function_is_hooked_at_both_ends() {
    let object = object();
    let names = |section: &str| -> Vec<&str> {
        let mut names: Vec<&str> =
            object.programs.keys().filter_map(|name| name.strip_suffix(section)).collect();
        names.sort_unstable();
        names
    };
    assert!(names("_enter").len() > 10, "the check sees the programs");
    // That of system calls is named by its tracepoint.
    let mut entries = names("_enter");
    entries.retain(|&name| name != "sys");
    assert_eq!(
        entries,
        names("_exit")
            .into_iter()
            .filter(|&name| name != "sys" && name != "sched_process")
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_licence_opens_every_helper() {
    assert_eq!(object().license.to_bytes(), b"Dual MIT/GPL");
}

#[test]
fn the_object_does_not_tell_where_it_was_made() {
    let path = folder().join("object/retrospan.bpf.o");
    let bytes = std::fs::read(path).expect("the object can be read");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("recorder-ebpf/src/enter.rs"), "line numbers are there");
    assert!(!text.contains("/recorder-ebpf/src/"), "an absolute path is there");
}

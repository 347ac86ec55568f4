//! Where the running kernel keeps the struct fields that the kernel programs read.
//!
//! In goes the kernel's own type information (BTF, `/sys/kernel/btf/vmlinux`; the format is
//! Documentation/bpf/btf.rst of the kernel), out come byte offsets. Only structs and their members are
//! read. The input is bounds-checked everywhere: a damaged file is an error, never a panic.

mod prototypes;

use std::cell::RefCell;
use std::collections::BTreeMap;

use retrospan_formats::config::Offsets;

/// The running kernel's type information.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why an offset is not known.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("{VMLINUX}: {0}: a kernel with type information is needed (CONFIG_DEBUG_INFO_BTF=y)")]
    Unreadable(std::io::Error),
    /// The file is not what it should be.
    #[error("{VMLINUX}: damaged at byte {0}")]
    Damaged(usize),
    /// The kernel has no such struct.
    #[error("{VMLINUX}: this kernel has no struct {0}")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("{VMLINUX}: this kernel's struct {0} has no member {1}")]
    NoMember(String, String),
    /// The kernel has no such tracepoint.
    #[error("{VMLINUX}: this kernel has no tracepoint {0}")]
    NoTracepoint(String),
    /// The kernel has no such function, or has it everywhere in place of its calls.
    #[error("{VMLINUX}: this kernel has no function {0}")]
    NoFunction(String),
    /// The enumeration has no such value.
    #[error("{VMLINUX}: this kernel's enum {0} has no {1}")]
    NoEnumerator(String, String),
    /// The tracepoint's arguments are not those that the programs expect.
    #[error("{VMLINUX}: this kernel's tracepoint {0} has other arguments")]
    OtherArguments(String),
}

/// Anonymous structs within structs are followed this deep.
const MOST_DEPTH: u32 = 16;

/// Parsed type information: where each type begins.
pub struct Btf {
    data: Vec<u8>,
    /// Byte offset of each type, by id; id 0 is `void`.
    types: Vec<usize>,
    strings: usize,
    /// What was asked for by kind and name: there are 100,000 types, and one struct is asked for once a member.
    asked: RefCell<BTreeMap<(u32, String), Option<u32>>>,
}

mod kind {
    pub const INT: u32 = 1;
    pub const POINTER: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// `struct btf_type` without what follows it.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    members: usize,
    has_bitfields: bool,
    /// The type referred to, or the size.
    inner: u32,
    /// Byte offset of what follows.
    rest: usize,
}

impl Btf {
    /// Reads the running kernel's type information.
    ///
    /// # Errors
    /// The file is missing, unreadable or damaged.
    pub fn of_running_kernel() -> Result<Btf, BtfError> {
        Btf::parse(std::fs::read(VMLINUX).map_err(BtfError::Unreadable)?)
    }

    /// Finds the types in raw BTF of this machine's byte order.
    ///
    /// # Errors
    /// The bytes are not well-formed.
    pub fn parse(data: Vec<u8>) -> Result<Btf, BtfError> {
        let magic = data.get(..2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
        if magic != Some(0xeb9f) {
            return Err(BtfError::Damaged(0));
        }
        let header_bytes = word(&data, 4)? as usize;
        let begin = section(&data, header_bytes, 8)?;
        let end = begin.end;
        let strings = section(&data, header_bytes, 16)?.start;
        let mut btf = Btf { data, types: vec![0], strings, asked: RefCell::default() };
        let mut at = begin.start;
        while at < end {
            btf.types.push(at);
            let next = btf.read_type(at)?;
            at = next.rest + rest_bytes(next, at)?;
        }
        Ok(btf)
    }

    fn read_type(&self, at: usize) -> Result<Type, BtfError> {
        let info = word(&self.data, at + 4)?;
        Ok(Type {
            name: word(&self.data, at)?,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            has_bitfields: info >> 31 != 0,
            inner: word(&self.data, at + 8)?,
            rest: at + 12,
        })
    }

    fn type_by_id(&self, id: u32) -> Result<Type, BtfError> {
        match self.types.get(id as usize) {
            Some(&at) if id != 0 => self.read_type(at),
            _ => Err(BtfError::Damaged(0)),
        }
    }

    fn name_is(&self, name: u32, wanted: &str) -> bool {
        let from = self.strings + name as usize;
        let to = from + wanted.len();
        self.data.get(from..to) == Some(wanted.as_bytes()) && self.data.get(to) == Some(&0)
    }

    /// The struct behind typedefs and qualifiers, if it is one.
    fn struct_behind(&self, id: u32) -> Result<Option<Type>, BtfError> {
        let mut found = self.type_by_id(id)?;
        for _ in 0..MOST_DEPTH {
            match found.kind {
                kind::STRUCT | kind::UNION => return Ok(Some(found)),
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG
                    if found.inner != 0 =>
                {
                    found = self.type_by_id(found.inner)?;
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Byte offset and type of a member, also of one within anonymous structs and unions.
    fn member(&self, within: Type, wanted: &str, depth: u32) -> Result<Option<(u32, u32)>, BtfError> {
        for index in 0..within.members {
            let at = within.rest + index * 12;
            let (name, id, place) =
                (word(&self.data, at)?, word(&self.data, at + 4)?, word(&self.data, at + 8)?);
            let bits = if within.has_bitfields { place & 0x00ff_ffff } else { place };
            if self.name_is(name, wanted) {
                return Ok(Some((bits, id)));
            }
            if self.name_is(name, "")
                && depth > 0
                && let Some(inner) = self.struct_behind(id)?
                && let Some((offset, id)) = self.member(inner, wanted, depth - 1)?
            {
                return Ok(Some((bits + offset, id)));
            }
        }
        Ok(None)
    }

    /// Id of the first type of this kind and name.
    fn id(&self, wanted: u32, name: &str) -> Result<Option<u32>, BtfError> {
        if let Some(&id) = self.asked.borrow().get(&(wanted, name.to_owned())) {
            return Ok(id);
        }
        let id = self.find(wanted, name)?;
        self.asked.borrow_mut().insert((wanted, name.to_owned()), id);
        Ok(id)
    }

    fn find(&self, wanted: u32, name: &str) -> Result<Option<u32>, BtfError> {
        for (id, &at) in self.types.iter().enumerate().skip(1) {
            let candidate = self.read_type(at)?;
            if candidate.kind == wanted && self.name_is(candidate.name, name) {
                return Ok(Some(id as u32));
            }
        }
        Ok(None)
    }

    /// Id of `struct name`, if the kernel has one.
    ///
    /// # Errors
    /// The type information is damaged.
    pub fn structure(&self, name: &str) -> Result<Option<u32>, BtfError> {
        self.id(kind::STRUCT, name)
    }

    /// Id of the function of that name, if the kernel has one.
    ///
    /// # Errors
    /// The type information is damaged.
    pub fn function(&self, name: &str) -> Result<Option<u32>, BtfError> {
        self.id(kind::FUNC, name)
    }

    /// Byte offset of `struct name`'s member at `path` (`outer.inner`), summed along it.
    ///
    /// # Errors
    /// Names the struct or member that the kernel lacks.
    pub fn offset(&self, name: &str, path: &str) -> Result<u32, BtfError> {
        Ok(self.bit(name, path)? / 8)
    }

    /// The same in bits, for members that do not begin with a byte.
    ///
    /// # Errors
    /// Names the struct or member that the kernel lacks.
    pub fn bit(&self, name: &str, path: &str) -> Result<u32, BtfError> {
        let id = self.structure(name)?.ok_or_else(|| BtfError::NoStruct(name.to_owned()))?;
        let mut within = self.type_by_id(id)?;
        let missing = || BtfError::NoMember(name.to_owned(), path.to_owned());
        let mut sum = 0;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let (offset, id) = self.member(within, step, MOST_DEPTH)?.ok_or_else(missing)?;
            sum += offset;
            if steps.peek().is_some() {
                within = self.struct_behind(id)?.ok_or_else(missing)?;
            }
        }
        Ok(sum)
    }

    /// Every offset that the kernel programs need.
    ///
    /// # Errors
    /// Names the first struct or member that the kernel lacks.
    pub fn offsets(&self) -> Result<Offsets, BtfError> {
        let at = |name: &str, path: &str| self.offset(name, path);
        Ok(Offsets {
            task_files: at("task_struct", "files")?,
            task_group_leader: at("task_struct", "group_leader")?,
            task_real_parent: at("task_struct", "real_parent")?,
            task_tgid: at("task_struct", "tgid")?,
            task_pid: at("task_struct", "pid")?,
            task_comm: at("task_struct", "comm")?,
            task_start_boottime: at("task_struct", "start_boottime")?,
            task_exit_code: at("task_struct", "exit_code")?,
            task_signal: at("task_struct", "signal")?,
            signal_live: at("signal_struct", "live")?,
            task_mm: at("task_struct", "mm")?,
            task_thread_info_status: at("task_struct", "thread_info.status")?,
            mm_arg_start: at("mm_struct", "arg_start")?,
            mm_arg_end: at("mm_struct", "arg_end")?,
            files_fdt: at("files_struct", "fdt")?,
            fdtable_max_fds: at("fdtable", "max_fds")?,
            fdtable_fd: at("fdtable", "fd")?,
            file_f_inode: at("file", "f_inode")?,
            file_private_data: at("file", "private_data")?,
            inode_i_mode: at("inode", "i_mode")?,
            inode_i_ino: at("inode", "i_ino")?,
            socket_file: at("socket", "file")?,
            socket_sk: at("socket", "sk")?,
            sk_family: at("sock", "__sk_common.skc_family")?,
            sk_state: at("sock", "__sk_common.skc_state")?,
            sk_num: at("sock", "__sk_common.skc_num")?,
            sk_dport: at("sock", "__sk_common.skc_dport")?,
            sk_daddr: at("sock", "__sk_common.skc_daddr")?,
            sk_rcv_saddr: at("sock", "__sk_common.skc_rcv_saddr")?,
            sk_v6_daddr: at("sock", "__sk_common.skc_v6_daddr")?,
            sk_v6_rcv_saddr: at("sock", "__sk_common.skc_v6_rcv_saddr")?,
            sk_net: at("sock", "__sk_common.skc_net.net")?,
            net_ns_inum: at("net", "ns.inum")?,
            sk_protocol: at("sock", "sk_protocol")?,
            sk_type: at("sock", "sk_type")?,
            sk_err: at("sock", "sk_err")?,
            sk_socket: at("sock", "sk_socket")?,
            tcp_write_seq: at("tcp_sock", "write_seq")?,
            tcp_snd_una: at("tcp_sock", "snd_una")?,
            tcp_copied_seq: at("tcp_sock", "copied_seq")?,
            tcp_bytes_acked: at("tcp_sock", "bytes_acked")?,
            tcp_bytes_received: at("tcp_sock", "bytes_received")?,
            tcp_rcv_nxt: at("tcp_sock", "rcv_nxt")?,
            bprm_filename: at("linux_binprm", "filename")?,
            // Only for evidence, which may be left out.
            ..Offsets::default()
        })
    }
}

impl Btf {
    /// The value of a name of an enumeration.
    ///
    /// # Errors
    /// The kernel has no such enumeration or name.
    pub fn enumerator(&self, of: &str, wanted: &str) -> Result<u32, BtfError> {
        let missing = || BtfError::NoEnumerator(of.to_owned(), wanted.to_owned());
        let found = self.type_by_id(self.id(kind::ENUM, of)?.ok_or_else(missing)?)?;
        for index in 0..found.members {
            let at = found.rest + index * 8;
            if self.name_is(word(&self.data, at)?, wanted) {
                return word(&self.data, at + 4);
            }
        }
        Err(missing())
    }
}

/// Bytes that follow a type, by its kind.
fn rest_bytes(found: Type, at: usize) -> Result<usize, BtfError> {
    Ok(match found.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => found.members * 12,
        kind::ENUM | kind::FUNC_PROTO => found.members * 8,
        0..=kind::ENUM64 => 0,
        _ => return Err(BtfError::Damaged(at)),
    })
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    match data.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_ne_bytes([a, b, c, d])),
        _ => Err(BtfError::Damaged(at)),
    }
}

/// A section whose offset (from the end of the header) and length stand at `at`.
fn section(data: &[u8], header_bytes: usize, at: usize) -> Result<std::ops::Range<usize>, BtfError> {
    let from = header_bytes + word(data, at)? as usize;
    let to = from + word(data, at + 4)? as usize;
    if to > data.len() {
        return Err(BtfError::Damaged(at));
    }
    Ok(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes BTF by hand: strings, then types as words.
    pub fn btf(strings: &str, types: &[u32]) -> Vec<u8> {
        let type_bytes: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut data = Vec::new();
        data.extend(0xeb9f_u16.to_ne_bytes());
        data.extend([1, 0]);
        for word in [24, 0, type_bytes.len() as u32, type_bytes.len() as u32, strings.len() as u32] {
            data.extend(word.to_ne_bytes());
        }
        data.extend(type_bytes);
        data.extend(strings.bytes());
        data
    }

    const STRUCT: u32 = kind::STRUCT << 24;

    /// `struct a { int x; struct { int y; struct b b; }; }; struct b { int z:4; int w; }`
    fn example() -> Vec<u8> {
        let strings = "\0int\0a\0x\0y\0b\0z\0w\0";
        let (int, a, x, y, b, z, w) = (1, 5, 7, 9, 11, 13, 15);
        btf(
            strings,
            &[
                // 1: int
                int,
                kind::INT << 24,
                4,
                32,
                // 2: struct a
                a,
                STRUCT | 2,
                16,
                x,
                1,
                0,
                0,
                3,
                32,
                // 3: anonymous struct
                0,
                STRUCT | 2,
                12,
                y,
                1,
                0,
                b,
                5,
                32,
                // 4: struct b
                b,
                STRUCT | 2 | 1 << 31,
                8,
                z,
                1,
                4 << 24,
                w,
                1,
                32,
                // 5: const struct b
                0,
                kind::CONST << 24,
                4,
            ],
        )
    }

    #[test]
    fn offsets_add_up_through_anonymous_and_qualified_structs() {
        let btf = Btf::parse(example()).expect("well-formed");
        assert_eq!(btf.offset("a", "x").expect("x"), 0);
        assert_eq!(btf.offset("a", "y").expect("y"), 4);
        assert_eq!(btf.offset("a", "b").expect("b"), 8);
        assert_eq!(btf.offset("a", "b.w").expect("w"), 12);
        assert_eq!(btf.offset("b", "z").expect("z"), 0);
    }

    #[test]
    fn what_is_missing_is_named() {
        let btf = Btf::parse(example()).expect("well-formed");
        let error = btf.offset("nothing", "x").expect_err("no such struct").to_string();
        assert!(error.ends_with("has no struct nothing"), "{error}");
        let error = btf.offset("a", "b.q").expect_err("no such member").to_string();
        assert!(error.ends_with("struct a has no member b.q"), "{error}");
        let error = btf.offset("a", "x.q").expect_err("x is no struct").to_string();
        assert!(error.ends_with("struct a has no member x.q"), "{error}");
    }

    #[test]
    fn damage_is_an_error_wherever_it_is() {
        let whole = example();
        for cut in 0..whole.len() - 18 {
            let parsed = Btf::parse(whole[..cut].to_vec());
            assert!(parsed.is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            if let Ok(btf) = Btf::parse(broken) {
                let _ = btf.offset("a", "b.w");
            }
        }
    }

    #[test]
    fn the_running_kernel_has_every_field() {
        if !std::path::Path::new(VMLINUX).exists() {
            eprintln!("skipped: this kernel has no {VMLINUX}");
            return;
        }
        let offsets = Btf::of_running_kernel().and_then(|btf| btf.offsets()).expect("every field");
        assert_eq!((offsets.sk_daddr, offsets.sk_rcv_saddr), (0, 4));
        assert_ne!(offsets.tcp_write_seq, offsets.tcp_copied_seq);
    }
}

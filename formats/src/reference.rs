//! The reference page of the capture format (docs/format.md), made from the definitions.

use crate::event::flags;
use crate::marks;
use crate::table::FORMAT_VERSION;
use crate::tables;

/// Bits of `events.flags` with the names that documentation uses.
pub const FLAGS: [(u32, &str, &str); 17] = [
    (
        flags::OFFSET_UNCERTAIN,
        "offset_uncertain",
        "`tcp_seq` may not be that of the first byte: several threads used the socket at once.",
    ),
    (flags::PAYLOAD_CUT, "payload_cut", "More bytes were moved than `payload` shows."),
    (flags::PAYLOAD_TAIL, "payload_tail", "The last 8 bytes of `payload` are the last bytes of the data."),
    (flags::LENGTH_ONLY, "length_only", "The bytes could not be read: the event is a length."),
    (flags::REDACTED, "redacted", "At least one byte of `payload` was blanked with `*`."),
    (
        flags::MULTI_MESSAGE,
        "multi_message",
        "One message of a sendmmsg or recvmmsg call (probe set `syscalls`).",
    ),
    (flags::SPLICED, "spliced", "Moved by sendfile or splice."),
    (flags::TURN, "turn", "First data after a change of direction on this socket."),
    (flags::NO_SEQ, "no_seq", "`tcp_seq` is not known (and null)."),
    (flags::SHUT_READ, "shut_read", "shutdown: the receiving half was shut."),
    (flags::SHUT_WRITE, "shut_write", "shutdown: the sending half was shut."),
    (
        flags::ENTERED_BEFORE,
        "entered_before",
        "The call was entered before the recording began: `duration_ns` counts from there.",
    ),
    (
        flags::PAYLOAD_AT_PEER,
        "payload_at_peer",
        "The first bytes of the data stand with the calls of `sockets.peer_socket_id` that moved them before: those up to the first \
         that no earlier row of it moved; all of them where `payload` is null. In `payload` as many are blank, unless nothing but the last 8 was kept.",
    ),
    (
        marks::READ,
        "read",
        "Redaction has looked for the protocol in the data as it was, not as it is stored: `recognised` and `begins` tell what it saw. Absent \
         where nobody has looked, and in captures of older versions.",
    ),
    (
        marks::BEGINS,
        "begins",
        "The first byte of the data begins a message beyond doubt, behind others of which that was not known.",
    ),
    (marks::ANSWER, "answer", "The data that told what `recognised` says is an answer."),
    (
        marks::RECOGNISED,
        "recognised",
        "Eight bits: the number of the protocol that the data told, see protocols.md; 0 where it told none.",
    ),
];

/// The whole page, in Markdown.
pub fn page() -> String {
    let mut page = format!(
        "<!-- Made from formats/src/tables.rs by `ACCEPT=1 cargo test --test pure`. -->\n\
         # The capture format, version {FORMAT_VERSION}\n\n{INTRODUCTION}"
    );
    for table in tables::ALL {
        page.push('\n');
        page.push_str(&table.markdown());
        if table.name == tables::EVENTS.name {
            page.push_str("\nBits of `flags`:\n\n| bit | name | meaning |\n|---|---|---|\n");
            for (bit, name, meaning) in FLAGS {
                page.push_str(&format!("| {bit} | `{name}` | {meaning} |\n"));
            }
        }
    }
    page
}

const INTRODUCTION: &str = "\
A capture is a directory:

    manifest.json                what is there: files with rows, bytes, time range and checksum; host; options; losses
    <table>/<nnnnnn>.parquet     the rows of one table in one part; zstd where they are many
    <table>/<n>-<m>.parquet      the same of the parts n to m, put together

Everything in it can be read by any Parquet reader; nothing needs the manifest but the checks. Tested with DuckDB 1.1 and 2.0,
pyarrow 14 and polars 0.20. (Older recorders wrote integers as BYTE_STREAM_SPLIT: for their captures DuckDB 2, pyarrow 16.1 or polars 1.9 is
needed, and polars 0.20 misreads their wall-clock times.)

* **Parts.** A part has the same number in every table, and no file where it has no rows. Within a file the rows are in the declared
  order, in one run. Two parts overlap in time only where they are neighbours. When they are old, neighbours are put together: eight of one
  size become one of the next, up to files of 65,536 rows, and what is small at a clean end. `part` in the manifest is then the last part and
  `first_part` the first one. The manifest lists the new file before the old ones go: after a kill in between both are there, and only the one
  that the manifest lists counts.
* **States.** `recording`: its recorder lives and holds a lock on `recording.lock`. `complete`: ended cleanly. Anything else is an
  interrupted capture, which is whole up to `whole_until_boot_ns`. Files whose name ends in `.tmp` are not part of it.
* **Filters.** What filters and `--sample` left out is in no table and no loss: `options` of the manifest has them (docs/filters.md). `processes`,
  `execs`, `usage` and rows of stopped processes are of the whole host in any case.
* **Checks.** `xxh3` is XXH3-64 over the file's bytes, 16 hexadecimal digits. Check it before reading: a flipped bit in compressed data
  often reads back without an error. The last field of `manifest.json`, `xxh3` too, is the same over all of that file that stands before
  the comma before it; the first captures have none. `rows` and the time range of a file are those in its Parquet footer.
* **Safe to open.** Readers take a capture as something that came from anywhere. They open regular files only (no links, pipes, devices) and compare
  sizes first; the manifest has at most 64 MiB. Columns are flat; pages have at most 32 MiB, dictionaries too; text has at most 16 KiB, names 1 KiB,
  payloads twice the longest snap length; a file has at most 131,072 rows and 64 a byte (dimensions 8). Times lie between boot and a day after
  `whole_until_boot_ns`, and a recording has at most 400 days. What is otherwise, or not in the declared order, is refused with the name of the file.
* **Each byte once** (version 2). Where both ends of a connection were recorded, `sockets.peer_socket_id` names the other one, and bytes stand with
  the row that moved them first, whichever end that was. A later row of the other end that moved them too has the flag `payload_at_peer`: what it
  moved is what earlier rows of the other end moved with the same `tcp_seq`. Mostly that is one row with the same `done_bytes`; it may be a part of one, or several.
  The analyzer puts them together before it reads anything; `events` shows rows as they are stored.
* **Hashes of secrets** (`--hash-secrets`). `events.secret_hashes` has 6 bytes for each value, little endian: a u16, where in the data of the call the value begins,
  and a u32, its hash. `payload`, and `framing` behind it, show a `*` there and the name before it (`*` too beyond the snap length). Equal values under one name (in
  whatever case) have equal hashes, others differ but for one in 2^32; nothing else can be told without the key, which is random for each recording and never written. A value is hashed as a
  whole (of a header without the space around it) or not at all; the absence of a hash says nothing. They stand with the bytes, so with the other end's row where `payload_at_peer` says so.
* **Times** are nanoseconds of CLOCK_BOOTTIME of the recorded host; `clock` gives wall time. (Of imported packets the first has 1 s; of imported traces they count from 1970 UTC.) **Ids** never repeat within a capture.
* **Dimensions** (`processes`, `containers`, `sockets`): in an interrupted capture an id may have a row in several parts, and the last one holds. In a
  complete one each id has one row.
* **Versions.** In version 1 each row has its own bytes; readers of 2 read it. Columns are added freely, nullable, and a reader takes a missing one for null. A change of meaning or unit is a new
  version; older ones stay readable.
* Every file is readable by its owner alone.
";

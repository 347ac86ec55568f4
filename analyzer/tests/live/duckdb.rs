//! Another implementation reads a capture's files and finds the same.

use crate::lab::chain::Chain;
use crate::lab::recording::Recording;
use crate::lab::{duck, ebpf_or_skip, load};

#[test]
fn duckdb_counts_and_orders_the_same() {
    let Some(_turn) = ebpf_or_skip("duckdb_counts_and_orders_the_same") else { return };
    let chain = Chain::start();
    let recording = Recording::of_ports(&chain.ports());
    load::ab(chain.port(), "/size/5000", 500, 8, true);
    load::ab(chain.port(), "/size/10", 100, 8, false);
    chain.ways(108);
    let capture = recording.finish();
    for table in ["events", "sockets", "processes", "clock"] {
        let query = format!("SELECT count(*) AS n FROM {table}");
        let ours = capture.number(&query);
        assert!(ours > 0, "no rows in {table}");
        assert_eq!(ours, duck::number(capture.dir(), &query), "rows of {table}");
    }
    let queries = [
        // Depends on the order of all rows.
        "SELECT sum(r * done_bytes) AS n FROM (SELECT done_bytes, \
         row_number() OVER (ORDER BY boot_ns, cpu, seq) AS r FROM events)",
        // Depends on the order within each socket.
        "SELECT count(*) AS n FROM (SELECT kind, lag(kind) OVER (PARTITION BY socket_id ORDER BY boot_ns, cpu, seq) AS last \
         FROM events) WHERE kind = 'send' AND last = 'receive'",
        "SELECT sum(s.local_port * e.done_bytes) AS n FROM events e JOIN sockets s ON s.socket_id = e.socket_id \
         WHERE e.kind = 'send' AND s.role = 'server'",
        "SELECT count(payload) AS n FROM events",
    ];
    for query in queries {
        let ours = capture.number(query);
        assert!(ours > 0, "{query} found nothing");
        assert_eq!(ours, duck::number(capture.dir(), query), "{query}");
    }
}

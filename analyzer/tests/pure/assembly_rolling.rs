//! Recordings that keep the latest only: what becomes of connections whose begin is gone.

use retrospan_formats::manifest::Rolled;
use retrospan_formats::reader::Capture;

use crate::assembly_support::{GET, MS, OK, Recorded, World, new_capture, outcome};

/// The first part is gone, with the begin of a connection that lives on.
#[test]
fn what_was_let_go_of_is_as_if_it_had_been_before_the_recording() {
    let mut world = World::new();
    let (client, server) = (world.process("client"), world.process("server"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = folder.path().join("test.cap");
    let mut writer = new_capture(&directory);
    let older = world.connect(client, server, 80);
    world.request(older, GET);
    world.respond(older, OK);
    world.request(older, GET);
    world.drain_events(&mut writer);
    let began_ns = world.now_ns;
    writer.rotate(began_ns, Vec::new()).expect("a part");
    world.wait(MS);
    // The answer to a request that is gone.
    world.respond(older, OK);
    world.request(older, GET);
    world.wait(10 * MS);
    world.respond(older, OK);
    let newer = world.connect(client, server, 80);
    world.request(newer, GET);
    world.respond(newer, OK);
    world.drain_events(&mut writer);
    let first = writer.manifest().files.clone();
    writer.began(began_ns, began_ns);
    writer.let_go(&first, Rolled::default(), Vec::new()).expect("it goes");
    world.complete(writer);
    let capture = Capture::open(&directory).expect("the capture opens");
    let assembled = Recorded { capture, folder }.assembled();
    for socket in [older.client, older.server, newer.client, newer.server] {
        let spans = assembled.of(socket);
        assert_eq!(spans.iter().map(|span| outcome(span)).collect::<Vec<_>>(), ["GET /a 200 ok - 52 43"]);
    }
    let discovered = assembled.rows("connections").iter().map(|row| row["discovered"].clone());
    assert_eq!(discovered.collect::<Vec<_>>(), ["true", "false"]);
}

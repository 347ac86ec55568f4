//! One exchange over loopback, as the rings show it.

mod kernel_support;

use kernel_support::{Recording, own_sockets};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

#[test]
fn one_exchange() {
    let Some(recording) = Recording::start(&own_sockets()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let mut client = TcpStream::connect(address).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("send");
    let mut buffer = [0; 100];
    assert_eq!(server.read(&mut buffer).expect("receive"), 27);
    drop(client);
    drop(server);
    let (records, losses, _) = recording.finish();
    for record in &records {
        println!("{record:?}");
    }
    println!("{losses:?}");
}

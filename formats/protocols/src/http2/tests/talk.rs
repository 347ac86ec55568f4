//! A conversation that has everything.

use super::made::{END_HEADERS, END_STREAM, Encoder, PADDED, PRIORITY, Way, data, frame, headers, reset};
use crate::Direction;
use crate::http2::frame::{PREFACE, kind};

/// Stands wherever nothing may be kept.
pub const CANARY: &str = "QzW7kXv9Lp2Y";

type Fields<'a> = [(&'a str, &'a str, Way)];

/// Both sides, and what they have said.
#[derive(Debug, Default)]
pub struct Talk {
    pub client: Encoder,
    pub server: Encoder,
    pub conversation: Vec<(Direction, Vec<u8>)>,
}

impl Talk {
    pub fn ask(&mut self, bytes: Vec<u8>) {
        self.conversation.push((Direction::Requests, bytes));
    }

    pub fn answer(&mut self, bytes: Vec<u8>) {
        self.conversation.push((Direction::Responses, bytes));
    }

    pub fn begin(&mut self) {
        let settings = frame(kind::SETTINGS, 0, 0, b"\0\x01\0\0\x20\0\0\x04\0\0\xff\xff");
        self.ask([&PREFACE[..], &settings].concat());
        self.answer(settings);
        self.ask(frame(kind::SETTINGS, 1, 0, b""));
        self.answer(
            [frame(kind::SETTINGS, 1, 0, b""), frame(kind::WINDOW_UPDATE, 0, 0, b"\0\0\xff\0")].concat(),
        );
    }

    pub fn request(&mut self, stream: u32, flags: u8, fields: &Fields<'_>) -> Vec<u8> {
        let block = self.client.block(fields);
        headers(stream, flags, &block)
    }

    pub fn response(&mut self, stream: u32, flags: u8, fields: &Fields<'_>) -> Vec<u8> {
        let block = self.server.block(fields);
        headers(stream, flags, &block)
    }

    /// A call of gRPC.
    pub fn rpc(&mut self, stream: u32, path: &str) -> Vec<u8> {
        let fields = [
            (":method", "POST", Way::Indexed),
            (":scheme", "http", Way::Indexed),
            (":path", path, Way::Indexed),
            (":authority", "shop.example:8080", Way::Indexed),
            ("content-type", "application/grpc", Way::Indexed),
            ("te", "trailers", Way::Indexed),
            ("grpc-timeout", "1S", Way::Added),
            ("authorization", CANARY, Way::Indexed),
        ];
        let head = self.request(stream, 0, &fields);
        [head, data(stream, END_STREAM, CANARY.as_bytes())].concat()
    }

    pub fn rpc_head(&mut self, stream: u32) -> Vec<u8> {
        let fields = [(":status", "200", Way::Indexed), ("content-type", "application/grpc", Way::Indexed)];
        self.response(stream, 0, &fields)
    }

    pub fn rpc_end(&mut self, stream: u32, status: &str) -> Vec<u8> {
        let fields = [("grpc-status", status, Way::Indexed), ("grpc-message", CANARY, Way::Coded)];
        self.response(stream, END_STREAM, &fields)
    }

    fn requests(&mut self) {
        let fields = [
            (":method", "GET", Way::Indexed),
            (":scheme", "http", Way::Indexed),
            (":authority", "shop.example:8080", Way::Indexed),
            (":path", &format!("/items/7?who={CANARY}"), Way::Coded),
            ("user-agent", "test/1", Way::Indexed),
            ("cookie", CANARY, Way::Never),
            ("x-own", CANARY, Way::Indexed),
            ("accept", "*/*", Way::Indexed),
            ("x-request-id", "r-17", Way::Plain),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Way::Added),
        ];
        let get = self.request(1, END_STREAM, &fields);
        self.ask(get);
        // Padding, priority, content in turns with another stream, trailers.
        let block = self.client.block(&[
            (":method", "PUT", Way::Added),
            (":path", "/upload", Way::Plain),
            (":scheme", "http", Way::Indexed),
            ("x-own", CANARY, Way::Indexed),
        ]);
        let padded = [&[4], &b"\0\0\0\0\x10"[..], &block, &CANARY.as_bytes()[..4]].concat();
        self.ask(frame(kind::HEADERS, END_HEADERS | PADDED | PRIORITY, 3, &padded));
        self.ask([data(3, PADDED, &[&[3], &b"content"[..], &[0; 3]].concat())].concat());
        let early = self.request(5, END_STREAM, &fields[..4]);
        self.ask(
            [early, frame(kind::PING, 0, 0, &CANARY.as_bytes()[..8]), data(3, 0, CANARY.as_bytes())].concat(),
        );
        let trailers = self.client.block(&[("x-sum", CANARY, Way::Coded)]);
        self.ask(headers(3, END_STREAM, &trailers));
    }

    fn answers(&mut self) {
        let early = self.response(5, 0, &[(":status", "100", Way::Indexed)]);
        let hints = self.response(5, 0, &[(":status", "103", Way::Added), ("link", CANARY, Way::Indexed)]);
        self.answer([early, frame(kind::PING, 1, 0, &CANARY.as_bytes()[..8]), hints].concat());
        let fields = [
            (":status", "404", Way::Indexed),
            ("set-cookie", CANARY, Way::Indexed),
            ("server", "test", Way::Indexed),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT", Way::Indexed),
        ];
        let block = self.server.block(&fields);
        let (first, rest) = block.split_at(4);
        let (second, third) = rest.split_at(7);
        let frames = [
            frame(kind::HEADERS, END_STREAM, 5, first),
            frame(kind::CONTINUATION, 0, 5, second),
            frame(kind::CONTINUATION, 0, 5, b""),
            frame(kind::CONTINUATION, END_HEADERS, 5, third),
        ];
        self.answer(frames.concat());
        // What nobody asked for.
        let promised =
            self.server.block(&[(":method", "GET", Way::Indexed), (":path", "/pushed", Way::Added)]);
        self.answer(frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[&b"\0\0\0\x02"[..], &promised].concat()));
        let pushed = self.response(2, 0, &[(":status", "200", Way::Indexed)]);
        self.answer([pushed, data(2, END_STREAM, CANARY.as_bytes())].concat());
        let get = self.response(1, 0, &[(":status", "200", Way::Indexed), fields[2]]);
        self.answer([get, frame(0x4b, 0x55, 0, CANARY.as_bytes()), data(1, 0, CANARY.as_bytes())].concat());
        let put = self.response(3, END_STREAM, &[(":status", "503", Way::Indexed), fields[3]]);
        self.answer([put, data(1, END_STREAM, CANARY.as_bytes())].concat());
    }

    fn calls(&mut self) {
        self.client.resize(128);
        let gets = [self.rpc(7, "/shop.Orders/Get"), self.rpc(9, "/shop.Orders/Get")].concat();
        self.ask(gets);
        let list = self.rpc(11, "/shop.Orders/List");
        self.ask(list);
        let get = self.rpc(13, "/shop.Orders/Get");
        self.ask(get);
        let (list, get) = (self.rpc_head(11), self.rpc_head(7));
        self.answer([list, data(11, 0, CANARY.as_bytes()), get].concat());
        let end = self.rpc_end(7, "0");
        self.answer([data(7, 0, CANARY.as_bytes()), data(11, 0, CANARY.as_bytes()), end].concat());
        let refused = [
            (":status", "200", Way::Indexed),
            ("content-type", "application/grpc", Way::Indexed),
            ("grpc-status", "5", Way::Added),
            ("grpc-message", CANARY, Way::Added),
        ];
        let refused = self.response(9, END_STREAM, &refused);
        self.answer(refused);
        let list = self.rpc_end(11, "0");
        let proxy =
            self.response(13, 0, &[(":status", "503", Way::Indexed), ("server", "proxy", Way::Indexed)]);
        self.answer([list, proxy, data(13, END_STREAM, CANARY.as_bytes())].concat());
    }

    fn ends(&mut self) {
        let fields = [
            (":method", "POST", Way::Indexed),
            (":path", "/x", Way::Plain),
            (":scheme", "http", Way::Indexed),
        ];
        for stream in [15, 17, 19, 21, 23, 25] {
            let head = self.request(stream, 0, &fields);
            self.ask(head);
        }
        let ok = [(":status", "204", Way::Indexed)];
        let begun = self.response(15, 0, &ok);
        self.answer(begun);
        self.ask(reset(15, 8));
        self.answer(reset(17, 2));
        let done = self.response(19, END_STREAM, &ok);
        self.answer([done, reset(19, 0)].concat());
        self.answer(frame(kind::GOAWAY, 0, 0, &[&b"\0\0\0\x15\0\0\0\0"[..], CANARY.as_bytes()].concat()));
        self.ask(data(19, END_STREAM, CANARY.as_bytes()));
    }
}

/// All of it.
pub fn everything() -> Vec<(Direction, Vec<u8>)> {
    let mut talk = Talk::default();
    talk.begin();
    talk.requests();
    talk.answers();
    talk.calls();
    talk.ends();
    talk.conversation
}

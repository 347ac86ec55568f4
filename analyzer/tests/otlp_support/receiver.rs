//! A receiver that decodes and takes every request, over gRPC and over HTTP/1.1.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use h2::RecvStream;
use h2::server::{self, SendResponse};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use prost::bytes::Bytes;

/// How much may be under way on a connection, bytes: a sender that has several requests in flight does not wait.
const WINDOW: u32 = 32 << 20;

/// The path and the headers of a request, names in lower case.
#[derive(Debug, Default)]
pub struct Head {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

/// What to do with a request.
pub type Take = Arc<dyn Fn(Head, ExportTraceServiceRequest) + Send + Sync>;

/// Starts it; returns its URLs for gRPC and for HTTP. It runs until the process ends.
pub fn start(take: Take) -> (String, String) {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
    let (grpc, http) = (bind(), bind());
    let urls = (url(&grpc), url(&http));
    let taken = Arc::clone(&take);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(serve_grpc(grpc, taken));
    });
    thread::spawn(move || {
        for stream in http.incoming() {
            let take = Arc::clone(&take);
            thread::spawn(move || serve_http(stream.expect("a connection"), &take));
        }
    });
    urls
}

async fn serve_grpc(listener: TcpListener, take: Take) {
    listener.set_nonblocking(true).expect("non-blocking");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let take = Arc::clone(&take);
        tokio::spawn(async move {
            let mut builder = server::Builder::new();
            builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
            let mut connection = builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(answer(request, respond, Arc::clone(&take)));
            }
        });
    }
}

/// A message in gRPC: a byte that says whether it is compressed, four with its length, the message.
async fn answer(request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>, take: Take) {
    let mut got = Head { path: request.uri().path().to_owned(), ..Head::default() };
    for (name, value) in request.headers() {
        got.headers.insert(name.to_string(), value.to_str().expect("text").to_owned());
    }
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("data");
        body.flow_control().release_capacity(chunk.len()).expect("room");
        message.extend_from_slice(&chunk);
    }
    assert_eq!(message[0], 0, "nobody asked for compression");
    let length = u32::from_be_bytes(message[1..5].try_into().expect("four bytes"));
    assert_eq!(length as usize, message.len() - 5);
    take(got, ExportTraceServiceRequest::decode(&message[5..]).expect("a request"));
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
    let mut stream = respond.send_response(head, false).expect("a response");
    stream.send_data(Bytes::from_static(&[0; 5]), false).expect("an empty message");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    stream.send_trailers(trailers).expect("trailers");
}

fn serve_http(stream: TcpStream, take: &Take) {
    let mut stream = BufReader::with_capacity(1 << 20, stream);
    while let Some((head, body)) = read_post(&mut stream) {
        take(head, ExportTraceServiceRequest::decode(body.as_slice()).expect("a request"));
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("an answer");
    }
}

/// A request; nothing where the connection ends.
fn read_post(stream: &mut impl BufRead) -> Option<(Head, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut head = Head { path: line.split(' ').nth(1)?.to_owned(), ..Head::default() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        head.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; head.headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

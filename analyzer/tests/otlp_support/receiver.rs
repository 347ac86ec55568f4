//! A receiver that decodes and takes every request, over gRPC and over HTTP/1.1.

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

/// What to do with a request.
pub type Take = Arc<dyn Fn(ExportTraceServiceRequest) + Send + Sync>;

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
                tokio::spawn(answer(request.into_body(), respond, Arc::clone(&take)));
            }
        });
    }
}

/// A message in gRPC: a byte that says whether it is compressed, four with its length, the message.
async fn answer(mut body: RecvStream, mut respond: SendResponse<Bytes>, take: Take) {
    let mut message = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("data");
        body.flow_control().release_capacity(chunk.len()).expect("room");
        message.extend_from_slice(&chunk);
    }
    assert_eq!(message[0], 0, "nobody asked for compression");
    let length = u32::from_be_bytes(message[1..5].try_into().expect("four bytes"));
    assert_eq!(length as usize, message.len() - 5);
    take(ExportTraceServiceRequest::decode(&message[5..]).expect("a request"));
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
    let mut stream = respond.send_response(head, false).expect("a response");
    stream.send_data(Bytes::from_static(&[0; 5]), false).expect("an empty message");
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    stream.send_trailers(trailers).expect("trailers");
}

fn serve_http(stream: TcpStream, take: &Take) {
    let mut stream = BufReader::with_capacity(1 << 20, stream);
    while let Some(body) = read_post(&mut stream) {
        take(ExportTraceServiceRequest::decode(body.as_slice()).expect("a request"));
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("an answer");
    }
}

/// The body of a request; nothing where the connection ends.
fn read_post(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok(),
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

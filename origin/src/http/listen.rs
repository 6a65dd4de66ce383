//! Listening: connections in, with caps and time limits; a drain on the way out.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Version;
use axum::http::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use hyper::body::Incoming as HyperBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::socket::Socket;
use crate::ending::Follow;

/// How long the head of a request may take.
const HEAD_IN: Duration = Duration::from_secs(10);

/// Most headers of a request; more are answered with 431.
const HEADERS: usize = 100;

/// Most bytes of a request's head that are buffered; more are answered with 431.
const HEAD_LEN: usize = 64 * 1024;

/// How long requests may go on after the last connection was accepted.
const DRAIN_IN: Duration = Duration::from_secs(10);

/// Binds a listener.
///
/// # Errors
/// The operating system's, with the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

/// Serves until the process ends, then lets requests under way finish.
///
/// While it drains, connections are accepted, and end with their next answer.
pub async fn serve(listener: TcpListener, router: Router, mut ending: Follow) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending.ends() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(answer(stream, peer, router.clone(), ending.clone(), &connections));
            }
            Err(error) => {
                // Out of file descriptors: connections that end will free some.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_IN, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests were still under way when the process ended");
    }
}

/// Answers the requests of one connection.
fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    ending: Follow,
    connections: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<HyperBody>| {
        let (router, ending) = (router.clone(), ending.clone());
        async move {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let ambiguous = Ambiguous::find(&request);
            if let Some(ambiguous) = ambiguous {
                request.extensions_mut().insert(ambiguous);
            }
            let mut response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            if ambiguous.is_some() || ending.is_draining() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_IN)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_LEN)
        .serve_connection(TokioIo::new(Socket::new(stream)), service);
    let connection = connections.watch(connection);
    async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, %peer, "a connection ended early");
        }
    }
}

/// What of a request another server on its way may have read otherwise: it is refused, and nothing
/// more is read of its connection.
///
/// Source: RFC 9112 §3.2 (`Host`), §6.1 and §11.2 (request smuggling). Stricter: no transfer coding
/// is taken but one `chunked`. A request with a length beside it is read by its chunks, and its
/// connection ends, as §6.3 asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous(
    /// What it is.
    pub &'static str,
);

impl Ambiguous {
    fn find<B>(request: &hyper::Request<B>) -> Option<Self> {
        let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
        let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if codings.next().is_some_and(|coding| !is_chunked(coding)) || codings.next().is_some() {
            return Some(Self("the transfer coding is not chunked"));
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let is_named = hosts.next().map_or(request.version() < Version::HTTP_11, |host| {
            Authority::try_from(host.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
        });
        (!is_named || hosts.next().is_some()).then_some(Self("the request has not one host"))
    }
}

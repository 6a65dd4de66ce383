//! A proxy that understands HTTP, and plays the tricks that networks play with whole requests.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::header::CONNECTION;
use tokio::net::TcpListener;

/// What is done to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trick {
    /// It is handed on, and its reply is lost: the connection is closed instead.
    SwallowReply,
    /// It is handed on, and once more so much later, when nobody expects it: after no time, both at the
    /// same time. The first one's reply is given.
    AgainAfter(Duration),
    /// It is handed on late.
    After(Duration),
    /// It is answered by the gate itself, with this status and body.
    Instead(u16, &'static str),
}

/// Which requests a trick is played on.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The path.
    pub path: &'static str,
    /// What the body must have in it.
    pub contains: &'static str,
    /// One request in so many.
    pub one_in: u64,
    /// What is done.
    pub trick: Trick,
}

/// A copy that the gate has sent by itself, and what came of it.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The request's path.
    pub path: String,
    /// Its body.
    pub form: String,
    /// The answer's status and body; `None` for none.
    pub answer: Option<(u16, String)>,
    /// When it was sent.
    pub began: Instant,
    /// When its answer was there.
    pub ended: Instant,
}

#[derive(Debug)]
struct Shared {
    target: String,
    rules: Mutex<Vec<Rule>>,
    copies: Mutex<Vec<Copied>>,
    matched: AtomicU64,
    /// Copies that have no answer yet.
    pending: AtomicU64,
    client: reqwest::Client,
}

/// A running gate. Dropping it ends it.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Gate {
    /// Listens at `port` of 127.0.0.1 and hands on to the server at `target`.
    ///
    /// # Errors
    /// The operating system's, and the client's.
    pub async fn start(port: u16, target: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        // Connections are never used again: whether one ends meanwhile is not what is tried here.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()?;
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            rules: Mutex::default(),
            copies: Mutex::default(),
            matched: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            client,
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { shared, accepting })
    }

    /// Sets what is done to requests, in place of what was.
    pub fn play(&self, rules: Vec<Rule>) {
        *lock(&self.shared.rules) = rules;
    }

    /// Takes the copies that were sent meanwhile, once all of them have been answered.
    ///
    /// # Panics
    /// When that takes too long.
    #[must_use]
    pub fn copies(&self) -> Vec<Copied> {
        stack::wait_until("copies to be answered", stack::PATIENCE, || {
            self.shared.pending.load(Ordering::SeqCst) == 0
        });
        std::mem::take(&mut lock(&self.shared.copies))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new();
            // An error is a reply that was swallowed, or a peer that has gone.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A request that has arrived in full.
#[derive(Clone, Debug)]
struct Arrived {
    method: hyper::Method,
    target: String,
    headers: hyper::HeaderMap,
    body: Bytes,
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = parts.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
    let arrived = Arrived { method: parts.method, target, headers: parts.headers, body };
    match shared.trick(&arrived) {
        None => shared.hand_on(&arrived).await,
        Some(Trick::SwallowReply) => {
            let _ = shared.hand_on(&arrived).await;
            Err(io::Error::other("the reply is swallowed"))
        }
        Some(Trick::AgainAfter(pause)) => {
            // Whoever asked may have gone before the copy is answered.
            let (shared_then, again) = (shared.clone(), arrived.clone());
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                shared_then.copy(&again).await;
            });
            shared.hand_on(&arrived).await
        }
        Some(Trick::After(pause)) => {
            tokio::time::sleep(pause).await;
            shared.hand_on(&arrived).await
        }
        Some(Trick::Instead(status, text)) => {
            let mut response = Response::new(Full::from(text));
            *response.status_mut() =
                hyper::StatusCode::from_u16(status).map_err(io::Error::other)?;
            Ok(response)
        }
    }
}

impl Shared {
    fn trick(&self, arrived: &Arrived) -> Option<Trick> {
        let rules = lock(&self.rules);
        let path = arrived.target.split('?').next().unwrap_or_default();
        let body = std::str::from_utf8(&arrived.body).unwrap_or_default();
        let rule = rules.iter().find(|it| it.path == path && body.contains(it.contains))?;
        let number = self.matched.fetch_add(1, Ordering::Relaxed);
        let trick = number.is_multiple_of(rule.one_in).then(|| rule.trick.clone());
        if matches!(trick, Some(Trick::AgainAfter(_))) {
            self.pending.fetch_add(1, Ordering::SeqCst);
        }
        trick
    }

    async fn hand_on(&self, arrived: &Arrived) -> Result<Response<Full<Bytes>>, io::Error> {
        let mut headers = arrived.headers.clone();
        headers.remove(CONNECTION);
        let sent = self
            .client
            .request(arrived.method.clone(), format!("{}{}", self.target, arrived.target))
            .headers(headers)
            .body(arrived.body.clone())
            .send();
        let answer = sent.await.map_err(io::Error::other)?;
        let mut response = Response::new(Full::default());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        response.headers_mut().remove(CONNECTION);
        *response.body_mut() = Full::from(answer.bytes().await.map_err(io::Error::other)?);
        Ok(response)
    }

    /// Hands a copy on, and writes down what came of it.
    async fn copy(&self, arrived: &Arrived) {
        let began = Instant::now();
        let answer = match self.hand_on(arrived).await {
            Ok(response) => {
                let status = response.status().as_u16();
                let body: Result<_, Infallible> = response.into_body().collect().await;
                let body = body.unwrap_or_else(|never| match never {}).to_bytes();
                Some((status, String::from_utf8_lossy(&body).into_owned()))
            }
            Err(_) => None,
        };
        let path = arrived.target.split('?').next().unwrap_or_default().to_owned();
        let form = String::from_utf8_lossy(&arrived.body).into_owned();
        lock(&self.copies).push(Copied { path, form, answer, began, ended: Instant::now() });
        self.pending.fetch_sub(1, Ordering::SeqCst);
    }
}

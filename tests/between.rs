//! A proxy between an edge and its origin that answers some requests by itself: what a load
//! balancer, a wire or a broken origin may put in the place of the origin's own answer.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use stack::EdgeSettings;

use crate::scripted::{Received, Scripted};
use crate::server::Server;

/// A running proxy. Dropping it ends it.
pub(crate) struct Between(Scripted);

impl Between {
    /// Starts a system whose edge reaches its origin through a proxy. `answers` answers a request
    /// and says so, or leaves it to the origin, with its headers as they are then.
    pub(crate) fn start(
        tune: impl FnOnce(&mut EdgeSettings),
        answers: impl Fn(&mut Received, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> (Server, Self) {
        let origin = Arc::<OnceLock<String>>::default();
        let behind = Arc::clone(&origin);
        let between = Scripted::start(move |received, stream| {
            let mut received = received.clone();
            if !answers(&mut received, stream)
                && let Some(origin) = behind.get()
            {
                pass(origin, &received, stream);
            }
        });
        let server = Server::start_tuned(
            |_| (),
            |edge| {
                edge.set("CADENCE_ORIGIN_URL", &between.url());
                tune(edge);
            },
        );
        origin.set(server.origin.url()).unwrap();
        (server, Self(between))
    }

    /// Counts the requests for a path, whoever has answered them.
    pub(crate) fn asked_for(&self, path: &str) -> usize {
        self.0.received().iter().filter(|it| it.target.split('?').next() == Some(path)).count()
    }
}

/// Hands a request on, and its answer back.
fn pass(origin: &str, received: &Received, stream: &mut TcpStream) {
    let Ok(mut up) = TcpStream::connect(origin.strip_prefix("http://").unwrap()) else { return };
    let fields: String = received
        .headers
        .iter()
        .filter(|(name, _)| {
            let framing = ["connection", "content-length", "transfer-encoding"];
            !framing.contains(&name.to_ascii_lowercase().as_str())
        })
        .map(|(name, value)| [name, ": ", value, "\r\n"].concat())
        .collect();
    let Received { method, target, body, .. } = received;
    let length = match (method.as_str(), body.len()) {
        ("GET" | "HEAD", 0) => String::new(),
        (_, length) => format!("content-length: {length}\r\n"),
    };
    let head = format!("{method} {target} HTTP/1.1\r\n{fields}{length}connection: close\r\n\r\n");
    // Either side may be gone already.
    let _ = up.write_all(&[head.as_bytes(), body].concat());
    let _ = std::io::copy(&mut up, stream);
}

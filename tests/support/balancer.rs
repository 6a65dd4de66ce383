//! A TCP load balancer as small as can be: it asks each server whether it is ready, and leads new
//! connections to those that are.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often each server is asked.
const ASKED_EVERY: Duration = Duration::from_millis(50);

/// A running balancer. Dropping it ends it.
#[derive(Debug)]
pub struct Balancer {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    servers: Vec<(u16, AtomicBool)>,
    next: AtomicUsize,
    ended: AtomicBool,
}

impl Balancer {
    /// Starts one before the servers at these ports of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(ports: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it listens").port();
        let servers = ports.iter().map(|&port| (port, AtomicBool::new(is_ready(port)))).collect();
        let shared = Arc::new(Shared {
            servers,
            next: AtomicUsize::default(),
            ended: AtomicBool::default(),
        });
        // Each by a thread of its own: one that is slow to answer delays no other's.
        for at in 0..shared.servers.len() {
            let asking = Arc::clone(&shared);
            std::thread::spawn(move || asking.ask(at));
        }
        let leading = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if leading.ended.load(Ordering::Relaxed) {
                    return;
                }
                let leading = Arc::clone(&leading);
                std::thread::spawn(move || leading.lead(client));
            }
        });
        Self { port, shared }
    }

    /// Returns where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Tells which servers it takes for ready.
    #[must_use]
    pub fn ready(&self) -> Vec<u16> {
        let servers = self.shared.servers.iter();
        let ready = servers.filter(|(_, ready)| ready.load(Ordering::Relaxed));
        ready.map(|(port, _)| *port).collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    /// Asks one server again and again, until the balancer ends.
    fn ask(&self, at: usize) {
        let Some((port, ready)) = self.servers.get(at) else { return };
        while !self.ended.load(Ordering::Relaxed) {
            ready.store(is_ready(*port), Ordering::Relaxed);
            std::thread::sleep(ASKED_EVERY);
        }
    }

    /// Joins a client with the next server that is ready; without one, the connection ends.
    fn lead(&self, client: TcpStream) {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = (0..self.servers.len()).map(|step| (first + step) % self.servers.len());
        let ready = turn.filter_map(|at| self.servers.get(at));
        let mut ready = ready.filter(|(_, ready)| ready.load(Ordering::Relaxed));
        let server = ready.find_map(|(port, _)| TcpStream::connect(("127.0.0.1", *port)).ok());
        let Some(server) = server else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        if let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) {
            let up = std::thread::spawn(move || copy(from_client, server));
            copy(from_server, client);
            let _ = up.join();
        }
    }
}

/// Copies what comes from one side to the other, and says that it has ended.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Asks a server whether it wants requests.
fn is_ready(port: u16) -> bool {
    crate::origin::get(port, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

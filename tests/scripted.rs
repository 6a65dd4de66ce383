//! A small HTTP server that does what a test tells it: an upstream that notes what it was sent, or
//! an origin that misbehaves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What a request was.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// Returns the values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the names of all headers, in lower case.
    pub(crate) fn names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

/// A running server. Dropping it ends it.
pub(crate) struct Scripted {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    ended: Arc<AtomicBool>,
}

impl Scripted {
    /// Starts a server that reads each request in full and hands it to `answer`, with the socket.
    pub(crate) fn start(
        answer: impl Fn(&Received, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        Self::begin(move |list, head, reader, stream| {
            let mut received = head.clone();
            received.body = read_body(head, reader);
            list.lock().unwrap().push(received.clone());
            answer(&received, stream);
        })
    }

    /// Starts a server whose script reads the body by itself; only heads are noted.
    pub(crate) fn start_raw(
        script: impl Fn(&Received, &mut BufReader<TcpStream>, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        Self::begin(move |list, head, reader, stream| {
            list.lock().unwrap().push(head.clone());
            script(head, reader, stream);
        })
    }

    fn begin(
        script: impl Fn(&Mutex<Vec<Received>>, &Received, &mut BufReader<TcpStream>, &mut TcpStream)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, ended) = (Arc::<Mutex<Vec<Received>>>::default(), Arc::default());
        let server = Self { port, received: Arc::clone(&received), ended: Arc::clone(&ended) };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (script, received) = (Arc::clone(&script), Arc::clone(&received));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut stream = stream;
                    // One request for each connection: what is left of it says nothing.
                    if let Some(head) = read_head(&mut reader) {
                        script(&received, &head, &mut reader, &mut stream);
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns what it has received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Returns the last request.
    #[track_caller]
    pub(crate) fn last(&self) -> Received {
        self.received().pop().expect("nothing was received")
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Writes a whole answer; the connection ends behind it.
pub(crate) fn reply(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &str) {
    let fields: String =
        headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
    let length = body.len();
    // Whoever asked may be gone already.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n{body}"
    );
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut parts = line.split_whitespace();
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(Received { method, target, headers, body: Vec::new() })
}

/// Reads a body that is announced, or comes in chunks.
pub(crate) fn read_body(head: &Received, reader: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(length) = head.header("content-length").first() {
        body.resize(length.parse().unwrap(), 0);
        let _ = reader.read_exact(&mut body);
    } else if !head.header("transfer-encoding").is_empty() {
        while let Some(chunk) = read_chunk(reader) {
            body.extend(chunk);
        }
    }
    body
}

/// Reads one chunk; `None` for the last one.
pub(crate) fn read_chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut size = String::new();
    reader.read_line(&mut size).ok()?;
    let size = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    Some(chunk)
}

//! HTTP/1.1 by hand, for what no client library does: requests that are sent by halves, many of
//! them on as many connections, and targets that a library would tidy up.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Result, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use stack::Stopwatch;

use crate::http::{Answer, Request};

/// How long a server is waited for that has not said anything yet.
const FIRST_BYTE_IN: Duration = Duration::from_secs(30);

/// After how long a silence a server that has said something has nothing more to say.
const SILENCE: Duration = Duration::from_secs(1);

/// A connection to a server of the suite.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to the server of a URL.
    pub(crate) fn open(url: &str) -> Self {
        let stream = TcpStream::connect(authority(url)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(FIRST_BYTE_IN)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Sends bytes as far as the server takes them.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Returns all that the server says until it closes the connection, or has been silent for
    /// a second after it has said something; and whether it has closed it.
    pub(crate) fn rest(&mut self) -> (String, bool) {
        let mut told = Vec::new();
        let mut piece = [0; 4_096];
        let mut at_most = FIRST_BYTE_IN;
        let is_closed = loop {
            self.0.get_mut().set_read_timeout(Some(at_most)).unwrap();
            let silence = Stopwatch::start();
            match self.0.read(&mut piece) {
                Ok(0) => break true,
                Ok(length) => {
                    told.extend_from_slice(&piece[..length]);
                    at_most = SILENCE;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => break true,
                // While the machine stood still nobody could say anything.
                Err(_) if silence.elapsed() < at_most => {}
                Err(_) => break false,
            }
        };
        (String::from_utf8_lossy(&told).into_owned(), is_closed)
    }

    /// Reads the answer to `request`, and checks the standing assertions on it.
    #[track_caller]
    pub(crate) fn read(&mut self, request: &Request) -> Answer {
        let (status, headers, body) =
            self.answer().unwrap_or_else(|error| panic!("{}: {error}", request.what()));
        Answer::received(request, status, headers, String::from_utf8(body).unwrap())
    }

    /// Waits until the server has closed the connection; `false` when it says something first.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.0.fill_buf().map_or(true, <[u8]>::is_empty)
    }

    fn answer(&mut self) -> Result<(u16, HeaderMap, Vec<u8>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
        }
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<usize>().ok();
        let mut body = Vec::new();
        match number("content-length") {
            Some(length) => {
                body.resize(length, 0);
                self.0.read_exact(&mut body)?;
            }
            None if headers.contains_key("transfer-encoding") => loop {
                let size = usize::from_str_radix(&self.line()?, 16).unwrap();
                let begin = body.len();
                body.resize(begin + size, 0);
                self.0.read_exact(&mut body[begin..])?;
                self.line()?;
                if size == 0 {
                    break;
                }
            },
            None if status == 204 => {}
            None => {
                self.0.read_to_end(&mut body)?;
            }
        }
        Ok((status, headers, body))
    }

    /// Reads a line without its end.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// Returns the host and port of a URL.
fn authority(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

/// Returns the bytes of a request as they go over the wire.
pub(crate) fn bytes(request: &Request) -> Vec<u8> {
    let url = request.url();
    let (host, body) = (authority(url), request.body_bytes());
    let target = url.split_once(host).map_or("/", |(_, target)| target);
    let mut head = vec![format!("{} {target} HTTP/1.1", request.method()), format!("Host: {host}")];
    head.extend(request.headers().iter().map(|(name, value)| format!("{name}: {value}")));
    if !body.is_empty() || request.method() == "POST" {
        head.push(format!("Content-Length: {}", body.len()));
    }
    head.push("\r\n".to_owned());
    [head.join("\r\n").as_bytes(), body].concat()
}

/// Sends all requests at the same moment, each on a connection of its own, and returns their
/// answers in the same order.
///
/// A real barrier: when the first request is released, every other one stands at its server but for
/// its last byte. The requests may go to different servers.
#[track_caller]
pub(crate) fn at_once(requests: &[Request]) -> Vec<Answer> {
    let whole: Vec<Vec<u8>> = requests.iter().map(bytes).collect();
    let mut connections: Vec<Connection> = Vec::new();
    for (request, bytes) in requests.iter().zip(&whole) {
        let mut connection = Connection::open(request.url());
        connection.write(&bytes[..bytes.len() - 1]);
        connections.push(connection);
    }
    // What has been written is at the server, which takes a moment to read it.
    std::thread::sleep(Duration::from_millis(50));
    for (connection, bytes) in connections.iter_mut().zip(&whole) {
        connection.write(&bytes[bytes.len() - 1..]);
    }
    let answers = connections.iter_mut().zip(requests);
    answers.map(|(connection, request)| connection.read(request)).collect()
}

//! The load: keep-alive connections, each with a caller of its own that knows what to ask next.
//!
//! A closed loop: a connection sends its next request when it has the answer to the last one. All
//! connections share one thread, so that the load takes one core at most.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Why a measurement ends: an answer that was not expected, or none.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// An answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// Returns the first header of that name, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// Returns the headers of that name.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.lines().filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns the text of a JSON body's member. The members that are asked for hold no escapes.
    pub(crate) fn member(&self, name: &str) -> Result<&str, Failure> {
        let body = std::str::from_utf8(self.body)?;
        let start = body.find(&format!("\"{name}\":\"")).ok_or_else(|| self.unexpected())?;
        let value = &body[start + name.len() + 4..];
        Ok(&value[..value.find('"').ok_or_else(|| self.unexpected())?])
    }

    /// Refuses every other status.
    pub(crate) fn expect(&self, status: u16) -> Result<(), Failure> {
        if self.status == status { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Failure {
        let body = String::from_utf8_lossy(self.body);
        format!("an unexpected answer:\n{}\n{body}", self.head).into()
    }
}

/// What one connection does.
pub(crate) trait Caller {
    /// Writes the next request; `false` when there is none left.
    fn ask(&mut self, request: &mut String) -> bool;

    /// Takes the answer; `true` when it completes what is counted.
    fn hear(&mut self, answer: &Answer<'_>) -> Result<bool, Failure>;
}

/// What a run measured: one latency for each thing that was counted.
pub(crate) struct Measured {
    pub(crate) latencies: Vec<Duration>,
    pub(crate) took: Duration,
}

impl Measured {
    /// Returns how many things were done per second.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// Returns the latency that `percent` of all stay below.
    pub(crate) fn percentile(&mut self, percent: usize) -> Duration {
        self.latencies.sort_unstable();
        let at = self.latencies.len() * percent / 100;
        self.latencies
            .get(at.min(self.latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

/// How much longer than planned a run may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has every caller ask on a connection of its own, until `at_most` has passed or none has
/// anything left. What completes before `from` has passed is not counted. Returns the callers,
/// too, with what they have learned.
pub(crate) fn run<C: Caller + 'static>(
    port: u16,
    callers: Vec<C>,
    from: Duration,
    at_most: Duration,
) -> Result<(Measured, Vec<C>), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = async {
        let mut connections = Vec::with_capacity(callers.len());
        for caller in callers {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            connections.push(Connection { stream, caller, read: Vec::with_capacity(8192) });
        }
        let began = Instant::now();
        let (from, end) = (began + from, began + at_most);
        let running: Vec<_> = connections
            .into_iter()
            .map(|connection| tokio::task::spawn_local(connection.run(from, end)))
            .collect();
        let (mut latencies, mut callers) = (Vec::new(), Vec::new());
        for one in running {
            let (some, caller) = one.await??;
            latencies.extend(some);
            callers.push(caller);
        }
        Ok((Measured { latencies, took: from.elapsed() }, callers))
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { tokio::time::timeout(at_most + PATIENCE, all).await? })
}

/// Sends what one caller asks, until it has nothing left.
pub(crate) fn talk<C: Caller + 'static>(port: u16, caller: C) -> Result<C, Failure> {
    let (_, mut callers) = run(port, vec![caller], Duration::ZERO, Duration::from_mins(1))?;
    Ok(callers.remove(0))
}

struct Connection<C> {
    stream: TcpStream,
    caller: C,
    read: Vec<u8>,
}

impl<C: Caller> Connection<C> {
    async fn run(mut self, from: Instant, end: Instant) -> Result<(Vec<Duration>, C), Failure> {
        let mut latencies = Vec::new();
        let mut request = String::with_capacity(4096);
        let mut began = None;
        while Instant::now() < end {
            request.clear();
            if !self.caller.ask(&mut request) {
                break;
            }
            let first = *began.get_or_insert_with(Instant::now);
            self.stream.write_all(request.as_bytes()).await?;
            if self.answer().await? {
                let now = Instant::now();
                if now >= from {
                    latencies.push(now - first);
                }
                began = None;
            }
        }
        Ok((latencies, self.caller))
    }

    /// Reads one answer, and hands it to the caller.
    async fn answer(&mut self) -> Result<bool, Failure> {
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err("the server has closed a connection".into());
            }
            let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.read[..end])?;
            let mut answer = Answer { status: status(head)?, head, body: &self.read[end + 4..] };
            if let Some(length) = answer.header("content-length") {
                if answer.body.len() >= length.parse()? {
                    return self.caller.hear(&answer);
                }
            } else if answer.header("transfer-encoding").is_some() {
                if answer.body.ends_with(b"0\r\n\r\n") {
                    let whole = unchunked(answer.body);
                    answer.body = &whole;
                    return self.caller.hear(&answer);
                }
            } else {
                return self.caller.hear(&answer);
            }
        }
    }
}

fn status(head: &str) -> Result<u16, Failure> {
    Ok(head.get(9..12).ok_or("no HTTP answer")?.parse()?)
}

/// Puts the chunks of a body together (RFC 9112 §7.1).
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|bytes| bytes == b"\r\n") {
        let length = std::str::from_utf8(&body[..end]).ok();
        let length = length.and_then(|length| usize::from_str_radix(length, 16).ok()).unwrap_or(0);
        let Some(chunk) = body.get(end + 2..end + 2 + length).filter(|chunk| !chunk.is_empty())
        else {
            break;
        };
        whole.extend_from_slice(chunk);
        body = body.get(end + 4 + length..).unwrap_or_default();
    }
    whole
}

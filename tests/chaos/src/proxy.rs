//! A TCP proxy with weather: latency, narrow lines, silence, resets.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::random::Random;

/// Bytes that are carried at once.
const PIECE: usize = 16 * 1024;

/// How long a lost packet is missed: the shortest retransmission time of Linux.
const RETRANSMITTED_IN: Duration = Duration::from_millis(200);

/// What the line is like at the moment.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// How much later replies arrive.
    pub latency: Duration,
    /// By how much more, at random.
    pub jitter: Duration,
    /// Bytes in a second, for each connection and direction.
    pub bytes_per_second: Option<u32>,
    /// One piece in so many is lost, and sent again.
    pub loses_one_in: Option<u64>,
    /// Nothing gets through; what is sent arrives when the silence ends, as TCP would have it.
    pub is_silent: bool,
    /// Connections are reset at once, old and new.
    pub resets: bool,
    /// A connection is reset in the middle of a reply, once it has carried so many bytes of them.
    pub cuts_replies_after: Option<u64>,
}

/// A running proxy. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    weather: watch::Sender<Weather>,
    listening: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    /// Connections with a lower number are dead: nothing comes through, and nobody is told.
    stranded: AtomicU64,
    accepted: AtomicU64,
    open: AtomicUsize,
}

/// Why a connection ends before its peers want it to.
enum Broken {
    Reset,
    Closed,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Reset
    }
}

impl Proxy {
    /// Listens at `port` of 127.0.0.1 and carries to `target`.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn start(port: u16, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let (weather, watched) = watch::channel(Weather::default());
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            stranded: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        let accepting = shared.clone();
        let listening = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let number = accepting.accepted.fetch_add(1, Ordering::Relaxed);
                let (shared, weather) = (accepting.clone(), watched.clone());
                tokio::spawn(async move {
                    shared.open.fetch_add(1, Ordering::Relaxed);
                    carry(near, number, &shared, weather).await;
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { port, shared, weather, listening })
    }

    /// Returns its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather, also for connections that are there already.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Makes it a good line again.
    pub fn clear(&self) {
        self.set(Weather::default());
    }

    /// Carries new connections elsewhere, and resets the old ones.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        let before = self.weather.borrow().clone();
        self.set(Weather { resets: true, ..before.clone() });
        std::thread::sleep(Duration::from_millis(20));
        self.set(before);
    }

    /// Leaves the connections that are there half open: silent for ever, and never closed.
    pub fn strand(&self) {
        let accepted = self.shared.accepted.load(Ordering::Relaxed);
        self.shared.stranded.store(accepted, Ordering::Relaxed);
        // Whoever waits for better weather looks again.
        self.weather.send_modify(|_| ());
    }

    /// Counts the connections that were ever made.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Counts the connections that are there.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.weather.send_replace(Weather { resets: true, ..Weather::default() });
    }
}

/// Carries one connection to its end.
async fn carry(near: TcpStream, number: u64, shared: &Shared, weather: watch::Receiver<Weather>) {
    let mut resetting = weather.clone();
    let resets = async move {
        // The proxy itself has gone when the sender has.
        let _ = resetting.wait_for(|weather| weather.resets).await;
    };
    let target = *shared.target.lock().unwrap_or_else(PoisonError::into_inner);
    let far = if weather.borrow().resets { None } else { TcpStream::connect(target).await.ok() };
    let Some(far) = far else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_reads, mut near_writes) = near.into_split();
    let (far_reads, mut far_writes) = far.into_split();
    let up = Direction { is_reply: false, number, shared, weather: weather.clone() };
    let down = Direction { is_reply: true, number, shared, weather };
    let both = async {
        tokio::try_join!(
            up.pump(near_reads, &mut far_writes),
            down.pump(far_reads, &mut near_writes)
        )
    };
    let broken = tokio::select! {
        done = both => done.err(),
        () = resets => Some(Broken::Reset),
    };
    if matches!(broken, Some(Broken::Reset)) {
        let _ = near_writes.as_ref().set_zero_linger();
        let _ = far_writes.as_ref().set_zero_linger();
    }
}

/// One direction of one connection.
struct Direction<'s> {
    is_reply: bool,
    number: u64,
    shared: &'s Shared,
    weather: watch::Receiver<Weather>,
}

impl Direction<'_> {
    /// Carries all bytes of this direction, each at its time.
    async fn pump(self, mut from: OwnedReadHalf, to: &mut OwnedWriteHalf) -> Result<(), Broken> {
        let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(256);
        let mut weather = self.weather.clone();
        let mut random = Random::new(self.number);
        let read = async {
            loop {
                let mut piece = vec![0; PIECE];
                let length = from.read(&mut piece).await?;
                if length == 0 {
                    break;
                }
                piece.truncate(length);
                let due = Instant::now() + self.delay(&mut random);
                if sender.send((due, piece)).await.is_err() {
                    break;
                }
            }
            drop(sender);
            Ok::<(), Broken>(())
        };
        let write = async {
            let mut carried = 0;
            while let Some((due, piece)) = receiver.recv().await {
                tokio::time::sleep_until(due).await;
                let silent = |weather: &Weather| {
                    weather.is_silent || self.number < self.shared.stranded.load(Ordering::Relaxed)
                };
                weather.wait_for(|weather| !silent(weather)).await.map_err(|_| Broken::Closed)?;
                let now = weather.borrow().clone();
                if let Some(narrow) = now.bytes_per_second {
                    let seconds = f64::from(u32::try_from(piece.len()).unwrap_or(u32::MAX))
                        / f64::from(narrow.max(1));
                    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                }
                let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                if self.is_reply
                    && let Some(limit) = now.cuts_replies_after
                    && carried + length > limit
                {
                    let half = piece.len() / 2;
                    to.write_all(piece.get(..half).unwrap_or_default()).await?;
                    return Err(Broken::Reset);
                }
                carried += length;
                to.write_all(&piece).await?;
            }
            to.shutdown().await?;
            Ok(())
        };
        tokio::try_join!(read, write).map(|_| ())
    }

    fn delay(&self, random: &mut Random) -> Duration {
        let weather = self.weather.borrow();
        let mut delay = Duration::ZERO;
        if self.is_reply {
            delay += weather.latency + weather.jitter.mul_f64(random.share());
        }
        if weather.loses_one_in.is_some_and(|one_in| random.below(one_in) == 0) {
            delay += RETRANSMITTED_IN;
        }
        delay
    }
}

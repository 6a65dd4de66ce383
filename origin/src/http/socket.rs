//! A connection's socket, which gives up on a peer that does not take what is written to it.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long something written may wait for the peer to make room for all of it. The system's buffer
/// takes most answers at once, so nobody waits but for a peer that has left several of them unread.
const TAKEN_IN: Duration = Duration::from_secs(8);

/// A socket whose writes end with an error when the peer does not take them in time.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    taken_in: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Takes an accepted connection.
    #[must_use]
    pub const fn new(stream: TcpStream) -> Self {
        Self { stream, taken_in: TAKEN_IN, waiting: None }
    }

    /// Holds what became of a write of `all` bytes against the time limit. A part that was taken
    /// does not move it: who reads a byte now and then is as slow as who reads none.
    fn in_time(
        &mut self,
        written: Poll<Result<usize>>,
        all: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize>> {
        match written {
            Poll::Ready(Ok(taken)) if taken < all => self.waits(context, Poll::Ready(Ok(taken))),
            Poll::Pending => self.waits(context, Poll::Pending),
            Poll::Ready(whole) => {
                self.waiting = None;
                Poll::Ready(whole)
            }
        }
    }

    fn waits(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        let taken_in = self.taken_in;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(taken_in)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(Error::from(ErrorKind::TimedOut))),
            Poll::Pending => written,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.in_time(written, buffer.len(), context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let all = buffers.iter().map(|buffer| buffer.len()).sum();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.in_time(written, all, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    /// The system may give up to twice as much to each end.
    const BUFFER: u32 = 64 << 10;

    /// More than all buffers between the two hold.
    const MUCH: usize = 4 << 20;

    async fn pair() -> (Socket, TcpStream) {
        let (near, far) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
        // Left alone, the system makes them larger while they are used.
        near.set_send_buffer_size(BUFFER).unwrap();
        far.set_recv_buffer_size(BUFFER).unwrap();
        near.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = near.listen(1).unwrap();
        let peer = far.connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::new(listener.accept().await.unwrap().0);
        (Socket { taken_in: Duration::from_millis(300), ..socket }, peer)
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_given_up() {
        let (mut socket, _peer) = pair().await;
        let error = socket.write_all(&vec![0; MUCH]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_reads_now_and_then_is_given_up() {
        let (mut socket, mut peer) = pair().await;
        let reads = tokio::spawn(async move {
            let mut some = vec![0; 100_000];
            while peer.read(&mut some).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let error = socket.write_all(&vec![0; MUCH]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        reads.abort();
    }

    #[tokio::test]
    async fn a_peer_that_reads_gets_everything_also_after_a_pause() {
        let (socket, mut peer) = pair().await;
        let mut socket = Socket { taken_in: Duration::from_secs(2), ..socket };
        let reads = tokio::spawn(async move {
            let mut read = 0;
            let mut some = vec![0; 1 << 20];
            while read < 3 * MUCH {
                read += peer.read(&mut some).await.unwrap();
            }
        });
        for _ in 0..3 {
            socket.write_all(&vec![0; MUCH]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2_200)).await;
        }
        reads.await.unwrap();
    }
}

//! The way to the broker, with a screen in it.
//!
//! The broker passes on whatever properties a publisher sent; the client ends the connection over those that it cannot parse
//! (a name that is no UTF-8), and the process over some (lists in lists by the thousand, which its parser follows by
//! recursion). Delivered again, they would do so again. So every frame is looked at before the client sees it: a message
//! that it cannot read becomes one that it can, which carries the bytes of the other in its body. It takes its turn among
//! its neighbours, and whoever receives it knows that it is [`UnreadableProperties`](crate::UnreadableProperties).
//!
//! The screen reads without recursion, and whatever comes: what it lets pass the client can parse
//! (`tests::whatever_passes_the_client_can_parse`).

mod screen;

pub(crate) use screen::set_aside;

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio, TokioRuntime};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use screen::Screen;
use std::future::Future;
use std::io::{Error, IoSlice, Read, Result, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Read from the line at a time.
const CHUNK: usize = 64 * 1024;

/// One attempt; the address says whether it goes by TLS.
pub(crate) async fn connect(uri: AMQPUri, properties: ConnectionProperties) -> lapin::Result<Connection> {
    let tokio = TokioRuntime::tokio_current();
    let screened = Runtime::new(RuntimeParts::new(Tokio::current(), Screened(Tokio::current())));
    let connect = async move |uri: AMQPUri, _| {
        let frame_max = uri.query.frame_max.unwrap_or_default();
        let line = uri.connect_async(&tokio).await?;
        Ok(AsyncTcpStream::Plain(ScreenedStream::new(line, Screen::new(frame_max))))
    };
    Connection::connector(uri, screened, connect, properties).await
}

type PlainStream = <Tokio as Reactor>::TcpStream;

/// What the client reads and writes: plain or TLS below, screened above.
pub(crate) struct ScreenedStream {
    stream: AsyncTcpStream<PlainStream>,
    screen: Screen,
    chunk: Vec<u8>,
    /// Screened and not yet read.
    ready: Vec<u8>,
    read: usize,
}

impl ScreenedStream {
    fn new(stream: AsyncTcpStream<PlainStream>, screen: Screen) -> Self {
        Self { stream, screen, chunk: vec![0; CHUNK], ready: Vec::new(), read: 0 }
    }

    /// Reads until something is ready; false once the line has ended.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<bool>> {
        while self.read == self.ready.len() {
            self.ready.clear();
            self.read = 0;
            let count = match Pin::new(&mut self.stream).poll_read(context, &mut self.chunk) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            self.screen.push(&self.chunk[..count], &mut self.ready)?;
        }
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for ScreenedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        match self.poll_ready(context) {
            Poll::Ready(Ok(true)) => {}
            Poll::Ready(Ok(false)) => return Poll::Ready(Ok(0)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let ready = &self.ready[self.read..];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.read += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for ScreenedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// Tokio, whose streams are screened: the client takes the type of its streams from its reactor.
#[derive(Clone, Debug)]
struct Screened(Tokio);

impl Reactor for Screened {
    type TcpStream = ScreenedStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // The client makes its streams by `connect` alone.
        Err::<ScreenedStream, _>(Error::from(std::io::ErrorKind::Unsupported))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = Result<ScreenedStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(ScreenedStream::new(AsyncTcpStream::Plain(connecting.await?), Screen::new(0))) }
    }
}

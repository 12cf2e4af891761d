//! One connection, from the peer's first byte to its last.
//!
//! HTTP is hyper's. Its own header timer runs while a connection that is kept alive waits for its next request, too, so that
//! one value would serve both; and it has none for peers that do not take their answers. Hence a clock of our own.

use super::caller::Caller;
use super::limits::BODY_MAX;
use super::refused::{Turned, Why};
use super::visit::{LEAVE_TIMEOUT, Visit};
use super::visitors::Guest;
use crate::problem::problem;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What hyper keeps for a connection: of its head, and of the body while its handler does not read on.
const BUFFER_MAX: usize = 32 * 1024;

/// Above what any processor or proxy sends; a signature header alone may have 4 KiB.
const HEAD_MAX: usize = 16 * 1024;

/// hyper's default, so that headers need no allocation; more are answered with 431.
const HEADERS_MAX: usize = 100;

/// What is thrown away of a body whose answer did not wait for it, at most.
const LEFT_OVER_MAX: usize = 2 * BODY_MAX;

type Connection = http1::Connection<TokioIo<Watched>, Reception>;

enum End {
    /// The peer has gone, or all is said.
    Closed,
    Refused(Why),
    Stopped,
}

/// Who answers requests.
pub struct Answers {
    pub routes: Router,
    /// The routes that answer an address with too many requests in hand.
    pub crowded: Router,
}

/// Routes that send everybody away.
pub fn crowded() -> Router {
    Router::new().fallback(|| async {
        let detail = "too many requests from this address are in hand: try again later";
        problem(StatusCode::TOO_MANY_REQUESTS, detail.to_owned())
    })
}

pub async fn attend(stream: TcpStream, guest: Guest, answers: Answers, stop: CancellationToken) {
    // Answers are written whole: there is nothing to gather. Where it fails they come some milliseconds later.
    drop(stream.set_nodelay(true));
    let guest = Arc::new(guest);
    let io = TokioIo::new(Watched { stream, visit: guest.visit.clone() });
    let mut connection = http().serve_connection(io, Reception { answers, guest: guest.clone() });
    let end = until_its_end(&mut connection, &guest.visit, &stop).await;
    let stream = connection.into_parts().io.into_inner().stream;
    match end {
        End::Closed => take_leave(&stream, &guest.visit, &stop).await,
        End::Refused(why) => {
            if why != Why::MadeWay {
                guest.visitors.count(why);
            }
            if guest.visit.can_be_told(why) {
                Turned::away(why).tell(&stream);
            }
        }
        End::Stopped => {}
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(BUFFER_MAX);
    http
}

async fn until_its_end(connection: &mut Connection, visit: &Visit, stop: &CancellationToken) -> End {
    let (mut stopped, mut leave) = (pin!(stop.cancelled()), pin!(visit.leave.cancelled()));
    let mut late = pin!(tokio::time::sleep_until(Instant::now()));
    let mut is_stopping = false;
    poll_fn(|cx| {
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            Pin::new(&mut *connection).graceful_shutdown();
        }
        if leave.as_mut().poll(cx).is_ready() && visit.waiting_since().is_some() {
            return Poll::Ready(End::Refused(Why::MadeWay));
        }
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(End::Closed);
        }
        if is_stopping && visit.is_idle() {
            return Poll::Ready(End::Stopped);
        }
        match visit.deadline() {
            Some(until) if until != late.deadline() => late.as_mut().reset(until),
            Some(_) | None => {}
        }
        late.as_mut().poll(cx).map(|()| End::Refused(visit.lateness()))
    })
    .await
}

/// hyper has said all and closed its side. What the peer still sends is thrown away for a while: closed at once, the
/// connection would be reset, and the answer lost with it.
async fn take_leave(stream: &TcpStream, visit: &Visit, stop: &CancellationToken) {
    visit.leaves();
    let thrown_away = async {
        let mut left = LEFT_OVER_MAX;
        while left > 0 && stream.readable().await.is_ok() {
            match throw_away(stream) {
                Ok(0) => break,
                Ok(bytes) => left = left.saturating_sub(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    tokio::select! {
        () = thrown_away => {}
        () = tokio::time::sleep(LEAVE_TIMEOUT) => {}
        () = visit.leave.cancelled() => {}
        () = stop.cancelled() => {}
    }
}

/// A function of its own, so that the buffer is on the stack and not in every connection's task.
fn throw_away(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; 8 * 1024])
}

/// Gives each request to the routes, with who sent it.
struct Reception {
    answers: Answers,
    guest: Arc<Guest>,
}

impl Service<Request<Incoming>> for Reception {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let guest = self.guest.clone();
        guest.visit.asks(!request.body().is_end_stream());
        let caller = Caller::new(&guest, request.headers());
        let in_hand = caller.is_behind_proxy.then(|| guest.visitors.enter(caller.address)).transpose();
        request.extensions_mut().insert(caller);
        let routes = match &in_hand {
            Ok(_) => &self.answers.routes,
            Err(why) => {
                guest.visitors.count(*why);
                &self.answers.crowded
            }
        };
        let answer = TowerToHyperService::new(routes.clone()).call(request);
        Box::pin(async move {
            let _in_hand = in_hand;
            let mut answer = answer.await?;
            if guest.visit.has_unread() {
                // What comes of the body is thrown away, and the peer must not take this connection for its next request.
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            guest.visit.is_answered();
            Ok(answer)
        })
    }
}

/// The stream, with a note of what passes.
struct Watched {
    stream: TcpStream,
    visit: Arc<Visit>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.visit.has_read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.visit.writes();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.visit.writes();
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.visit.has_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! A pooler in transaction mode, as small as one can be: any number of clients share one session of the server, each for as
//! long as its transaction lasts.

use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The one session, and what the server said of itself when it began.
struct Session {
    server: TcpStream,
    greeting: Vec<u8>,
}

/// Starts one before a server; its URL is the server's by way of the pooler.
pub async fn start(url: &SecretString) -> SecretString {
    let url: url::Url = url.expose_secret().parse().unwrap();
    let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut by_pooler = url.clone();
    by_pooler.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        let session = Arc::new(Mutex::new(None));
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, server.clone(), session.clone()));
        }
    });
    String::from(by_pooler).into()
}

async fn serve(
    mut client: TcpStream,
    server: (String, u16),
    shared: Arc<Mutex<Option<Session>>>,
) -> io::Result<()> {
    let length = client.read_u32().await?;
    let mut startup = vec![0; length as usize - 4];
    client.read_exact(&mut startup).await?;
    greet(&mut client, length, &startup, server, &shared).await?;
    let mut held: Option<OwnedMutexGuard<Option<Session>>> = None;
    loop {
        let (kind, message) = match message(&mut client).await {
            Ok((b'X', _)) | Err(_) => return leave(held).await,
            Ok(message) => message,
        };
        let mut session = match held.take() {
            Some(session) => session,
            None => shared.clone().lock_owned().await,
        };
        let server = &mut session.as_mut().expect("it was begun before the first client was let in").server;
        server.write_all(&message).await?;
        // After a Sync or a query the server answers until it is ready.
        let is_answered = matches!(kind, b'S' | b'Q');
        let is_idle = is_answered && answer(server, &mut client).await? == b'I';
        held = (!is_idle).then_some(session);
    }
}

/// The first client begins the session; the others are told what it was told. Servers of tests let in without a password.
async fn greet(
    client: &mut TcpStream,
    length: u32,
    startup: &[u8],
    server: (String, u16),
    shared: &Mutex<Option<Session>>,
) -> io::Result<()> {
    let mut session = shared.lock().await;
    if session.is_none() {
        let mut server = TcpStream::connect(server).await?;
        server.write_u32(length).await?;
        server.write_all(startup).await?;
        let mut greeting = Vec::new();
        loop {
            let (kind, message) = message(&mut server).await?;
            greeting.extend_from_slice(&message);
            if kind == b'Z' {
                break;
            }
        }
        *session = Some(Session { server, greeting });
    }
    client.write_all(&session.as_ref().expect("just begun").greeting).await
}

/// A client that goes in the middle of its transaction leaves none to the next.
async fn leave(held: Option<OwnedMutexGuard<Option<Session>>>) -> io::Result<()> {
    let Some(mut session) = held else { return Ok(()) };
    let server = &mut session.as_mut().expect("it was begun before the first client was let in").server;
    server.write_all(b"Q\0\0\0\x0drollback\0").await?;
    answer(server, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Passes on what the server says until it is ready, also where nobody listens any more; whether in a transaction is its last
/// byte.
async fn answer(server: &mut TcpStream, client: &mut (impl AsyncWrite + Unpin)) -> io::Result<u8> {
    loop {
        let (kind, message) = message(server).await?;
        drop(client.write_all(&message).await);
        if kind == b'Z' {
            return Ok(message[5]);
        }
    }
}

/// One message: its kind, and the whole of it.
async fn message(from: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut message = vec![kind];
    message.extend_from_slice(&length.to_be_bytes());
    message.resize(1 + length as usize, 0);
    from.read_exact(&mut message[5..]).await?;
    Ok((kind, message))
}

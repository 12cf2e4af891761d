//! A line between the fleet and a server that a test can cut, hold up, or close.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    /// Connections stay, nothing passes: a server that hangs, a network that drops packets.
    Held,
    /// Connections end, new ones are closed at once.
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct LineState {
    flow: Flow,
    /// How often it was cut; a connection made before a cut ends by it.
    cuts: u64,
    /// How often the answers were lost; a connection made before gets none any more.
    losses: u64,
    /// What ends a connection, from the server.
    deadly: Option<&'static [u8]>,
}

impl LineState {
    fn kills(&self, bytes: &[u8]) -> bool {
        self.deadly.is_some_and(|deadly| bytes.windows(deadly.len()).any(|part| part == deadly))
    }
}

pub struct Relay {
    line: watch::Sender<LineState>,
    port: u16,
}

impl Relay {
    /// A relay to the server of a URL.
    pub fn to(url: &str, default_port: u16) -> Self {
        let url: Url = url.parse().expect("a URL of a server");
        let server =
            (url.host_str().expect("a URL with a host").to_owned(), url.port().unwrap_or(default_port));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        listener.set_nonblocking(true).expect("a socket may wait");
        let listener = TcpListener::from_std(listener).expect("a test runs in a runtime");
        let (line, watching) =
            watch::channel(LineState { flow: Flow::Open, cuts: 0, losses: 0, deadly: None });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, server.clone(), watching.clone()));
            }
        });
        Self { line, port }
    }

    /// The same URL by way of this relay.
    pub fn url(&self, url: &str) -> String {
        let mut url: Url = url.parse().expect("a URL of a server");
        url.set_host(Some("127.0.0.1")).expect("an address is a host");
        url.set_port(Some(self.port)).expect("the URL has a host");
        url.into()
    }

    /// Ends every connection; new ones are taken.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.cuts += 1);
    }

    /// Ends every connection and takes no more.
    pub fn close(&self) {
        self.line.send_modify(|line| *line = LineState { flow: Flow::Closed, cuts: line.cuts + 1, ..*line });
    }

    /// From now on each connection ends once the server sends these bytes in one piece: as a client dies of what it is sent.
    pub fn die_of(&self, bytes: &'static [u8]) {
        self.line.send_modify(|line| line.deadly = Some(bytes));
    }

    /// Lets nothing pass, and ends nothing.
    pub fn hold(&self) {
        self.line.send_modify(|line| line.flow = Flow::Held);
    }

    /// Loses what the server answers on the connections that are there, and ends none of them; what they ask arrives.
    /// New ones are taken.
    pub fn lose_answers(&self) {
        self.line.send_modify(|line| line.losses += 1);
    }

    pub fn open(&self) {
        self.line.send_modify(|line| (line.flow, line.deadly) = (Flow::Open, None));
    }
}

async fn join(client: TcpStream, server: (String, u16), line: watch::Receiver<LineState>) {
    let made = *line.borrow();
    if made.flow == Flow::Closed {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass(from_client, to_server, line.clone(), made.cuts, None) => {}
        () = pass(from_server, to_client, line, made.cuts, Some(made.losses)) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<LineState>,
    cuts: u64,
    losses: Option<u64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *line.borrow_and_update();
        if now.cuts != cuts || now.flow == Flow::Closed {
            return;
        }
        let is_open = now.flow == Flow::Open && losses.is_none_or(|losses| losses == now.losses);
        tokio::select! {
            changed = line.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            read = from.read(&mut buffer), if is_open => match read {
                Ok(count @ 1..) if losses.is_some() && now.kills(&buffer[..count]) => return,
                Ok(count @ 1..) if to.write_all(&buffer[..count]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}

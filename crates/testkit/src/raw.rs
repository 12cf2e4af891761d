//! A publisher that sends whatever bytes it is given: what no client library lets through, and the broker does.

use crate::Site;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// Frames of AMQP 0-9-1.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// RabbitMQ's default.
const FRAME_MAX: u32 = 131_072;

/// A message, byte by byte.
#[derive(Debug, Clone, Default)]
pub struct RawPost {
    /// With its namespace.
    pub exchange: String,
    pub routing_key: Vec<u8>,
    /// Flags, then values in their order.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl Site {
    /// Publishes, and waits until the broker has confirmed all of them. One that is not routed fails the test.
    pub async fn post_raw(&self, posts: &[RawPost]) {
        let mut line = RawConnection::open(self.amqp_url.expose_secret()).await;
        for post in posts {
            line.publish(post).await;
        }
        line.confirmed(posts.len() as u64).await;
        line.method(0, &[&[0, 10, 0, 50, 0, 200], &short(b"done")[..], &[0; 4]].concat()).await;
    }
}

/// A short string.
pub fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("at most 255 bytes");
    [&[length], bytes].concat()
}

/// With its length before it, as long strings, tables and lists have.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("it is in memory");
    [&length.to_be_bytes()[..], bytes].concat()
}

struct RawConnection(TcpStream);

impl RawConnection {
    async fn open(url: &str) -> Self {
        let url: Url = url.parse().expect("a URL of a broker");
        let address = (url.host_str().expect("it has a host").to_owned(), url.port().unwrap_or(5672));
        let mut line = Self(TcpStream::connect(address).await.expect("RabbitMQ answers"));
        line.0.write_all(b"AMQP\0\0\x09\x01").await.expect("written");
        line.until([0, 10, 0, 10]).await;
        let login =
            [&[0][..], url.username().as_bytes(), &[0], url.password().unwrap_or("").as_bytes()].concat();
        let start = [&long(&[])[..], &short(b"PLAIN"), &long(&login), &short(b"en_US")].concat();
        line.method(0, &[&[0, 10, 0, 11], &start[..]].concat()).await;
        line.until([0, 10, 0, 30]).await;
        // A few channels, no heartbeats.
        line.method(0, &[&[0, 10, 0, 31, 0, 8], &FRAME_MAX.to_be_bytes()[..], &[0, 0]].concat()).await;
        let vhost = url.path().trim_start_matches('/').replace("%2f", "/").replace("%2F", "/");
        line.method(0, &[&[0, 10, 0, 40], &short(vhost.as_bytes())[..], &[0, 0]].concat()).await;
        line.until([0, 10, 0, 41]).await;
        line.method(1, &[0, 20, 0, 10, 0]).await;
        line.until([0, 20, 0, 11]).await;
        line.method(1, &[0, 85, 0, 10, 0]).await;
        line.until([0, 85, 0, 11]).await;
        line
    }

    async fn frame(&mut self, kind: u8, channel: u16, content: &[u8]) {
        let channel = channel.to_be_bytes();
        let frame = [&[kind], &channel[..], &long(content), &[END]].concat();
        self.0.write_all(&frame).await.expect("written");
    }

    async fn method(&mut self, channel: u16, content: &[u8]) {
        self.frame(METHOD, channel, content).await;
    }

    async fn publish(&mut self, post: &RawPost) {
        let to = [short(post.exchange.as_bytes()), short(&post.routing_key)].concat();
        // Mandatory.
        self.method(1, &[&[0, 60, 0, 40, 0, 0], &to[..], &[1]].concat()).await;
        let length = (post.body.len() as u64).to_be_bytes();
        self.frame(HEADER, 1, &[&[0, 60, 0, 0], &length[..], &post.properties].concat()).await;
        for part in post.body.chunks(FRAME_MAX as usize - 8) {
            self.frame(BODY, 1, part).await;
        }
    }

    /// The next frame's kind and content.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        let mut before = [0; 7];
        self.0.read_exact(&mut before).await.expect("the broker goes on");
        let length = u32::from_be_bytes([before[3], before[4], before[5], before[6]]);
        let mut content = vec![0; length as usize + 1];
        self.0.read_exact(&mut content).await.expect("the broker goes on");
        content.pop();
        (before[0], content)
    }

    async fn until(&mut self, method: [u8; 4]) -> Vec<u8> {
        loop {
            let (kind, content) = self.next().await;
            if kind == HEARTBEAT {
                continue;
            }
            let said = String::from_utf8_lossy(&content);
            assert!(content.starts_with(&method), "expected the method {method:?}, got {content:?} {said}");
            return content;
        }
    }

    /// Acknowledgements of so many, each or several at once.
    async fn confirmed(&mut self, count: u64) {
        let mut confirmed = 0;
        while confirmed < count {
            let ack = self.until([0, 60, 0, 80]).await;
            let tag = ack[4..12].iter().fold(0_u64, |tag, byte| tag << 8 | u64::from(*byte));
            confirmed = if ack[12] & 1 == 1 { confirmed.max(tag) } else { confirmed + 1 };
        }
    }
}

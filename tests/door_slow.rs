//! Who talks slowly, says one thing in two ways, or guesses: each has its time and its share, and is told so.

use crate::door::{Front, SECRET, expects, intake, paddle_body, signed};
use axum::http::StatusCode;
use ingester::{DoorLimits, Proxies, ProxyHeader};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::facts::{envelope, usage};
use testkit::{DEADLINE, eventually, run};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// A time limit that a test waits for.
const SHORT: Duration = Duration::from_millis(400);

/// How often a slow peer sends a byte.
const TICK: Duration = Duration::from_millis(40);

/// A connection that says what it likes. Every network of 127/8 is a stranger's address of its own.
pub struct Peer(pub TcpStream);

impl Peer {
    pub async fn connect(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }

    pub async fn connect_from(from: [u8; 4], to: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        socket.connect(to).await.map(Self)
    }

    pub async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything that comes until the door closes; a reset is a close.
    async fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        let all = async { while matches!(self.0.read_buf(&mut heard).await, Ok(1..)) {} };
        assert!(tokio::time::timeout(DEADLINE, all).await.is_ok(), "the door closes");
        String::from_utf8(heard).unwrap()
    }

    /// What comes until it contains this.
    async fn hear_until(&mut self, expect: &str) -> String {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(expect) {
            let read = tokio::time::timeout(DEADLINE, self.0.read_buf(&mut heard)).await;
            assert!(matches!(read, Ok(Ok(1..))), "{expect}: {:?}", String::from_utf8_lossy(&heard));
        }
        String::from_utf8(heard).unwrap()
    }

    /// Sends a byte now and then until the door has closed, and returns what came.
    async fn trickle(self) -> String {
        let (mut read, mut write) = self.0.into_split();
        let sending = tokio::spawn(async move {
            while write.write_all(b"x").await.is_ok() {
                tokio::time::sleep(TICK).await;
            }
        });
        let mut heard = Vec::new();
        let all = async { while matches!(read.read_buf(&mut heard).await, Ok(1..)) {} };
        assert!(tokio::time::timeout(DEADLINE, all).await.is_ok(), "the door closes");
        sending.abort();
        String::from_utf8(heard).unwrap()
    }
}

/// The head of a webhook whose signature may be one.
pub fn head(body: &[u8], length: usize) -> String {
    let signature = signed("paddle", SECRET, body, OffsetDateTime::now_utc()).remove(0).1;
    head_with(&format!("paddle-signature: {signature}\r\n"), length)
}

pub fn head_with(headers: &str, length: usize) -> String {
    format!("POST /webhooks/paddle HTTP/1.1\r\nhost: door\r\n{headers}content-length: {length}\r\n\r\n")
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

#[track_caller]
fn is_problem(answer: &str, expect: u16) {
    assert_eq!(status(answer), expect, "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    let is_later = matches!(expect, 429 | 503 | 408);
    assert!(is_later || !head.contains("retry-after"), "{answer}");
    assert!(expect == 408 || is_later == head.contains("retry-after"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!(body["status"], expect, "{answer}");
}

#[test]
fn a_head_that_does_not_come_in_time_is_closed_however_it_trickles() {
    run(async |site| {
        let limits = DoorLimits { head_timeout: SHORT, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let asked = Instant::now();
        let silent = Peer::connect(front.address).await.hear().await;
        assert!(silent.is_empty() && asked.elapsed() >= SHORT, "{silent}");

        let mut slow = Peer::connect(front.address).await;
        slow.say("POST /webhooks/paddle HTTP/1.1\r\nx: ").await;
        is_problem(&slow.trickle().await, 408);
    });
}

#[test]
fn a_connection_is_kept_for_the_next_request_and_not_for_ever() {
    run(async |site| {
        let limits = DoorLimits { idle_timeout: SHORT, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let mut peer = Peer::connect(front.address).await;
        for _ in 0..3 {
            peer.say("GET /nothing HTTP/1.1\r\nhost: door\r\n\r\n").await;
            peer.hear_until("is served here\"").await;
        }
        let asked = Instant::now();
        peer.hear().await;
        assert!(asked.elapsed() + TICK >= SHORT, "{:?}", asked.elapsed());
    });
}

#[test]
fn a_body_that_trickles_is_given_up_though_its_time_is_not_over() {
    run(async |site| {
        let limits =
            DoorLimits { body_timeout: DEADLINE * 10, body_rate: 1024 * 1024, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let mut slow = Peer::connect(front.address).await;
        slow.say(&head(b"", 100_000)).await;
        is_problem(&slow.trickle().await, 408);
    });
}

#[test]
fn a_body_has_its_time_however_fast_it_comes() {
    run(async |site| {
        let limits = DoorLimits { body_timeout: SHORT, body_rate: 1, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let mut slow = Peer::connect(front.address).await;
        slow.say(&head(b"", 100_000)).await;
        is_problem(&slow.trickle().await, 408);
    });
}

/// Nobody is asked for a body that is refused anyway: the sender waits for `100 Continue`, and gets its answer instead.
#[test]
fn no_body_is_read_that_cannot_be_accepted() {
    run(async |site| {
        let front = Front::open_with(intake(&site), DoorLimits::default()).await;
        let expecting =
            |headers: &str, length| head_with(&format!("expect: 100-continue\r\n{headers}"), length);
        let signature = |minutes: i64| {
            let at = OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
            format!("paddle-signature: {}\r\n", signed("paddle", SECRET, b"", at).remove(0).1)
        };
        let facts = |token: &str| {
            let head = expecting(&format!("authorization: Bearer {token}\r\n"), 1000);
            head.replace("/webhooks/paddle", "/v1/facts")
        };
        let rows = [
            ("unsigned", expecting("", 1000), 400),
            ("nonsense", expecting("paddle-signature: nonsense\r\n", 1000), 400),
            ("two signatures", expecting(&signature(0).repeat(2), 1000), 400),
            ("stale", expecting(&signature(-6), 1000), 401),
            ("too large", expecting(&signature(0), 1024 * 1024 + 1), 413),
            ("an unknown token", facts("guess"), 401),
            ("a token without the scope", facts("reader"), 403),
            ("nothing there", expecting("", 1000).replace("/webhooks", "/nothing"), 404),
        ];
        for (what, head, expect) in rows {
            let mut peer = Peer::connect(front.address).await;
            peer.say(&head).await;
            let answer = peer.hear().await;
            assert_eq!(status(&answer), expect, "{what}: {answer}");
            is_problem(&answer, expect);
        }
        let body = paddle_body();
        let mut peer = Peer::connect(front.address).await;
        peer.say(&head(&body, body.len()).replace("host:", "expect: 100-continue\r\nhost:")).await;
        let first = peer.hear_until("\r\n\r\n").await;
        assert_eq!(first, "HTTP/1.1 100 Continue\r\n\r\n");
        peer.0.write_all(&body).await.unwrap();
        assert_eq!(status(&peer.hear_until("accepted").await), 200);
    });
}

#[test]
fn a_refused_sender_gets_its_answer_though_its_body_is_thrown_away() {
    run(async |site| {
        let front = Front::open_with(intake(&site), DoorLimits::default()).await;
        for _ in 0..20 {
            let body = vec![b' '; 1024 * 1024];
            expects("unsigned", front.post("/webhooks/paddle", body), StatusCode::BAD_REQUEST).await;
        }
    });
}

/// Bodies that are on their way fill all the room there is for them, and never end.
#[test]
fn who_holds_a_part_of_a_body_makes_way_for_one_that_comes() {
    run(async |site| {
        const PART: usize = 256 * 1024;
        let limits = DoorLimits { bodies_bytes: 4 * PART, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let mut holding = Vec::new();
        for _ in 0..8 {
            let mut peer = Peer::connect(front.address).await;
            peer.say(&head(b"", 2 * PART)).await;
            peer.0.write_all(&vec![b' '; PART]).await.unwrap();
            holding.push(peer);
        }
        let mut body = paddle_body();
        body.resize(1024 * 1024, b' ');
        for _ in 0..3 {
            eventually("room for a genuine one", async || {
                let answer = front.deliver("paddle", &body).send().await.unwrap();
                (answer.status() == StatusCode::OK).then_some(())
            })
            .await;
        }
        is_problem(&holding.remove(0).hear().await, 503);
    });
}

/// A proxy in front and the door must see the same requests: what can be read in two ways is refused, or is the last.
#[test]
fn what_can_be_read_in_two_ways_smuggles_nothing() {
    run(async |site| {
        let front = Front::open_with(intake(&site), DoorLimits::default()).await;
        let hidden = "GET /hidden HTTP/1.1\r\nhost: door\r\n\r\n";
        let post = |headers: &str, body: &str| {
            format!("POST /nothing HTTP/1.1\r\nhost: door\r\n{headers}\r\n{body}")
        };
        let many: String = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
        let rows = [
            ("two lengths", post("content-length: 5\r\ncontent-length: 6\r\n", "hello"), 400),
            ("a length with a sign", post("content-length: +5\r\n", "hello"), 400),
            ("a list of lengths", post("content-length: 5, 6\r\n", "hello"), 400),
            ("another coding", post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"), 400),
            ("a space before the colon", post("content-length : 5\r\n", "hello"), 400),
            ("a folded header", post("x: 1\r\n content-length: 5\r\n", "hello"), 400),
            (
                "chunked in 1.0",
                post("transfer-encoding: chunked\r\n", "0\r\n\r\n").replace("1.1", "1.0"),
                400,
            ),
            ("too many headers", post(&many, ""), 431),
            ("too large a head", post(&format!("x: {}\r\n", "y".repeat(20_000)), ""), 431),
            ("both framings", post("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), 404),
            (
                "both framings, turned",
                post("transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
                404,
            ),
        ];
        for (what, request, expect) in rows {
            let mut peer = Peer::connect(front.address).await;
            peer.say(&format!("{request}{hidden}")).await;
            let answers = peer.hear().await;
            assert_eq!(status(&answers), expect, "{what}: {answers}");
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{what}: {answers}");
        }
        let mut peer = Peer::connect(front.address).await;
        peer.say(&format!("{hidden}{hidden}")).await;
        let answers = peer.hear_until("served here\"").await;
        let answers = match answers.matches("served here").count() {
            1 => answers + &peer.hear_until("served here\"").await,
            _ => answers,
        };
        assert_eq!(answers.matches("404 Not Found").count(), 2, "pipelined, each is answered: {answers}");
    });
}

#[test]
fn a_path_that_is_no_text_is_answered_like_every_other_refusal() {
    run(async |site| {
        let front = Front::open_with(intake(&site), DoorLimits::default()).await;
        for (path, expect) in [("/webhooks/%ff", 400), ("/webhooks/nobody", 404), ("/%ff", 404)] {
            let mut peer = Peer::connect(front.address).await;
            peer.say(&format!(
                "POST {path} HTTP/1.1\r\nhost: door\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
            is_problem(&peer.hear().await, expect);
        }
    });
}

#[test]
fn who_takes_no_answers_is_closed() {
    run(async |site| {
        let limits = DoorLimits { answer_timeout: SHORT, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut peer = socket.connect(front.address).await.unwrap();
        let requests = "GET /nothing HTTP/1.1\r\nhost: door\r\n\r\n".repeat(100);
        let sending = async { while peer.write_all(requests.as_bytes()).await.is_ok() {} };
        assert!(tokio::time::timeout(DEADLINE, sending).await.is_ok(), "the door closes");
    });
}

#[test]
fn a_peer_that_has_gone_half_way_holds_nothing() {
    run(async |site| {
        let front = Front::open_with(intake(&site), DoorLimits::default()).await;
        for sent in ["", "POST /webhooks", &head(b"", 100), &format!("{}{{", head(b"", 100))] {
            let mut peer = Peer::connect(front.address).await;
            peer.say(sent).await;
            peer.0.shutdown().await.unwrap();
            peer.hear().await;
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn tokens_that_are_guessed_cost_and_known_ones_are_never_locked_out() {
    run(async |site| {
        let limits = DoorLimits { failed_tokens: 3, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let state = |token| front.state(token, envelope("shop/1", usage("acct_1", 5)).to_json());
        for _ in 0..3 {
            expects("a guess", state("guess"), StatusCode::UNAUTHORIZED).await;
        }
        let answer = state("guess").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("connection"), "close");
        assert!((1..=60).contains(&header("retry-after").parse::<u64>().unwrap()));
        expects("one guess too many", state("guess"), StatusCode::TOO_MANY_REQUESTS).await;
        expects("a known token", state("shop"), StatusCode::OK).await;
        let mut other = Peer::connect_from([127, 9, 9, 9], front.address).await.unwrap();
        other.say("POST /v1/facts HTTP/1.1\r\nhost: door\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(status(&other.hear_until("\r\n\r\n").await), 401, "another address has its own");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn behind_a_proxy_each_address_has_its_share_and_strangers_name_nobody() {
    run(async |site| {
        let proxies = Proxies::parse(&["127.0.0.1".to_owned()], ProxyHeader::XForwardedFor).unwrap();
        let limits =
            DoorLimits { failed_tokens: 1, connections_per_address: 1, proxies, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let state = |client: &str| {
            front.state("guess", String::new()).header("x-forwarded-for", format!("203.0.113.1, {client}"))
        };
        expects("a guess", state("198.51.100.1"), StatusCode::UNAUTHORIZED).await;
        expects("another", state("198.51.100.1"), StatusCode::TOO_MANY_REQUESTS).await;
        expects("somebody else's", state("198.51.100.2"), StatusCode::UNAUTHORIZED).await;

        // One request in hand for an address, and no second one beside it; others go on.
        let slow =
            |client: &str| head(b"", 100).replace("host:", &format!("x-forwarded-for: {client}\r\nhost:"));
        let mut first = Peer::connect(front.address).await;
        first.say(&slow("198.51.100.3").replace("host:", "expect: 100-continue\r\nhost:")).await;
        first.hear_until("100 Continue").await;
        let mut second = Peer::connect(front.address).await;
        second.say(&slow("198.51.100.3")).await;
        is_problem(&second.hear().await, 429);
        let by = |client: &str| {
            front.deliver("paddle", &paddle_body()).header("x-forwarded-for", client.to_owned())
        };
        expects("another's", by("198.51.100.4"), StatusCode::OK).await;

        // From elsewhere the header counts for nothing: both are the same stranger's.
        for expect in [401, 429] {
            let mut stranger = Peer::connect_from([127, 8, 8, 8], front.address).await.unwrap();
            let forged = format!("x-forwarded-for: 198.51.100.{expect}\r\n");
            let request = format!(
                "POST /v1/facts HTTP/1.1\r\nhost: door\r\n{forged}connection: close\r\ncontent-length: 0\r\n\r\n"
            );
            stranger.say(&request).await;
            assert_eq!(status(&stranger.hear().await), expect);
        }
    });
}

#[test]
fn a_door_that_is_closed_waits_for_nobody_who_is_slow() {
    run(async |site| {
        let limits = DoorLimits { head_timeout: SHORT, body_timeout: SHORT, ..DoorLimits::default() };
        let front = Front::open_with(intake(&site), limits).await;
        let mut peers = Vec::new();
        for sent in ["", "POST /webhooks", &head(b"", 100), "GET /nothing HTTP/1.1\r\nhost: door\r\n\r\n"] {
            let mut peer = Peer::connect(front.address).await;
            peer.say(sent).await;
            peers.push(peer);
        }
        peers[3].hear_until("served here\"").await;
        front.stop.cancel();
        assert!(tokio::time::timeout(DEADLINE, front.served).await.is_ok(), "it ends");
    });
}

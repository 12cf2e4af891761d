//! What the HTTP caller can tell of a call.

use crate::outside::{Mood, Outside, Temper};
use jobs::Called;
use jobs::http::{CallerSettings, Endpoint, HttpAnswer, HttpCaller};
use processors::api::{ApiAnswer, IdempotencyKey, Method, Request};
use processors::stripe::api::{read_upload, upload_evidence};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn request(path: &str) -> Request {
    Request {
        method: Method::Post,
        path: path.to_owned(),
        headers: vec![("content-type", "text/plain".to_owned())],
        body: b"amount=5".to_vec(),
        idempotency_key: Some(("idempotency-key", "k-1".to_owned())),
    }
}

fn caller() -> HttpCaller {
    let whole = Duration::from_millis(300);
    HttpCaller::new(CallerSettings { whole, answer_bytes_max: 1000, ..CallerSettings::default() }).unwrap()
}

fn endpoint(address: impl std::fmt::Display) -> Endpoint {
    let base = format!("http://{address}").parse().unwrap();
    Endpoint { base, authorization: Some("Bearer secret".to_owned().into()) }
}

/// The beginning of what is known, without the words that the system chooses.
fn told(called: Called<HttpAnswer>) -> String {
    match called {
        Called::Answered(answer) => format!("{} {}", answer.status, String::from_utf8(answer.body).unwrap()),
        Called::NotSent(_) => "not sent".to_owned(),
        Called::Impossible(_) => "impossible".to_owned(),
        Called::Unknown(why) => format!("unknown: {}", why.split(':').next().unwrap()),
    }
}

#[test]
fn what_was_sent_and_has_no_whole_answer_is_unknown() {
    testkit::run_without_site(async || {
        let check = async |mood: Mood, expect: &str| {
            let outside = Outside::open(Temper::Always(mood)).await;
            let called = caller().send(&endpoint(outside.address), &request("/calls/k/id/1")).await;
            assert_eq!(told(called), expect, "{mood:?}");
            assert_eq!(outside.calls(), 1, "{mood:?}: it is sent once");
        };
        check(Mood::Prompt, "200 executed").await;
        check(Mood::Twice, "200 executed").await;
        check(Mood::Refuses, "422 refused").await;
        check(Mood::Confused, "500 ?").await;
        check(Mood::Late, "unknown: no whole answer within 300ms").await;
        check(Mood::BreaksOff, "unknown: status 200 and a broken answer").await;
        check(Mood::Mute, "unknown: it failed").await;
        check(Mood::Dies, "unknown: it failed").await;
    });
}

#[test]
fn what_never_left_is_known_to_have_failed() {
    testkit::run_without_site(async || {
        let expect = async |to: Endpoint, path: &str, expect: &str| {
            let called = caller().send(&to, &request(path)).await;
            assert_eq!(told(called), expect, "{} {path}", to.base);
        };
        let check = async |to: Endpoint, path: &str| expect(to, path, "not sent").await;
        // Nobody listens where somebody just did.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        check(endpoint(address), "/calls").await;
        check(endpoint("no-such-host.invalid"), "/calls").await;
        let no_key =
            Endpoint { authorization: Some("Bearer\nsecret".to_owned().into()), ..endpoint(address) };
        check(no_key, "/calls").await;
        // However often it is tried.
        expect(endpoint(address), "//elsewhere.invalid/calls", "impossible").await;
        expect(endpoint(address), "http://elsewhere.invalid/calls", "impossible").await;
        // TLS is there, and what does not speak it has got nothing of the request.
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", plain.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = plain.accept().await.unwrap();
            drop(stream.write_all(b"HTTP/1.1 400 X\r\n\r\n").await);
        });
        check(Endpoint { base, authorization: None }, "/calls").await;
    });
}

/// Answers one request with these bytes, and tells what was asked.
async fn once(answer: Vec<u8>) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
    let (address, asked) = once_ending(b"amount=5", answer).await;
    (address, tokio::spawn(async { String::from_utf8(asked.await.unwrap()).unwrap() }))
}

/// The request is over with these bytes.
async fn once_ending(
    end: &'static [u8],
    answer: Vec<u8>,
) -> (std::net::SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(end) {
            stream.read_buf(&mut asked).await.unwrap();
        }
        stream.write_all(&answer).await.unwrap();
        asked
    });
    (address, asked)
}

#[test]
fn a_request_goes_out_as_it_was_made_and_follows_nobody() {
    testkit::run_without_site(async || {
        let (address, asked) = once(
            b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:9/\r\nrequest-id: req_1\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )
        .await;
        let called = caller().send(&endpoint(address), &request("/v1/refunds?x=1")).await;
        let Called::Answered(answer) = called else { panic!("{called:?}") };
        assert_eq!((answer.status, answer.header("request-id")), (307, Some("req_1")));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("POST /v1/refunds?x=1 HTTP/1.1\r\n"), "{asked}");
        for header in ["authorization: Bearer secret", "idempotency-key: k-1", "content-type: text/plain"] {
            assert!(asked.contains(&format!("{header}\r\n")), "{asked}");
        }
    });
}

#[test]
fn a_file_goes_out_byte_for_byte_and_its_answer_is_read() {
    testkit::run_without_site(async || {
        let answer = r#"{"id":"file_1Abc"}"#;
        let answer = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        let (address, asked) = once_ending(b"--\r\n", answer.into_bytes()).await;
        // Every byte, and more of them than any buffer on the way holds.
        let pdf: Vec<u8> = (0..=255).cycle().take(4_000_000).collect();
        let upload = upload_evidence(&pdf, "evidence.pdf", &IdempotencyKey::of("evidence_file/0199a7/1"));
        let called =
            HttpCaller::new(CallerSettings::default()).unwrap().send(&endpoint(address), &upload).await;
        let Called::Answered(answer) = called else { panic!("{called:?}") };
        let ApiAnswer::Is(file) = read_upload(answer.raw()) else { panic!("{answer:?}") };
        assert_eq!(file.id, "file_1Abc");
        let asked = asked.await.unwrap();
        assert!(asked.ends_with(&upload.body));
        let head = String::from_utf8_lossy(&asked[..asked.len() - upload.body.len()]);
        let length = format!("content-length: {}", upload.body.len());
        for line in ["POST /v1/files HTTP/1.1", "idempotency-key: evidence_file/0199a7/1", &length] {
            assert!(head.contains(&format!("{line}\r\n")), "{head}");
        }
        assert!(head.contains("content-type: multipart/form-data; boundary=bursar-"), "{head}");
    });
}

#[test]
fn an_answer_that_is_too_large_is_none() {
    testkit::run_without_site(async || {
        let answer = format!("HTTP/1.1 200 X\r\ncontent-length: 1001\r\n\r\n{}", "x".repeat(1001));
        let (address, _asked) = once(answer.into_bytes()).await;
        let called = caller().send(&endpoint(address), &request("/")).await;
        assert_eq!(told(called), "unknown: status 200 and an answer of more than 1000 bytes");
    });
}

//! The front door: what is genuine is durable before it is answered, what is not is told why, and nothing that anybody
//! sends can stop it.

use crate::payloads::{paddle_payload, payload};
use axum::http::StatusCode;
use bus::{Broker, Publisher, exchange, queue};
use domain::FactKind;
use facts::FactWriter;
use gate::{Door, Gate};
use ingester::{Access, DoorLimits, Intake, RawQueue, Scope, Secrets, Token, Tokens};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::facts::{envelope, grant, payment, usage};
use testkit::{Post, Relay, Site, run};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub const SECRET: &str = "correct horse battery staple";
const OLD_SECRET: &str = "the secret before it";

/// Paddle gives up after 5 s.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// The routes of the ingester behind a door of their own.
pub struct Front {
    pub address: SocketAddr,
    url: String,
    client: reqwest::Client,
    pub stop: CancellationToken,
    pub served: JoinHandle<()>,
}

pub fn intake(site: &Site) -> Intake {
    let secrets = || vec![OLD_SECRET.into(), SECRET.into()];
    Intake {
        settings: processors::Settings::default(),
        secrets: Secrets(processors::ALL.map(|processor| (processor.name, secrets())).into()),
        sources: processors::Sources::default(),
        facts: writer(site, site.publisher.clone(), site.pool.clone()),
    }
}

fn writer(site: &Site, publisher: Publisher, pool: db::Pool) -> FactWriter {
    FactWriter { namespace: site.namespace.clone(), publisher, pool }
}

fn tokens() -> Tokens {
    let token = |name, scopes, facts| Token::new(name, &ingester::hash(name), scopes, facts).unwrap();
    Tokens(vec![
        token("shop", vec![Scope::Facts], None),
        token("marketing", vec![Scope::Facts], Some(vec![FactKind::Grant])),
        token("reader", vec![Scope::AccountsRead], None),
    ])
}

impl Front {
    async fn open(intake: Intake) -> Self {
        Self::open_with(intake, DoorLimits::default()).await
    }

    pub async fn open_with(intake: Intake, limits: DoorLimits) -> Self {
        let listener = ingester::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let access = Arc::new(Access::new(tokens(), limits.failed_tokens));
        let routes = ingester::routes(intake, access, &limits);
        let stop = CancellationToken::new();
        let served = tokio::spawn(ingester::serve("test", listener, routes, limits, stop.clone()));
        let url = format!("http://{address}");
        Self { address, url, client: reqwest::Client::new(), stop, served }
    }

    pub fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).body(body)
    }

    /// As the processor would send it now.
    pub fn deliver(&self, processor: &str, body: &[u8]) -> RequestBuilder {
        let request = self.post(&format!("/webhooks/{processor}"), body.to_vec());
        with_headers(request, signed(processor, SECRET, body, OffsetDateTime::now_utc()))
    }

    pub fn state(&self, token: &str, body: String) -> RequestBuilder {
        self.post("/v1/facts", body).bearer_auth(token)
    }
}

pub fn signed(processor: &str, secret: &str, body: &[u8], at: OffsetDateTime) -> Vec<(&'static str, String)> {
    (processors::find(processor).unwrap().sign)(&SecretString::from(secret), body, at).unwrap()
}

fn with_headers(request: RequestBuilder, headers: Vec<(&'static str, String)>) -> RequestBuilder {
    headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

pub fn paddle_body() -> Vec<u8> {
    paddle_payload("transaction.completed").to_string().into_bytes()
}

/// Sends it, and expects this status; what is not accepted has a problem document (RFC 9457), which is returned.
#[track_caller]
pub fn expects(what: &str, request: RequestBuilder, status: StatusCode) -> impl Future<Output = Value> {
    let what = what.to_owned();
    async move {
        let answer = request.send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let (got, kind) = (answer.status(), answer.headers().get("content-type").cloned());
        let is_later = matches!(got, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            answer.headers().contains_key("retry-after"),
            is_later,
            "{what}: it says when to come again"
        );
        let text = answer.text().await.unwrap();
        assert_eq!(got.as_u16(), status.as_u16(), "{what}: {text}");
        let body: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: not JSON: {text:?}"));
        if !status.is_success() {
            assert_eq!(kind.unwrap(), "application/problem+json", "{what}");
            assert_eq!(body["status"], status.as_u16(), "{what}");
            for field in ["type", "title", "detail"] {
                assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{what}: {text}");
            }
            assert!(
                !text.contains(SECRET) && !text.contains("acct_42"),
                "{what}: it quotes what it must not: {text}"
            );
        }
        body
    }
}

#[test]
fn a_genuine_delivery_is_accepted_from_every_processor() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let deliveries = [
            ("paddle", "transaction.completed", 1),
            ("stripe", "checkout.session.completed", 1),
            ("generic", "payment_and_movement", 2),
        ];
        for (processor, name, facts) in deliveries {
            let body = payload(processor, name).to_string();
            let answer = expects(name, front.deliver(processor, body.as_bytes()), StatusCode::OK).await;
            assert_eq!(answer, json!({ "accepted": facts }));
        }
        assert_eq!(site.take_facts(queue::GATE).await.len(), 4, "durable before it was answered");
    });
}

#[test]
fn while_a_secret_is_rotated_either_may_sign() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let body = paddle_body();
        for secret in [OLD_SECRET, SECRET] {
            let headers = signed("paddle", secret, &body, OffsetDateTime::now_utc());
            let request = with_headers(front.post("/webhooks/paddle", body.clone()), headers);
            expects(secret, request, StatusCode::OK).await;
        }
    });
}

#[test]
fn what_is_not_genuine_is_refused_with_a_reason() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let now = OffsetDateTime::now_utc();
        let body = paddle_body();
        let genuine = signed("paddle", SECRET, &body, now).remove(0).1;
        let (time, signature) = genuine.split_once(';').unwrap();
        let at = |minutes: i64| {
            signed("paddle", SECRET, &body, now + time::Duration::minutes(minutes)).remove(0).1
        };
        let long = format!("{genuine};{}", "x".repeat(5_000));
        let rows: [(&str, Option<String>, StatusCode); 16] = [
            ("no header", None, StatusCode::BAD_REQUEST),
            ("an empty header", Some(String::new()), StatusCode::BAD_REQUEST),
            ("nonsense", Some("nonsense".to_owned()), StatusCode::BAD_REQUEST),
            ("no time", Some(signature.to_owned()), StatusCode::BAD_REQUEST),
            ("no signature", Some(time.to_owned()), StatusCode::BAD_REQUEST),
            ("an empty time", Some(format!("ts=;{signature}")), StatusCode::BAD_REQUEST),
            ("a time in words", Some(format!("ts=now;{signature}")), StatusCode::BAD_REQUEST),
            ("a time below zero", Some(format!("ts=-1;{signature}")), StatusCode::BAD_REQUEST),
            (
                "a time beyond all",
                Some(format!("ts={};{signature}", "9".repeat(40))),
                StatusCode::BAD_REQUEST,
            ),
            ("two times", Some(format!("{time};{time};{signature}")), StatusCode::BAD_REQUEST),
            ("an endless header", Some(long), StatusCode::BAD_REQUEST),
            ("an empty signature", Some(format!("{time};h1=")), StatusCode::UNAUTHORIZED),
            ("half a signature", Some(genuine[..genuine.len() - 2].to_owned()), StatusCode::UNAUTHORIZED),
            ("a stale one", Some(at(-6)), StatusCode::UNAUTHORIZED),
            ("one of the future", Some(at(6)), StatusCode::UNAUTHORIZED),
            (
                "another secret's",
                Some(signed("paddle", "guess", &body, now).remove(0).1),
                StatusCode::UNAUTHORIZED,
            ),
        ];
        for (what, header, status) in rows {
            let request = front.post("/webhooks/paddle", body.clone());
            let request =
                header.into_iter().fold(request, |request, text| request.header("paddle-signature", text));
            expects(what, request, status).await;
        }
        let mut altered = body.clone();
        altered.push(b' ');
        let request = front.post("/webhooks/paddle", altered).header("paddle-signature", genuine);
        expects("an altered body", request, StatusCode::UNAUTHORIZED).await;
        expects("a stranger", front.post("/webhooks/nobody", "{}"), StatusCode::NOT_FOUND).await;
        assert_eq!(site.depth(queue::GATE).await, 0);
    });
}

#[test]
fn a_processor_without_a_secret_has_a_closed_door() {
    run(async |site| {
        let body = paddle_body();
        for none in [vec![], vec![""], vec!["  ", ""]] {
            let secrets: Vec<SecretString> = none.iter().map(|text| (*text).into()).collect();
            let front =
                Front::open(Intake { secrets: Secrets([("paddle", secrets)].into()), ..intake(&site) }).await;
            expects("its own signature", front.deliver("paddle", &body), StatusCode::UNAUTHORIZED).await;
            // Anybody can sign with nothing.
            let time = OffsetDateTime::now_utc().unix_timestamp();
            let header = format!("ts={time};h1={}", "0".repeat(64));
            let request = front.post("/webhooks/paddle", body.clone()).header("paddle-signature", header);
            expects("no secret", request, StatusCode::UNAUTHORIZED).await;
        }
        assert_eq!(site.depth(queue::GATE).await, 0);
    });
}

#[test]
fn a_body_that_cannot_be_told_apart_is_malformed() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let event_id =
            |id: &str| format!(r#"{{"event_id":{id},"event_type":"transaction.completed","data":{{}}}}"#);
        let rows = [
            String::new(),
            "nonsense".to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            "{\"event_id\":".to_owned(),
            event_id("null"),
            event_id("7"),
            event_id("\"\""),
            event_id("\"a\\u0000b\""),
            event_id(&format!("\"{}\"", "x".repeat(201))),
            "[".repeat(10_000),
        ];
        for body in rows {
            let what: String = body.chars().take(80).collect();
            expects(&what, front.deliver("paddle", body.as_bytes()), StatusCode::BAD_REQUEST).await;
        }
        expects("no UTF-8", front.deliver("stripe", &[0xff, 0xfe, b'{']), StatusCode::BAD_REQUEST).await;
        assert_eq!(site.depth(queue::GATE).await, 0);
    });
}

#[test]
fn a_body_of_one_mebibyte_is_taken_and_a_larger_one_is_not() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let mut body = paddle_body();
        body.resize(1024 * 1024, b' ');
        expects("the largest", front.deliver("paddle", &body), StatusCode::OK).await;
        body.push(b' ');
        expects("one byte more", front.deliver("paddle", &body), StatusCode::PAYLOAD_TOO_LARGE).await;
        expects(
            "for facts too",
            front.state("shop", " ".repeat(1024 * 1024 + 1)),
            StatusCode::PAYLOAD_TOO_LARGE,
        )
        .await;
        let kept = site.take_facts(queue::GATE).await;
        assert_eq!(kept[0].raw.as_ref().unwrap().body.len(), 1024 * 1024);
    });
}

/// Genuine and impossible: the processor must not deliver it again for days, and somebody must be able to look at it.
#[test]
fn a_genuine_delivery_with_an_impossible_amount_is_kept_and_grants_nothing() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let gate = site.start(
            Gate::new(
                Door::Verified,
                site.namespace.clone(),
                processors::Settings::default(),
                site.readers(),
            ),
            1,
        );
        let total = ["data", "details", "totals", "total"].as_slice();
        let currency = ["data", "currency_code"].as_slice();
        let lines = ["data", "details", "line_items"].as_slice();
        let rows: Vec<(&[&str], Value, &str)> = vec![
            (total, json!("10.00"), "fact.unrecognised"),
            (total, json!("-1200"), "fact.unrecognised"),
            (total, json!("1e3"), "fact.unrecognised"),
            (total, json!("0x10"), "fact.unrecognised"),
            (total, json!(""), "fact.unrecognised"),
            (total, json!(" 1200"), "fact.unrecognised"),
            (total, json!("１２００"), "fact.unrecognised"),
            (total, json!(1200.5), "fact.unrecognised"),
            (total, json!(["1200"]), "fact.unrecognised"),
            (total, json!({}), "fact.unrecognised"),
            (total, json!(null), "fact.unrecognised"),
            (total, json!("9".repeat(400)), "fact.unrecognised"),
            (total, json!("1000000000000000201"), "fact.unrecognised"),
            // Beyond 2^53, where a float would lose a cent.
            (total, json!("9007199254741193"), "fact.payment"),
            (currency, json!("ZZZ"), "fact.unrecognised"),
            (currency, json!(""), "fact.unrecognised"),
            (currency, json!(840), "fact.unrecognised"),
            (currency, json!("usd\u{0}"), "fact.unrecognised"),
            (lines, json!("none"), "fact.unrecognised"),
            // Given back within a change of a subscription: a payment that waits for somebody to say what it grants.
            (lines, json!([{ "price_id": "pri_1", "quantity": -1 }]), "fact.payment"),
            (lines, json!([{ "price_id": "pri_1", "quantity": 1.5 }]), "fact.unrecognised"),
            (&["data", "id"], json!("txn \u{7} 1"), "fact.unrecognised"),
            (&["data", "id"], json!("t".repeat(500)), "fact.unrecognised"),
            (&["data", "status"], json!("dreamt"), "fact.unrecognised"),
            (&["data"], json!(7), "fact.unrecognised"),
            (&["occurred_at"], json!("yesterday"), "fact.unrecognised"),
            (&["event_type"], json!("transaction.dreamt"), "fact.unrecognised"),
        ];
        for (number, (path, value, _)) in rows.iter().enumerate() {
            let mut event = paddle_payload("transaction.completed");
            event["event_id"] = json!(format!("evt_{number:03}"));
            *path.iter().fold(&mut event, |value, name| &mut value[*name]) = value.clone();
            let what = format!("{path:?} = {value}");
            expects(&what, front.deliver("paddle", event.to_string().as_bytes()), StatusCode::OK).await;
        }
        site.until("select count(*) from inbox", rows.len() as i64).await;
        gate.stop().await;
        let kinds = site.texts("select kind from inbox order by id").await;
        for ((path, value, expect), kind) in rows.iter().zip(&kinds) {
            assert_eq!(kind, expect, "{path:?} = {value}");
        }
        assert_eq!(site.number("select count(*) from raw_deliveries").await, rows.len() as i64);
        let exact = site.take_facts(ledger::QUEUE).await.remove(0);
        assert!(exact.to_json().contains(r#""amount":"90071992547409.93""#), "{}", exact.to_json());
        assert_eq!(site.dead_letters().await, []);
    });
}

/// A front door on servers that a test can take away.
struct Away {
    front: Front,
    rabbitmq: Relay,
    postgres: Relay,
    intake: Intake,
}

impl Away {
    async fn open(site: &Site) -> Self {
        let (amqp, database) = (site.amqp_url.expose_secret(), site.database_url.expose_secret());
        let (rabbitmq, postgres) = (Relay::to(amqp, 5672), Relay::to(database, 5432));
        let broker = Broker::new(rabbitmq.url(amqp).into(), "by the relay");
        let publisher = Publisher::spawn(broker, Duration::from_secs(1));
        let pool = db::pool(&postgres.url(database).into(), 4, "by the relay").unwrap();
        let intake = Intake { facts: writer(site, publisher, pool), ..intake(site) };
        let away = Self { front: Front::open(intake.clone()).await, rabbitmq, postgres, intake };
        testkit::eventually("its publisher", async || {
            away.intake.facts.publisher.is_connected().then_some(())
        })
        .await;
        away
    }

    async fn delivers(&self, what: &str, status: StatusCode) {
        let asked = Instant::now();
        expects(what, self.front.deliver("paddle", &paddle_body()), status).await;
        assert!(asked.elapsed() < ANSWER_MAX, "{what}: answered after {:?}", asked.elapsed());
    }
}

const KEPT: &str = "select count(*) from kept_messages";

#[test]
fn while_rabbitmq_is_away_deliveries_are_kept_in_postgres_and_published_later() {
    run(async |site| {
        let away = Away::open(&site).await;
        away.rabbitmq.hold();
        away.delivers("a broker that hangs", StatusCode::OK).await;
        assert_eq!(site.number(KEPT).await, 1);
        away.rabbitmq.close();
        away.delivers("a broker that is gone", StatusCode::OK).await;
        away.delivers("a broker that stays away", StatusCode::OK).await;
        assert_eq!(site.number(KEPT).await, 3);

        let (stop, facts) = (CancellationToken::new(), &away.intake.facts);
        let sweeping = tokio::spawn(ingester::publish_spool(facts).run(stop.clone()));
        away.rabbitmq.open();
        site.until(KEPT, 0).await;
        stop.cancel();
        sweeping.await.unwrap();
        let taken = site.take(queue::GATE).await;
        assert!(taken.len() >= 3, "what hung may have arrived as well: {}", taken.len());
        assert!(
            taken.iter().all(|message| message.headers.contains_key("traceparent")),
            "it is published as it was"
        );
    });
}

#[test]
fn while_postgres_is_away_deliveries_go_on_through_rabbitmq() {
    run(async |site| {
        let away = Away::open(&site).await;
        away.postgres.close();
        away.delivers("a database that is gone", StatusCode::OK).await;
        assert_eq!(site.take_facts(queue::GATE).await.len(), 1);
    });
}

#[test]
fn with_both_away_the_sender_is_told_to_come_again_in_time() {
    run(async |site| {
        let away = Away::open(&site).await;
        // Its connection to Postgres was there before.
        away.rabbitmq.hold();
        away.delivers("one away", StatusCode::OK).await;
        away.postgres.hold();
        away.delivers("both hang", StatusCode::SERVICE_UNAVAILABLE).await;
        away.rabbitmq.close();
        away.postgres.close();
        away.delivers("both gone", StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(site.number(KEPT).await, 1);
    });
}

#[test]
fn with_both_away_from_the_beginning_the_sender_is_told_so_too() {
    run(async |site| {
        let nowhere = Broker::new("amqp://guest:guest@127.0.0.1:1/%2f".to_owned().into(), "nowhere");
        let publisher = Publisher::spawn(nowhere, Duration::from_secs(1));
        let pool =
            db::pool(&"postgres://postgres@127.0.0.1:1/nowhere".to_owned().into(), 4, "nowhere").unwrap();
        let front = Front::open(Intake { facts: writer(&site, publisher, pool), ..intake(&site) }).await;
        let asked = Instant::now();
        let problem =
            expects("nowhere", front.deliver("paddle", &paddle_body()), StatusCode::SERVICE_UNAVAILABLE)
                .await;
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        assert!(problem["detail"].as_str().unwrap().contains("send it again later"), "{problem}");
    });
}

#[test]
fn a_token_states_what_it_may_and_nothing_else() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let fact = |cause: &str, fact| envelope(cause, fact).to_json();
        let spent = || fact("shop/1", usage("acct_1", 5));
        let bare = front.post("/v1/facts", spent());
        expects("no token", bare, StatusCode::UNAUTHORIZED).await;
        let money = fact("shop/2", domain::Fact::Payment(payment("txn_1", "acct_1")));
        let rows = [
            ("an unknown token", "guess", spent(), StatusCode::UNAUTHORIZED),
            ("an empty token", "", spent(), StatusCode::UNAUTHORIZED),
            ("a token's hash", &ingester::hash("shop"), spent(), StatusCode::UNAUTHORIZED),
            ("a token without the scope", "reader", spent(), StatusCode::FORBIDDEN),
            ("money", "shop", money, StatusCode::FORBIDDEN),
            ("a grant", "shop", fact("shop/3", grant("acct_1", 5)), StatusCode::FORBIDDEN),
            ("usage of who may grant", "marketing", spent(), StatusCode::FORBIDDEN),
            ("a processor's source", "shop", fact("paddle/4", usage("acct_1", 5)), StatusCode::FORBIDDEN),
            (
                "an operator's source",
                "shop",
                fact("operator/me/5", usage("acct_1", 5)),
                StatusCode::FORBIDDEN,
            ),
            ("no JSON", "shop", "nonsense".to_owned(), StatusCode::BAD_REQUEST),
            ("nothing", "shop", "[]".to_owned(), StatusCode::BAD_REQUEST),
            ("a negative amount", "shop", spent().replace("\"5\"", "\"-5\""), StatusCode::BAD_REQUEST),
            ("a number", "shop", spent().replace("\"5\"", "5"), StatusCode::BAD_REQUEST),
            ("too many places", "shop", spent().replace("\"5\"", "\"0.0000001\""), StatusCode::BAD_REQUEST),
            (
                "one bad of two",
                "shop",
                format!("[{},{}]", spent(), spent().replace("\"5\"", "\"x\"")),
                StatusCode::BAD_REQUEST,
            ),
        ];
        for (what, token, body, status) in rows {
            expects(what, front.state(token, body), status).await;
        }
        assert_eq!(site.depth(queue::GATE).await, 0, "all or none is accepted");

        expects("usage", front.state("shop", spent()), StatusCode::OK).await;
        expects("a grant", front.state("marketing", fact("shop/6", grant("acct_1", 5))), StatusCode::OK)
            .await;
        let several: Vec<String> =
            (10..15).map(|id| fact(&format!("shop/{id}"), usage("acct_1", 5))).collect();
        let answer =
            expects("several", front.state("shop", format!("[{}]", several.join(","))), StatusCode::OK).await;
        assert_eq!(answer, json!({ "accepted": 5 }));
        assert_eq!(site.take_facts(queue::GATE).await.len(), 7);
    });
}

#[test]
fn a_senders_trace_goes_on_with_its_facts() {
    run(async |site| {
        let front = Front::open(intake(&site)).await;
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for header in [trace, "nonsense"] {
            let request = front.deliver("paddle", &paddle_body()).header("traceparent", header);
            expects(header, request, StatusCode::OK).await;
        }
        let facts = site.take_facts(queue::GATE).await;
        assert_eq!(facts[0].traceparent.as_deref(), Some(trace));
        let begun = facts[1].traceparent.as_deref().unwrap();
        assert!(domain::envelope::is_traceparent(begun) && begun != trace, "{begun}");
    });
}

/// What a gateway puts into the queue of raw deliveries is worth what its signature is worth.
#[test]
fn a_gateways_delivery_is_verified_against_the_time_at_which_it_arrived() {
    run(async |site| {
        let worker = site.start(RawQueue::new(intake(&site)), 1);
        let now = OffsetDateTime::now_utc();
        let hours = |hours: i64| now - time::Duration::hours(hours);
        let stamp = |at: OffsetDateTime| Some(at.unix_timestamp().to_string());
        let rows = [
            ("just now", "raw.paddle", SECRET, now, stamp(now), None),
            ("two days in a queue", "raw.paddle", SECRET, hours(48), stamp(hours(48)), None),
            ("forged", "raw.paddle", "guess", now, stamp(now), Some("unverified")),
            ("stale when it arrived", "raw.paddle", SECRET, hours(2), stamp(hours(1)), Some("unverified")),
            ("no time of arrival", "raw.paddle", SECRET, now, None, Some("malformed")),
            ("a time in words", "raw.paddle", SECRET, now, Some("now".to_owned()), Some("malformed")),
            (
                "older than a delivery can be",
                "raw.paddle",
                SECRET,
                hours(73),
                stamp(hours(73)),
                Some("malformed"),
            ),
            ("of tomorrow", "raw.paddle", SECRET, hours(-24), stamp(hours(-24)), Some("malformed")),
            ("of nobody", "raw.nobody", SECRET, now, stamp(now), Some("malformed")),
            ("of another", "raw.stripe", SECRET, now, stamp(now), Some("malformed")),
        ];
        let body = paddle_body();
        for (what, key, secret, signed_at, received_at, _) in &rows {
            let mut headers: BTreeMap<String, String> = signed("paddle", secret, &body, *signed_at)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            headers.extend(received_at.clone().map(|text| (bus::header::RECEIVED_AT.to_owned(), text)));
            headers.insert("what".to_owned(), (*what).to_owned());
            site.post(Post {
                exchange: exchange::RAW,
                routing_key: (*key).to_owned(),
                content_type: Some("application/json".to_owned()),
                headers,
                body: body.clone(),
                ..Post::default()
            })
            .await;
        }
        let refused: Vec<_> = rows.iter().filter_map(|row| Some((row.0, row.5?))).collect();
        let letters = site.dead_lettered(refused.len()).await;
        worker.stop().await;
        let told: BTreeMap<_, _> =
            letters.iter().map(|l| (l.headers["what"].as_str(), l.code.as_str())).collect();
        assert_eq!(told, BTreeMap::from_iter(refused));
        assert!(letters.iter().all(|letter| letter.worker == "ingester" && letter.body.as_bytes() == body));
        let facts = site.take_facts(queue::GATE).await;
        assert_eq!(facts.len(), 2);
        let received: Vec<i64> =
            facts.iter().map(|fact| fact.received_at.unwrap().unix_timestamp()).collect();
        assert_eq!(received, [now.unix_timestamp(), hours(48).unix_timestamp()]);
    });
}

#[test]
fn a_handler_that_panics_is_answered_and_the_door_lives() {
    run(async |_site| {
        let panics = || async {
            let reasons: [&str; 0] = [];
            reasons[reasons.len()].to_owned()
        };
        let routes = axum::Router::new()
            .route("/panics", axum::routing::get(panics))
            .route("/lives", axum::routing::get("it does"));
        let listener = ingester::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let served =
            tokio::spawn(ingester::serve("test", listener, routes, DoorLimits::default(), stop.clone()));
        let client = reqwest::Client::new();
        for _ in 0..3 {
            let panics = client.get(format!("{url}/panics")).header("x-request-id", "req_1");
            let problem = expects("a panic", panics, StatusCode::INTERNAL_SERVER_ERROR).await;
            assert_eq!(problem["request_id"], "req_1");
            let lives = client.get(format!("{url}/lives")).send().await.unwrap();
            assert_eq!(lives.text().await.unwrap(), "it does");
        }
        stop.cancel();
        served.await.unwrap();
    });
}

//! The evidence pack of a dispute: the same bytes twice; handed to Stripe by the real binary, against a server that answers as
//! Stripe does, refuses, or breaks off.

use crate::binary::{Configuration, json_of, settings};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bus::exchange;
use domain::fact::{Dispute, DisputeStatus, Movement, MovementKind, Payment};
use domain::{Fact, PaymentId};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use testkit::facts::{AT, envelope, payment, refund, usage, usd};
use testkit::{Bursar, Settings, Site, run};
use time::Duration;

/// What the server was asked, and how it answers.
#[derive(Default)]
struct Stripe {
    uploads: Vec<String>,
    /// Bodies of updates, as they came.
    updates: Vec<String>,
    keys: Vec<String>,
    /// The next update is carried out, and its answer breaks off.
    breaks_off: bool,
    refuses: bool,
    submissions: u32,
    /// The file that stands in the evidence.
    file: Option<String>,
}

type Shared = Arc<Mutex<Stripe>>;

fn dispute(stripe: &Stripe) -> Value {
    json!({ "id": "dp_1", "object": "dispute", "status": "needs_response", "amount": 1000, "currency": "usd",
        "charge": "ch_1", "payment_intent": "pi_1", "is_charge_refundable": false, "reason": "fraudulent",
        "balance_transactions": [], "evidence": { "service_documentation": stripe.file },
        "evidence_details": { "due_by": 1_798_000_000, "has_evidence": stripe.submissions > 0, "past_due": false,
            "submission_count": stripe.submissions } })
}

async fn upload(State(stripe): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut stripe = stripe.lock().unwrap();
    stripe.uploads.push(String::from_utf8_lossy(&body[..400.min(body.len())]).into_owned());
    stripe.keys.push(headers["idempotency-key"].to_str().unwrap().to_owned());
    Json(json!({ "id": "file_1", "object": "file", "purpose": "dispute_evidence", "size": body.len() }))
        .into_response()
}

async fn update(State(stripe): State<Shared>, Path(id): Path<String>, body: String) -> Response {
    let mut stripe = stripe.lock().unwrap();
    assert_eq!(id, "dp_1");
    stripe.updates.push(body.clone());
    if stripe.refuses {
        let error = json!({ "error": { "type": "invalid_request_error", "message": "This dispute is already closed" } });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    stripe.submissions += u32::from(body.contains("submit=true"));
    stripe.file = Some("file_1".to_owned());
    if std::mem::take(&mut stripe.breaks_off) {
        // A whole head, and less of a body than it promises.
        let body = axum::body::Body::from_stream(futures_util::stream::once(async {
            Err::<Bytes, _>(std::io::Error::other("breaks off"))
        }));
        return (StatusCode::OK, body).into_response();
    }
    Json(dispute(&stripe)).into_response()
}

async fn retrieve(State(stripe): State<Shared>) -> Json<Value> {
    Json(dispute(&stripe.lock().unwrap()))
}

/// A server that answers as Stripe does, for as long as the test runs; and its address.
async fn stripe() -> (Shared, String) {
    let shared = Shared::default();
    let routes = Router::new()
        .route("/v1/files", post(upload))
        .route("/v1/disputes/{id}", get(retrieve).post(update))
        .layer(axum::extract::DefaultBodyLimit::max(8 << 20))
        .with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (shared, url)
}

/// Of the address that all of it came from.
const ADDRESS_DIGEST: &str = "hmac-sha256:37b8ab8684cc3ea131c5cc1dd8892496d13d29ad1d4bba9d5c87ebda6ee5a7dd";

fn bought(id: &str, days_before: i64) -> Fact {
    let payment_id = PaymentId::new("stripe", id).unwrap();
    let occurred_at = AT - Duration::days(days_before);
    let object = id.to_owned();
    let ip = Some(ADDRESS_DIGEST.to_owned());
    Fact::Payment(Payment { payment: payment_id, object, occurred_at, ip, ..payment("t", "acct_1") })
}

fn disputed() -> Vec<Fact> {
    let occurred_at = AT + Duration::days(3);
    let payment = PaymentId::new("stripe", "pi_1").unwrap();
    let movement = Movement {
        payment: payment.clone(),
        kind: MovementKind::Chargeback,
        occurred_at,
        ..refund("dp_1", "t", 1000)
    };
    let dispute = Dispute {
        dispute: "dp_1".to_owned(),
        payment,
        aliases: Vec::new(),
        status: DisputeStatus::Open,
        amount: Some(usd(1000)),
        reason: Some("fraudulent".to_owned()),
        evidence_due_by: Some(AT + Duration::days(10)),
        round: None,
        began_at: None,
        is_early_warning: false,
        is_refundable: Some(false),
        network_reason: Some("10.4".to_owned()),
        fee: Some(usd(1500)),
        by: None,
        by_silence: false,
        occurred_at,
    };
    vec![Fact::Movement(movement), Fact::Dispute(dispute)]
}

/// A fleet that knows a disputed payment, half of it used, and two earlier ones.
async fn fleet(site: &Site, settings: &Settings) -> Bursar {
    let fleet = Bursar::start(site, settings, &["up"]).await;
    // The oldest credits are used first: what the earlier payments gave, then half of the disputed one's.
    let before = [bought("pi_0", 200), bought("pi_00", 150), bought("pi_1", 0), usage("acct_1", 2600)];
    for (number, fact) in before.into_iter().chain(disputed()).enumerate() {
        let is_money = !matches!(fact, Fact::Dispute(_));
        site.state(exchange::VERIFIED, vec![envelope(&format!("shop/evt_{number}"), fact)]).await;
        if is_money {
            let settled = i64::try_from(number).unwrap() + 1;
            site.until("select count(*) from outcomes where reader = 'ledger'", settled).await;
        }
    }
    site.until("select count(*) from restrictions where ended_at is null", 3).await;
    fleet
}

#[test]
fn a_pack_is_the_same_bytes_twice_and_tells_what_a_bank_asks() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = fleet(&site, &settings).await;
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut made = Vec::new();
        for folder in &folders {
            let out = folder.path().to_string_lossy().into_owned();
            let arguments = ["dispute", "evidence", "stripe:dp_1", "--out", out.as_str(), "--json"];
            let (output, told) = json_of(&site, &settings, &arguments).await;
            assert!(output.status.success(), "{told}");
            assert!(told["pages"].as_u64().unwrap() <= 19 && told["bytes"].as_u64().unwrap() <= 4_000_000);
            made.push(
                ["json", "pdf"]
                    .map(|ending| std::fs::read(folder.path().join(format!("dp_1.{ending}"))).unwrap()),
            );
        }
        assert!(made[0] == made[1], "the same database gives the same bytes");
        assert!(made[0][1].starts_with(b"%PDF-"));
        let document: Value = serde_json::from_slice(&made[0][0]).unwrap();
        let content = &document["content"];
        let pack = content.get("pack").unwrap_or(content);
        assert_eq!(pack["dispute"]["network_reason_code"], "10.4", "{pack}");
        assert_eq!(pack["grant"]["credits"], "1050");
        assert_eq!(pack["grant"]["consumed"], "500", "used, though it was reversed since");
        assert_eq!(pack["usage"]["count"], 1);
        let earlier = pack["earlier"]["payments"].as_array().unwrap();
        let from: Vec<&Value> = earlier.iter().map(|payment| &payment["references"]["ip"]).collect();
        assert_eq!(from, [ADDRESS_DIGEST; 2]);
        assert_eq!(pack["purchase"]["references"]["ip"], ADDRESS_DIGEST);
        let requirements = content["compelling_evidence_3"]["requirements"].as_array().unwrap();
        let state = |field: &str| requirements.iter().find(|it| it["field"] == field).map(|it| &it["state"]);
        assert_eq!(state("purchase IP"), Some(&json!("met")), "{requirements:?}");
        assert_eq!(state("device"), Some(&json!("unknown")), "nobody said it");
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn evidence_is_staged_and_then_submitted_for_good_by_who_says_so_twice() {
    run(async |site| {
        let (stripe, url) = stripe().await;
        let configuration = Configuration::new("live");
        let settings = settings(&configuration)
            .with("BURSAR_STRIPE_API_URL", url)
            .with("BURSAR_STRIPE_API_KEY", "rk_test_1");
        let fleet = fleet(&site, &settings).await;
        let submit =
            ["dispute", "submit", "stripe:dp_1", "--reason", "they used it", "--by", "ada", "--json"];
        let (output, told) = json_of(&site, &settings, &submit).await;
        assert!(output.status.success(), "{told}");
        assert_eq!(told["state"], "staged");
        {
            let stripe = stripe.lock().unwrap();
            assert_eq!((stripe.uploads.len(), stripe.updates.len()), (1, 1));
            assert!(stripe.uploads[0].contains("dispute_evidence"), "{}", stripe.uploads[0]);
            assert!(stripe.updates[0].contains("submit=false"), "said, since Stripe's default is for good");
            assert!(stripe.updates[0].contains("file_1"));
        }
        // Nobody is at the keyboard, and nothing was said beforehand.
        let unsaid: Vec<&str> = submit.iter().copied().chain(["--final"]).collect();
        assert_eq!(Bursar::run(&site, &settings, &unsaid).await.status.code(), Some(2));
        assert_eq!(stripe.lock().unwrap().updates.len(), 1);
        // The answer breaks off after it was carried out: it is asked about, and not sent again.
        stripe.lock().unwrap().breaks_off = true;
        let said: Vec<&str> = unsaid.iter().copied().chain(["--confirm", "stripe:dp_1"]).collect();
        let (output, told) = json_of(&site, &settings, &said).await;
        assert!(output.status.success(), "{told}");
        assert_eq!(told["state"], "submitted");
        {
            let stripe = stripe.lock().unwrap();
            assert_eq!((stripe.updates.len(), stripe.submissions), (2, 1), "sent once");
        }
        // It went to the bank: it is not sent again, staged or not.
        let again = Bursar::run(&site, &settings, &said).await;
        assert_eq!(again.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&again.stderr).contains("went to the bank before"));
        let (_, acts) = json_of(&site, &settings, &["audit", "--json"]).await;
        assert!(acts.to_string().contains("submit_evidence"), "{acts}");
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn a_no_of_stripes_is_told_with_its_words_and_is_a_dead_letter() {
    run(async |site| {
        let (stripe, url) = stripe().await;
        let configuration = Configuration::new("live");
        let settings = settings(&configuration)
            .with("BURSAR_STRIPE_API_URL", url)
            .with("BURSAR_STRIPE_API_KEY", "rk_test_1");
        let fleet = fleet(&site, &settings).await;
        let submit =
            ["dispute", "submit", "stripe:dp_1", "--reason", "they used it", "--by", "ada", "--json"];
        stripe.lock().unwrap().refuses = true;
        let (output, told) = json_of(&site, &settings, &submit).await;
        assert_eq!((output.status.code(), told["state"].as_str()), (Some(1), Some("refused")), "{told}");
        assert!(told["answer"].as_str().unwrap().contains("already closed"), "{told}");
        site.until(
            "select count(*) from dead_letters where code = 'evidence_refused' and account = 'acct_1'",
            1,
        )
        .await;
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn paddle_takes_no_evidence_and_the_pack_is_kept() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let dispute = match disputed().remove(1) {
            Fact::Dispute(dispute) => dispute,
            other => panic!("{other:?}"),
        };
        let payment_id = PaymentId::new("paddle", "txn_1").unwrap();
        let dispute = Dispute { dispute: "txn_1".to_owned(), payment: payment_id, ..dispute };
        let facts = vec![
            envelope("shop/evt_1", Fact::Payment(payment("txn_1", "acct_1"))),
            envelope("shop/evt_2", Fact::Dispute(dispute)),
        ];
        site.state_each(exchange::VERIFIED, facts).await;
        site.until("select count(*) from disputes where account is not null", 1).await;
        let submit = ["dispute", "submit", "paddle:txn_1", "--reason", "why not", "--by", "ada"];
        let output = Bursar::run(&site, &settings, &submit).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("takes no evidence") && said.contains("The pack is kept"), "{said}");
        assert_eq!(site.number("select count(*) from evidence_packs").await, 1);
        assert!(fleet.terminate().await.success());
    });
}

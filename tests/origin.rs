//! Where people bought and used something: digests alone are kept, whatever a platform sends; a rotated key makes no conflict; and
//! an erasure destroys them.

use crate::binary::{Configuration, deliver, json_of, settings};
use crate::erasure::{is_proved, rows_with};
use crate::payloads::payload;
use crate::renderings::settle_by;
use bus::exchange;
use domain::envelope::{CONTENT_TYPE, CONTENT_TYPE_BATCH};
use domain::fact::{Payment, Usage};
use domain::settings::Masked;
use domain::{Envelope, Fact};
use processors::{Origins, PrivacySettings};
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::facts::{PRICE, envelope, payment, usage};
use testkit::{Bursar, Post, Settings, Site, run};
use time::OffsetDateTime;

const KEY: &str = "a key of this deployment, 32 bytes and more";
const ADDRESS: &str = "192.0.2.1";
const DEVICE: &str = "whispering-7";

// Computed with Python's `hmac` over `ip\0192.0.2.1` and `device\0whispering-7`.
const ADDRESS_DIGEST: &str = "hmac-sha256:37b8ab8684cc3ea131c5cc1dd8892496d13d29ad1d4bba9d5c87ebda6ee5a7dd";
const DEVICE_DIGEST: &str = "hmac-sha256:65108fa5bef5a50f910959a883175f64bc17433c213407f6537f2ecfba6ddd14";

const ADMITTED: &str = "select count(*) from inbox";
const LETTERS: &str = "select count(*) from dead_letters";
const ORIGINS: &str = "select distinct coalesce(fact::json ->> 'ip', 'none') || ' ' || coalesce(fact::json ->> 'device', 'none')
    from inbox order by 1";
const BODIES: &str = "select convert_from(body, 'UTF8') from dead_letters order by dead_at, letter";

/// Usage as a platform's service writes it, with this beside what it must say.
fn used(id: &str, more: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","type":"fact.usage","source":"gateway","id":"{id}","data":{{"account":"acct_42","credits":"1"{more}}}}}"#
    )
}

const RAW: &str = r#","ip":"::ffff:192.0.2.1","device":"whispering-7""#;

async fn publish(site: &Site, content_type: &str, body: String) {
    let post = Post {
        exchange: exchange::INBOUND,
        routing_key: "fact.usage".to_owned(),
        content_type: Some(content_type.to_owned()),
        user_id: Some(site.amqp_user()),
        body: body.into_bytes(),
        ..Post::default()
    };
    site.post(post).await;
}

async fn state(bursar: &Bursar, body: String) -> (StatusCode, Value) {
    let url = bursar.addresses.http("/v1/facts");
    let answer = reqwest::Client::new().post(url).bearer_auth("shop").body(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn with_token(configuration: &Configuration) -> Settings {
    settings(configuration).with("BURSAR_API_TOKENS", format!("shop:facts:{}", ingester::hash("shop")))
}

async fn holds_no_raw_value(site: &Site) {
    for raw in [ADDRESS, DEVICE] {
        assert_eq!(rows_with(site, raw).await, Vec::<String>::new(), "{raw}");
    }
}

#[test]
fn both_doors_digest_what_a_platform_states_raw() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = with_token(&configuration).with("BURSAR_DIGEST_KEY", KEY).with("BURSAR_LOG", "trace");
        let (bursar, heard) = Bursar::start_heard(&site, &settings, &["up"]).await;
        let (status, answer) = state(&bursar, used("http_1", RAW)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let array = format!("[{},{}]", used("http_2", RAW), used("http_3", ""));
        let (status, answer) = state(&bursar, array).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        publish(&site, CONTENT_TYPE, used("amqp_1", RAW)).await;
        let digests = format!(r#","ip":"{ADDRESS_DIGEST}","device":"{DEVICE_DIGEST}""#);
        publish(&site, CONTENT_TYPE, used("amqp_2", &digests)).await;
        // The second is refused for another reason, and its letter keeps what can be kept.
        let bad = used("amqp_4", RAW).replace("\"1\"", "\"many\"");
        publish(&site, CONTENT_TYPE_BATCH, format!("[{},{bad}]", used("amqp_3", RAW))).await;
        site.until(ADMITTED, 6).await;
        site.until(LETTERS, 1).await;
        site.until("select count(*) from outcomes", 6).await;

        // What is refused is answered without it.
        for wrong in [r#","ip":"192.0.2.1/24""#, r#","ip":3221225985"#, r#","device":"whispering-7\u0000""#] {
            let (status, problem) = state(&bursar, used("http_4", wrong)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with("fact 0 (\"http_4\"): data."), "{detail}");
            assert!(
                detail.contains("or a digest as hmac-sha256:<64") && !detail.contains("192.0"),
                "{detail}"
            );
        }
        assert!(bursar.terminate().await.success());

        assert_eq!(
            site.texts(ORIGINS).await,
            [format!("{ADDRESS_DIGEST} {DEVICE_DIGEST}"), "none none".to_owned()]
        );
        let letter = site.texts(BODIES).await.remove(0);
        assert!(letter.contains(ADDRESS_DIGEST) && letter.contains(DEVICE_DIGEST), "{letter}");
        holds_no_raw_value(&site).await;
        let log = heard.await.unwrap();
        assert!(log.contains("dead letter"), "it was heard: {log}");
        assert!(!log.contains(ADDRESS) && !log.contains(DEVICE) && !log.contains(KEY), "{log}");
        is_proved(&site, &settings).await;
    });
}

#[test]
fn without_a_key_a_raw_value_is_refused_and_not_kept_and_its_letter_can_be_replayed() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = with_token(&configuration);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let (status, problem) = state(&bursar, used("http_1", RAW)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let detail = problem["detail"].as_str().unwrap();
        for told in [
            "data.ip: expected a digest as hmac-sha256:<64",
            "BURSAR_DIGEST_KEY",
            "send the digest",
            "none was accepted",
        ] {
            assert!(detail.contains(told), "{detail}");
        }
        assert!(!detail.contains(ADDRESS), "{detail}");
        let digest = format!(r#","ip":"{ADDRESS_DIGEST}""#);
        let (status, answer) = state(&bursar, used("http_2", &digest)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");

        publish(&site, CONTENT_TYPE, used("amqp_1", RAW)).await;
        site.until(LETTERS, 1).await;
        let id = site.texts("select letter::text from dead_letters").await.remove(0);
        // Cut off: nobody can say what it is, and it is kept.
        let whole = used("amqp_2", RAW);
        publish(&site, CONTENT_TYPE, whole[..whole.len() - 4].to_owned()).await;
        site.until(LETTERS, 2).await;
        site.until(ADMITTED, 1).await;
        for body in site.texts(BODIES).await {
            assert!(body.contains(r#""ip":"[removed]","device":"[removed]""#), "{body}");
        }
        let reasons =
            site.texts("select code || ' ' || reason from dead_letters order by dead_at, letter").await;
        assert!(reasons[0].starts_with("malformed data.ip: expected a digest"), "{}", reasons[0]);
        assert!(reasons[1].starts_with("malformed expected a CloudEvent"), "{}", reasons[1]);
        holds_no_raw_value(&site).await;

        // The usage counts once an operator has it told without.
        let replay = ["dlq", "replay", &id, "--expect", "1", "--by", "ada", "--json"];
        let (output, report) = json_of(&site, &settings, &replay).await;
        assert!(output.status.success(), "{report}");
        site.until(ADMITTED, 2).await;
        assert!(bursar.terminate().await.success());
        assert_eq!(site.texts(ORIGINS).await, [format!("{ADDRESS_DIGEST} none"), "none none".to_owned()]);
    });
}

fn digesting(key: &str) -> processors::Settings {
    let key = format!("{key}, which is as long as it has to be");
    processors::Settings {
        metadata_ip_key: Some("ip".to_owned()),
        metadata_device_key: Some("device".to_owned()),
        origins: Origins::new(&PrivacySettings { digest_key: Some(Masked::new(key)) }),
        ..processors::Settings::default()
    }
}

/// Told again after the key was rotated, or by a service that has only now begun to say it: the first stays.
#[test]
fn another_digest_of_where_it_came_from_makes_no_other_fact() {
    run(async |site| {
        let (old, new) = (digesting("old"), digesting("new"));
        let mut number = 0;
        let mut check = async |first: Fact, second: Fact, expect: &[&str]| {
            number += 1;
            let told = [first, second].map(|fact| envelope(&format!("paddle/evt_{number}"), fact));
            let told = [&told[0], &told[1], &told[0], &told[1]].map(Clone::clone);
            let (words, _) = settle_by(&site, new.clone(), &told).await;
            assert_eq!(words, expect, "{told:?}");
        };
        let by = |settings: &processors::Settings| settings.origins.ip(ADDRESS);
        let Fact::Usage(plain) = usage("acct_1", 1) else { unreachable!() };
        let used = |ip: Option<String>| Fact::Usage(Usage { ip, ..plain.clone() });
        let same = ["admitted", "repeated", "repeated", "repeated"];
        check(used(by(&old)), used(by(&new)), &same).await;
        check(used(None), used(by(&new)), &same).await;
        check(used(by(&old)), used(None), &same).await;
        let other = Fact::Usage(Usage { reference: Some("r".to_owned()), ip: by(&new), ..plain.clone() });
        let conflict = "conflict: reference";
        check(used(by(&old)), other, &["admitted", conflict, "repeated", conflict]).await;

        let bought = |ip: Option<String>, device: Option<String>| {
            Fact::Payment(Payment { ip, device, ..payment("txn_1", "acct_1") })
        };
        let device = || new.origins.device(DEVICE);
        check(bought(by(&old), None), bought(by(&new), None), &same).await;
        check(bought(by(&old), None), bought(None, None), &same).await;
        check(bought(by(&new), None), bought(by(&old), None), &same).await;
        // What a description says more is kept, beside what was told first.
        let more = ["admitted", "added", "repeated", "repeated"];
        check(bought(by(&old), None), bought(by(&new), device()), &more).await;
        let added = site.texts("select fact::json ->> 'ip' from inbox where adds_to is not null").await;
        assert_eq!(added, [by(&old).unwrap()]);
        check(bought(None, None), bought(by(&new), None), &more).await;
    });
}

/// A processor's delivery, whose stored body is translated again with the key of today.
#[test]
fn a_delivery_that_comes_again_after_the_key_was_rotated_is_a_repeat() {
    run(async |site| {
        let mut event = payload("stripe", "charge.succeeded");
        event["data"]["object"]["metadata"] = json!({ "ip": ADDRESS, "device": DEVICE });
        let body = serde_json::to_vec(&event).unwrap();
        let told = |settings: &processors::Settings| -> Envelope {
            let translate = processors::find("stripe").unwrap().translate;
            translate(settings, &body, OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000))
                .unwrap()
                .remove(0)
        };
        let (old, new) = (digesting("old"), digesting("new"));
        let [first, again] = [&old, &new].map(told);
        assert!(first.fact.origin().iter().all(Option::is_some) && first.fact != again.fact, "{first:?}");
        let (words, _) = settle_by(&site, new.clone(), &[first.clone(), again.clone()]).await;
        assert_eq!(words, ["admitted", "repeated"]);
        // A gate that has no key, and an ingester that has lost it.
        let keyless = processors::Settings { origins: Origins::default(), ..new };
        let (words, _) = settle_by(&site, keyless.clone(), &[again, told(&keyless), first]).await;
        assert_eq!(words, ["repeated"; 3]);
        assert_eq!(site.number(ADMITTED).await, 1);
    });
}

/// A purchase whose custom data say where it was made.
fn bought() -> Vec<u8> {
    let mut event = payload("paddle", "transaction.completed");
    event["data"]["custom_data"] = json!({ "account_id": "acct_42", "ip": ADDRESS, "device": DEVICE });
    event.to_string().replace("pri_01h1vjes1y163xfj1rh1tkfb65", PRICE).into_bytes()
}

const KEYS: &str = "[accounts]\nmetadata_ip_key = \"ip\"\nmetadata_device_key = \"device\"\n";

#[test]
fn an_erasure_destroys_where_an_account_bought_and_used() {
    run(async |site| {
        let configuration = Configuration::new("live").with(KEYS);
        let settings = with_token(&configuration).with("BURSAR_DIGEST_KEY", KEY);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let (client, url) = (reqwest::Client::new(), bursar.addresses.http("/webhooks/paddle"));
        assert_eq!(deliver(&client, url.clone(), "paddle", bought()).await.unwrap(), StatusCode::OK);
        assert_eq!(state(&bursar, used("use_1", RAW)).await.0, StatusCode::OK);
        let another = used("use_2", RAW).replace("acct_42", "acct_43");
        assert_eq!(state(&bursar, another).await.0, StatusCode::OK);
        site.until("select count(*) from outcomes", 3).await;
        assert_eq!(site.texts(ORIGINS).await, [format!("{ADDRESS_DIGEST} {DEVICE_DIGEST}")]);

        let forget = ["account", "forget", "acct_42", "--by", "ada", "--reason", "asked to", "--json"];
        let (output, report) = json_of(&site, &settings, &forget).await;
        assert!(output.status.success(), "{report}");
        assert_eq!((&report["facts"], &report["bodies"]), (&json!(2), &json!(1)), "{report}");
        let digest = &ADDRESS_DIGEST["hmac-sha256:".len()..];
        assert_eq!(rows_with(&site, digest).await, ["inbox: 1"], "another account's");
        // The body of the processor's delivery had it as it was.
        holds_no_raw_value(&site).await;
        is_proved(&site, &settings).await;

        // What comes again brings nothing back.
        assert_eq!(deliver(&client, url, "paddle", bought()).await.unwrap(), StatusCode::OK);
        assert_eq!(state(&bursar, used("use_1", RAW)).await.0, StatusCode::OK);
        site.until("select sum(repeats)::bigint from inbox", 2).await;
        assert_eq!(site.number(LETTERS).await, 0);
        assert_eq!(rows_with(&site, digest).await, ["inbox: 1"]);
        assert!(bursar.terminate().await.success());
    });
}

#[test]
fn a_retention_destroys_where_people_bought_and_used() {
    run(async |site| {
        let configuration = Configuration::new("live").with(KEYS).with("[retention]\nfact_texts = \"1ms\"\n");
        let settings = with_token(&configuration).with("BURSAR_DIGEST_KEY", KEY);
        let facts = [
            Fact::Payment(Payment { ip: Some(ADDRESS_DIGEST.to_owned()), ..payment("txn_1", "acct_42") }),
            usage("acct_42", 1),
        ];
        let told = facts
            .into_iter()
            .enumerate()
            .map(|(number, fact)| envelope(&format!("paddle/evt_{number}"), fact));
        let (words, _) = settle_by(&site, processors::Settings::default(), &told.collect::<Vec<_>>()).await;
        assert_eq!(words, ["admitted"; 2]);
        let gate = Bursar::start(&site, &settings, &["run", "gate"]).await;
        site.until("select count(*) from facts_with_texts", 0).await;
        assert!(gate.terminate().await.success());
        assert_eq!(site.texts(ORIGINS).await, ["[erased] none", "none none"]);
        assert_eq!(site.texts("select by || ' ' || facts from erasures").await, ["retention 1"]);
    });
}

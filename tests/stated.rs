//! What platforms state themselves: usage of nothing is no mistake, an array is taken whole or not at all, and nobody speaks
//! under a source that is another's.

use crate::binary::{Configuration, json_of, settings};
use bus::exchange;
use domain::Envelope;
use domain::envelope::{CONTENT_TYPE, CONTENT_TYPE_BATCH};
use reqwest::StatusCode;
use serde_json::Value;
use testkit::facts::{envelope, grant, usage};
use testkit::{Bursar, Post, Settings, Site, run};

/// A token by its name; its sources follow.
fn token(name: &str, sources: &str) -> String {
    format!("{name}:facts:{}{sources}", ingester::hash(name))
}

async fn publish(site: &Site, user: &str, facts: &[Envelope]) {
    let texts: Vec<String> = facts.iter().map(Envelope::to_json).collect();
    let (content_type, body) = match &texts[..] {
        [one] => (CONTENT_TYPE, one.clone()),
        many => (CONTENT_TYPE_BATCH, format!("[{}]", many.join(","))),
    };
    let post = Post {
        exchange: exchange::INBOUND,
        routing_key: "fact.usage".to_owned(),
        message_id: None,
        content_type: Some(content_type.to_owned()),
        user_id: Some(user.to_owned()),
        headers: Default::default(),
        body: body.into_bytes(),
    };
    site.post(post).await;
}

async fn state(bursar: &Bursar, token: &str, body: String) -> (StatusCode, Value) {
    let url = bursar.addresses.http("/v1/facts");
    let answer = reqwest::Client::new().post(url).bearer_auth(token).body(body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn array(facts: &[Envelope]) -> String {
    format!("[{}]", facts.iter().map(Envelope::to_json).collect::<Vec<_>>().join(","))
}

/// Spends this, as it is written.
fn spent(cause: &str, credits: &str) -> String {
    envelope(cause, usage("acct_1", 7)).to_json().replace("\"7\"", &format!("\"{credits}\""))
}

async fn verify_is_clean(site: &Site, settings: &Settings) {
    for arguments in [&["ledger", "verify", "--json"][..], &["ledger", "rebuild", "--compare", "--json"]] {
        let (output, report) = json_of(site, settings, arguments).await;
        assert!(output.status.success(), "{report:#}");
    }
}

#[test]
fn usage_of_nothing_is_settled_as_nothing_new_by_every_door() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration).with("BURSAR_API_TOKENS", token("shop", ""));
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let user = site.amqp_user();
        publish(&site, &user, &[envelope("gateway/alone", usage("acct_1", 0))]).await;
        let batch =
            [0, 5, 0].map(|credits| envelope(&format!("gateway/batch_{credits}"), usage("acct_1", credits)));
        publish(&site, &user, &batch).await;
        for (id, credits) in ["0", "-0", "0.000", "0.0000000000"].into_iter().enumerate() {
            let (status, answer) = state(&bursar, "shop", spent(&format!("shop/http_{id}"), credits)).await;
            assert_eq!(status, StatusCode::OK, "{credits}: {answer}");
        }
        publish(&site, &user, &[envelope("gateway/less", usage("acct_1", -1))]).await;
        site.until("select count(*) from outcomes", 7).await;
        site.until("select count(*) from dead_letters", 1).await;
        assert!(bursar.terminate().await.success());

        assert_eq!(site.number("select count(*) from outcomes where outcome = 'no_op'").await, 6);
        assert_eq!(site.number("select count(*) from transactions").await, 1, "of the five credits");
        let events = "select distinct cause from events";
        assert_eq!(site.texts(events).await, ["gateway/batch_5"]);
        let letter = site.texts("select code || ': ' || reason from dead_letters").await.remove(0);
        assert!(
            letter.contains("malformed: data.credits: expected zero or more credits, got -1"),
            "{letter}"
        );
        verify_is_clean(&site, &settings).await;
    });
}

#[test]
fn one_bad_fact_refuses_the_whole_array_and_is_named() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration).with("BURSAR_API_TOKENS", token("shop", ""));
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let good = spent("shop/use_1", "7");
        let rows = [
            (spent("shop/use_2", "-1"), 400, "expected zero or more credits, got -1"),
            (spent("shop/use_2", "0.0000001"), 400, "6 decimal places"),
            (spent("shop/use_2", "many"), 400, "expected data of fact.usage"),
            (envelope("shop/use_2", grant("acct_1", 5)).to_json(), 403, "this token may state"),
            (spent("paddle/use_2", "7"), 403, "one of the fleet's own"),
        ];
        for (bad, status, why) in rows {
            let (got, problem) = state(&bursar, "shop", format!("[{good},{bad},{good}]")).await;
            assert_eq!(got.as_u16(), status, "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with("fact 1 (\"use_2\"): "), "{detail}");
            assert!(detail.contains(why) && detail.ends_with("none was accepted"), "{detail}");
        }
        let (got, problem) = state(&bursar, "shop", format!("[{good},17]")).await;
        assert_eq!(got, StatusCode::BAD_REQUEST);
        assert!(problem["detail"].as_str().unwrap().starts_with("fact 1: expected"), "{problem}");
        let (got, _) = state(&bursar, "shop", spent("shop/last", "7")).await;
        assert_eq!(got, StatusCode::OK);
        site.until("select count(*) from outcomes", 1).await;
        assert!(bursar.terminate().await.success());
        assert_eq!(
            site.texts("select id from inbox").await,
            ["last"],
            "nothing of a refused array is admitted"
        );
    });
}

#[test]
fn nobody_takes_an_events_id_before_whoever_its_source_is_bound_to() {
    run(async |site| {
        let user = site.amqp_user();
        let publishers = format!(
            "[[publishers]]\nuser = {user:?}\nfacts = [\"fact.usage\"]\nsources = [\"gateway/*\"]\n\
             [[tokens]]\nname = \"console\"\nscopes = [\"facts\"]\nsources = [\"console\"]\nsha256 = {:?}\n",
            ingester::hash("console")
        );
        let configuration = Configuration::new("live").with(&publishers);
        let tokens = [token("shop", ""), token("http", "@http/*|http")].join(",");
        let settings = settings(&configuration).with("BURSAR_API_TOKENS", tokens);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        let ask = async |token: &str, cause: &str| {
            let (status, problem) =
                state(&bursar, token, array(&[envelope(cause, usage("acct_1", 1))])).await;
            (status.as_u16(), problem["detail"].as_str().unwrap_or_default().to_owned())
        };
        // The squatter asks first, and by whatever looks like the source.
        for source in
            ["gateway/eu-1", "Gateway/eu-1", "gateway//eu-1", "gateway%2Feu-1", "http/1", "HTTP", "console"]
        {
            let (status, detail) = ask("shop", &format!("{source}/use_1")).await;
            assert_eq!(status, 403, "{source}: {detail}");
            assert!(detail.contains("bound to another publisher or token by its key sources"), "{detail}");
        }
        for source in ["Paddle", "//paddle", "%70addle/x", "operator/ada", "ｓtripe"] {
            let (status, detail) = ask("shop", &format!("{source}/use_1")).await;
            assert!(
                status == 403 && detail.contains("one of the fleet's own"),
                "{source}: {status} {detail}"
            );
        }
        let (status, detail) = ask("console", "shop/use_1").await;
        assert!(status == 403 && detail.contains("its sources are console"), "{status} {detail}");
        for (token, cause) in [
            ("console", "console/use_1"),
            ("http", "http/1/use_1"),
            ("http", "http/use_1"),
            ("shop", "shop/use_1"),
        ] {
            assert_eq!(ask(token, cause).await.0, 200, "{token} {cause}");
        }
        publish(
            &site,
            &user,
            &[
                envelope("console/use_2", usage("acct_1", 1)),
                envelope("gateway/eu-1/use_1", usage("acct_1", 1)),
            ],
        )
        .await;
        publish(&site, &user, &[envelope("shop/use_9", usage("acct_1", 1))]).await;
        site.until("select count(*) from outcomes where outcome = 'applied'", 5).await;
        site.until("select count(*) from dead_letters", 2).await;
        assert!(bursar.terminate().await.success());
        let letters = site.texts("select code || ': ' || reason from dead_letters order by reason").await;
        for (letter, source) in letters.iter().zip(["console", "shop"]) {
            let expect = format!(
                "forbidden: publisher {user:?} may not use source {source:?}: its sources are gateway/*"
            );
            assert_eq!(*letter, expect);
        }
        assert_eq!(site.number("select coalesce(sum(repeats), 0)::bigint from inbox").await, 0);
    });
}

#[test]
fn a_binding_that_cannot_be_read_is_told_at_the_start() {
    run(async |site| {
        let rows = [
            (
                "[[publishers]]\nuser = \"a\"\nfacts = [\"fact.usage\"]\nsources = [\"gate*\"]\n",
                String::new(),
                "publishers a: sources",
            ),
            ("", token("shop", "@paddle/*"), "token \"shop\": expected a source"),
        ];
        for (text, tokens, expect) in rows {
            let configuration = Configuration::new("live").with(text);
            let settings = settings(&configuration).with("BURSAR_API_TOKENS", tokens);
            let output = Bursar::run(&site, &settings, &["up"]).await;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && told.contains(expect), "{told}");
        }
    });
}

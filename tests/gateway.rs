//! What gateways ask before each call: who may ask, what is told, and when it is not told again.

use crate::binary::{Configuration, settings};
use reqwest::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use testkit::facts::{envelope, payment, usage};
use testkit::{Bursar, Site, eventually, run};

/// A fleet, and who asks it.
struct Gateway {
    bursar: Bursar,
    _configuration: Configuration,
    client: reqwest::Client,
}

impl Gateway {
    async fn open(site: &Site) -> Self {
        let token = |name: &str, scope: &str| format!("{name}:{scope}:{}", ingester::hash(name));
        let tokens = [token("reader", "accounts:read"), token("writer", "facts")].join(",");
        let configuration = Configuration::new("live");
        let settings = settings(&configuration).with("BURSAR_API_TOKENS", tokens);
        let bursar = Bursar::start(site, &settings, &["up"]).await;
        Self { bursar, _configuration: configuration, client: reqwest::Client::new() }
    }

    fn asks(&self, method: Method, account: &str) -> RequestBuilder {
        let url = self.bursar.addresses.http(&format!("/v1/accounts/{account}"));
        self.client.request(method, url)
    }

    fn reads(&self, account: &str) -> RequestBuilder {
        self.asks(Method::GET, account).bearer_auth("reader")
    }

    async fn read(&self, account: &str) -> Response {
        let answer = self.reads(account).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{account}");
        answer
    }

    async fn json(&self, account: &str) -> Value {
        self.read(account).await.json().await.unwrap()
    }
}

fn tag(answer: &Response) -> String {
    answer.headers()[ETAG].to_str().unwrap().to_owned()
}

#[test]
fn a_gateway_reads_an_account_with_a_token_that_may() {
    run(async |site| {
        let gateway = Gateway::open(&site).await;
        let check = async |request: RequestBuilder, expect: StatusCode| {
            // Whoever may not read is not told that he holds it, either.
            let answer = request.header(IF_NONE_MATCH, "*").send().await.unwrap();
            assert_eq!(answer.status(), expect);
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
            assert!(!answer.headers().contains_key(ETAG));
        };
        check(gateway.asks(Method::GET, "a"), StatusCode::UNAUTHORIZED).await;
        check(gateway.asks(Method::GET, "a").bearer_auth("nobody"), StatusCode::UNAUTHORIZED).await;
        check(gateway.asks(Method::GET, "a").bearer_auth("writer"), StatusCode::FORBIDDEN).await;
        check(gateway.reads(&"a".repeat(500)), StatusCode::BAD_REQUEST).await;
        check(gateway.reads("a?view=lots"), StatusCode::BAD_REQUEST).await;
        check(gateway.reads("a?view=standing&view=standing"), StatusCode::BAD_REQUEST).await;
        check(gateway.asks(Method::DELETE, "a").bearer_auth("reader"), StatusCode::METHOD_NOT_ALLOWED).await;
        gateway.bursar.terminate().await;
    });
}

#[test]
fn a_gateway_is_told_balances_and_standing_and_on_request_all_else() {
    run(async |site| {
        let gateway = Gateway::open(&site).await;
        let facts = vec![envelope("paddle/evt_1", domain::Fact::Payment(payment("txn_1", "a")))];
        site.state(bus::exchange::VERIFIED, facts).await;
        eventually("the grant to be told", async || {
            (gateway.json("a?view=standing").await["available"] == "1050").then_some(())
        })
        .await;
        let mut whole = gateway.json("a").await;
        let standing = gateway.json("a?view=standing").await;
        let allowed =
            json!({ "access": "allowed", "checkout": "allowed", "balance": "allowed", "restrictions": [] });
        let expect = json!({
            "account": "a", "known": true, "available": "1050", "held": "0", "debt": "0",
            "sequence": whole["sequence"], "standing": allowed,
        });
        assert_eq!(standing, expect);
        assert!(whole["sequence"].as_i64().unwrap() > 0);
        let more =
            ["lots", "lots_total", "payments"].map(|field| whole.as_object_mut().unwrap().remove(field));
        assert_eq!(more[0].as_ref().unwrap().as_array().unwrap().len(), 2, "the purchase and its bonus");
        assert_eq!(more[2].as_ref().unwrap()[0]["payment"], "paddle:txn_1");
        assert_eq!(whole, standing, "what both tell is the same");
        gateway.bursar.terminate().await;
    });
}

#[test]
fn what_a_gateway_holds_is_told_again_only_once_it_changed() {
    run(async |site| {
        let gateway = Gateway::open(&site).await;
        // Nobody has spoken of the account yet.
        let unknown = gateway.read("a?view=standing").await;
        let before = tag(&unknown);
        let told: Value = unknown.json().await.unwrap();
        assert_eq!((&told["known"], &told["available"]), (&json!(false), &json!("0")));
        for view in ["a?view=standing", "a"] {
            let tag = tag(&gateway.read(view).await);
            assert!(tag.starts_with('"') && tag.len() > 20, "{tag}: strong, and not short");
            let weak = format!("W/{tag}");
            let among = format!("\"x\", W/\"y\" , {tag}");
            for held in [tag.as_str(), &weak, &among, "*"] {
                for method in [Method::GET, Method::HEAD] {
                    let request = gateway.asks(method, view).bearer_auth("reader");
                    let answer = request.header(IF_NONE_MATCH, held).send().await.unwrap();
                    assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{held}");
                    assert_eq!(answer.headers()[ETAG].to_str().unwrap(), tag);
                    assert_eq!(answer.headers()[CACHE_CONTROL], "private, no-cache");
                    assert_eq!(answer.bytes().await.unwrap().len(), 0);
                }
            }
            for other in ["\"x\"", "nonsense", &tag[1..]] {
                let answer = gateway.reads(view).header(IF_NONE_MATCH, other).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{other}");
            }
            let head = gateway.asks(Method::HEAD, view).bearer_auth("reader").send().await.unwrap();
            let length = gateway.read(view).await.bytes().await.unwrap().len().to_string();
            assert_eq!((head.status(), &head.headers()[ETAG]), (StatusCode::OK, &tag.parse().unwrap()));
            assert_eq!(head.headers()[CONTENT_LENGTH], length.as_str());
            assert_eq!(head.bytes().await.unwrap().len(), 0);
        }
        let mut seen = vec![before];
        for (id, debt) in [("use_1", "7"), ("use_2", "14")] {
            let held = seen.last().unwrap().clone();
            site.state(bus::exchange::INBOUND, vec![envelope(&format!("gateway/{id}"), usage("a", 7))]).await;
            let after = eventually("the usage to be told", async || {
                let request = gateway.reads("a?view=standing").header(IF_NONE_MATCH, &held);
                let answer = request.send().await.unwrap();
                (answer.status() == StatusCode::OK).then_some(answer)
            })
            .await;
            seen.push(tag(&after));
            let told: Value = after.json().await.unwrap();
            assert_eq!((&told["debt"], &told["known"]), (&json!(debt), &json!(true)));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 3, "another tag for each");
        gateway.bursar.terminate().await;
    });
}

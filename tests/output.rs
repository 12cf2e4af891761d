//! What comes out says what is so: text from outside forges no line, no formula and no label, no secret is said, and a date
//! that no calendar has is bad input.

use crate::binary::{Configuration, deliver, json_of, settings};
use crate::dead_letters::{Dead, bury};
use crate::payloads::paddle_payload;
use bus::exchange;
use domain::Fact;
use domain::fact::Usage;
use reqwest::StatusCode;
use serde_json::json;
use testkit::facts::{account_id, envelope, grant, payment, usage};
use testkit::{Bursar, Post, Settings, Site, run};

const LETTERS: &str = "select count(*) from dead_letters";
const ADMITTED: &str = "select count(*) from inbox";
const SETTLED: &str = "select count(*) from outcomes";

/// Tries to be a line of its own in whatever shows it.
const FORGED: &str =
    "x\nFORGED\rFORGED\u{2028}FORGED\u{2029}FORGED\u{85}FORGED\u{b}FORGED\u{202e}\u{2066}\u{200b}\x1b[2J";

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

fn is_seen(c: char) -> bool {
    let is_hidden = c.is_control() && c != '\n'
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !is_hidden
}

/// A line of ours begins where lines begin; what is quoted over several lines is set back.
#[track_caller]
fn nothing_is_forged(what: &str, said: &str) {
    assert!(said.chars().all(is_seen), "{what}: {said:?}");
    let forged = said.lines().find(|line| line.starts_with("FORGED"));
    assert_eq!(forged, None, "{what}: {said}");
}

fn used(id: &str, account: &str, reference: &str) -> domain::Envelope {
    let usage = Usage {
        account: account_id(account),
        credits: domain::Credits::whole(5),
        reference: Some(reference.to_owned()),
        description: Some(reference.to_owned()),
        ip: None,
        device: None,
    };
    envelope(&format!("gateway/{id}"), Fact::Usage(usage))
}

#[test]
fn text_that_somebody_sent_forges_no_line_in_what_is_printed_or_logged() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        for format in ["text", "json"] {
            let logged = settings.clone().with("BURSAR_LOG", "debug").with("BURSAR_LOG_FORMAT", format);
            let (fleet, heard) = Bursar::start_heard(&site, &logged, &["up"]).await;
            site.state(exchange::VERIFIED, vec![used(&format!("use_{format}"), "a", FORGED)]).await;
            site.post(Post {
                exchange: exchange::INBOUND,
                routing_key: "fact.usage".to_owned(),
                message_id: Some(format!("{format}{FORGED}")),
                body: format!("no fact {format}").into_bytes(),
                ..Post::default()
            })
            .await;
            site.until(LETTERS, if format == "text" { 1 } else { 2 }).await;
            fleet.terminate().await;
            let log = heard.await.unwrap();
            assert!(log.contains("dead letter") && log.contains("FORGED"), "{log}");
            nothing_is_forged(format, &log);
        }
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        site.until(SETTLED, 2).await;
        let letter = Dead { reason: FORGED.to_owned(), ..Dead::of(&used("use_9", "a", FORGED)) };
        let stray = Post {
            exchange: exchange::DEAD,
            routing_key: FORGED.to_owned(),
            body: format!("no JSON {FORGED}").into_bytes(),
            ..Post::default()
        };
        bury(&site, [letter]).await;
        site.post(stray).await;
        site.until(LETTERS, 4).await;
        site.until("select count(*) from outbox", 0).await;
        let letters = site.texts("select letter::text from dead_letters order by 1").await;
        let show = letters.iter().map(|letter| vec!["dlq", "show", letter.as_str()]);
        let commands = [
            vec!["fact", "show", "gateway/use_text"],
            vec!["events", "tail", "--from-start", "--limit", "2"],
            vec!["account", "show", "a"],
            vec!["account", "statement", "a"],
            vec!["dlq", "list"],
            vec!["dlq", "groups"],
            vec!["dlq", "plan", "--all", "--details"],
            vec!["dlq", "audit"],
            vec!["doctor"],
            vec!["ledger", "verify"],
        ];
        for command in commands.into_iter().chain(show) {
            let output = Bursar::run(&site, &settings, &command).await;
            assert!(output.stdout.len() > 5, "{command:?}: {}", text(&output.stderr));
            nothing_is_forged(&format!("{command:?}"), &text(&output.stdout));
            let quoted = [&command[..], &[FORGED]].concat();
            let refused = Bursar::run(&site, &settings, &quoted).await;
            nothing_is_forged("an error", &text(&refused.stderr));
        }
        fleet.terminate().await;
    });
}

#[test]
fn csv_holds_no_formula_and_numbers_stay_numbers() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let accounts = ["=1+1", "+1", "-1", "@SUM(A1)", "a\u{202e}b", "a,\"b\"", "acct_42"];
        let facts = accounts.iter().enumerate().flat_map(|(number, account)| {
            [
                envelope(&format!("shop/g_{number}"), grant(account, 10)),
                envelope(&format!("shop/u_{number}"), usage(account, 3)),
            ]
        });
        let facts: Vec<_> = facts.collect();
        let count = facts.len() as i64;
        site.state_each(exchange::VERIFIED, facts).await;
        site.until(SETTLED, count).await;
        fleet.terminate().await;
        let month = site.texts("select to_char(now() at time zone 'utc', 'YYYY-MM')").await.remove(0);
        let command = ["ledger", "roll-forward", "--month", &month, "--format", "csv"];
        let output = Bursar::run(&site, &settings, &command).await;
        let csv = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for (field, credits) in [
            ("\"'=1+1\"", "0,10,3,0,0,0,0,7"),
            ("\"'+1\"", "0,10,3,0,0,0,0,7"),
            ("\"'-1\"", "0,10,3,0,0,0,0,7"),
            ("\"'@SUM(A1)\"", "0,10,3,0,0,0,0,7"),
            ("a\\u{202e}b", "0,10,3,0,0,0,0,7"),
            ("\"a,\"\"b\"\"\"", "0,10,3,0,0,0,0,7"),
            ("acct_42", "0,10,3,0,0,0,0,7"),
        ] {
            let line = format!("\n{month},{field},credits,{credits}");
            assert!(csv.contains(&line), "{line:?}: {csv}");
        }
        for field in csv.lines().flat_map(|line| line.split(',')) {
            let field = field.trim_matches('"');
            let is_number = field.parse::<rust_decimal::Decimal>().is_ok();
            assert!(is_number || !field.starts_with(['=', '+', '-', '@', '\t', '\r']), "{field}");
        }
    });
}

/// Whatever the filter asks for: frames hold bodies and passwords, statements their parameters.
#[test]
fn trace_logging_says_no_frame_no_body_and_no_secret() {
    run(async |site| {
        const WORD: &str = "Whispering";
        let configuration = Configuration::new("live");
        let token = format!("shop:facts:{}", ingester::hash(WORD));
        let settings = settings(&configuration).with("BURSAR_API_TOKENS", token);
        for filter in ["trace", "info,lapin=trace,sqlx=trace,hyper=trace,amq_protocol=trace"] {
            let logged = settings.clone().with("BURSAR_LOG", filter);
            let (fleet, heard) = Bursar::start_heard(&site, &logged, &["up"]).await;
            let client = reqwest::Client::new();
            let body = paddle_payload("transaction.completed").to_string().replace("acct_42", WORD);
            let url = fleet.addresses.http("/webhooks/paddle");
            assert_eq!(deliver(&client, url, "paddle", body.into_bytes()).await.unwrap(), StatusCode::OK);
            let fact = json!({ "specversion": "1.0", "type": "fact.usage", "source": "shop", "id": filter,
                               "data": { "account": WORD, "credits": "1", "description": WORD } });
            let post = client.post(fleet.addresses.http("/v1/facts")).bearer_auth(WORD).json(&fact);
            assert_eq!(post.send().await.unwrap().status(), StatusCode::OK);
            let refused =
                client.post(fleet.addresses.http("/v1/facts")).bearer_auth("Whispering2").json(&fact);
            assert_eq!(refused.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
            let command = ["grant", "a", "1", "--reason", WORD, "--id", filter];
            let output = Bursar::run(&site, &logged, &command).await;
            assert!(
                output.status.success() && !text(&output.stderr).contains(WORD),
                "{}",
                text(&output.stderr)
            );
            site.until("select count(*) from outbox", 0).await;
            fleet.terminate().await;
            let log = heard.await.unwrap();
            assert!(log.contains(" INFO "), "it logs: {log}");
            assert!(!log.contains(WORD) && !log.contains(crate::binary::SECRET), "{log}");
            for library in ["lapin", "amq_protocol", "sqlx", "hyper", "h2", "rustls", "tokio", "reqwest"] {
                for level in ["TRACE", "DEBUG"] {
                    assert!(!log.contains(&format!("{level} {library}")), "{level} {library}: {log}");
                }
            }
        }
    });
}

#[test]
fn config_show_masks_every_secret_wherever_it_stands() {
    run(async |site| {
        let configuration =
            Configuration::new("live").with("[accounts]\nlink_secret = \"https://a:hush@h\"\n");
        let settings = settings(&configuration)
            .with("BURSAR_DATABASE_URL", "postgres://ada@db:5432/credits?password=hush&sslmode=require")
            .with("BURSAR_AMQP_URL", "amqp://ada:hush@one:5672,two:5672/%2f")
            .with("BURSAR_STRIPE_WEBHOOK_SECRETS", "postgres://a:hush@h/d,hush")
            .with("BURSAR_API_TOKENS", format!("hush:facts:{}", ingester::hash("hush")));
        let (_, shown) = json_of(&site, &settings, &["config", "show", "--json"]).await;
        assert_eq!(shown["database_url"], "postgres://ada@db:5432/credits?password=***&sslmode=require");
        assert_eq!(shown["amqp_url"], "amqp://ada:***@one:5672,two:5672/%2f");
        assert!(!shown.to_string().contains("hush"), "{shown}");
        let output = Bursar::run(&site, &settings, &["config", "show"]).await;
        assert!(
            output.status.success() && !text(&output.stdout).contains("hush"),
            "{}",
            text(&output.stdout)
        );
    });
}

/// What a command says of an address that it cannot use.
#[test]
fn no_error_says_a_password() {
    run(async |site| {
        let configuration = Configuration::new("live");
        for (name, url) in [
            ("BURSAR_DATABASE_URL", "postgres://ada:hu/sh@127.0.0.1:1/credits"),
            ("BURSAR_DATABASE_URL", "postgres://ada:hush@127.0.0.1:99999/credits"),
            ("BURSAR_DATABASE_URL", "postgres://127.0.0.1:1/credits?user=ada&password=hush&sslmode=unknown"),
            ("BURSAR_DATABASE_URL", "hush"),
            ("BURSAR_AMQP_URL", "amqp://ada:hush@127.0.0.1:1/%2f"),
            ("BURSAR_AMQP_URL", "amqp://ada:hu/sh@127.0.0.1:1/%2f"),
            ("BURSAR_AMQP_URL", "amqp://ada:hush@127.0.0.1:99999/%2f"),
            ("BURSAR_AMQP_URL", "amqp://ada:hush@127.0.0.1:1/a/b/c?heartbeat=hush"),
            ("BURSAR_AMQP_URL", "hush"),
        ] {
            let settings = settings(&configuration).with(name, url).with("BURSAR_LOG", "trace");
            for command in
                [&["doctor"][..], &["account", "list"], &["grant", "a", "1", "--reason", "r", "--wait", "1s"]]
            {
                let output = Bursar::run(&site, &settings, command).await;
                let said = text(&output.stdout) + &text(&output.stderr);
                assert!(!said.contains("hush") && !said.contains("hu/sh"), "{url} {command:?}: {said}");
                assert!(!said.contains("panicked"), "{url} {command:?}: {said}");
            }
        }
    });
}

/// The command, and whether it may succeed all the same.
const OUT_OF_TIME: [&[&str]; 14] = [
    &["account", "show", "a", "--as-of", "9999-12-31T23:59:59-10:00"],
    &["account", "show", "a", "--as-of", "10000-01-01T00:00:00Z"],
    &["account", "show", "a", "--as-of", "9999999-01-01T00:00:00Z"],
    &["account", "statement", "a", "--as-of", "0000-01-01T00:00:00+10:00"],
    &["account", "forget", "a", "--reason", "r", "--before", "9999-12-31T23:59:59-00:01"],
    &["grant", "a", "1", "--reason", "r", "--expires", "99999999d"],
    &["grant", "a", "1", "--reason", "r", "--expires", "9999-12-31T23:59:59-10:00"],
    &["grant", "a", "1", "--reason", "r", "--expires", "99999999999999999999999y"],
    &["grant", "a", "1", "--reason", "r", "--wait", "99999999999d"],
    &["dlq", "list", "--since", "99999999999d"],
    &["dlq", "list", "--since", "9999-12-31T23:59:59-10:00"],
    &["dlq", "list", "--until", "300000years"],
    &["ledger", "roll-forward", "--month", "9999-12"],
    &["ledger", "roll-forward", "--month", "10000-01"],
];

#[test]
fn dates_outside_the_calendar_are_bad_input_and_no_panic() {
    run(async |site| {
        let configuration = Configuration::new("live")
            .with("[[catalog]]\nprocessor = \"paddle\"\nprice = \"pri_long\"\ncredits = \"7\"\nexpires_after = \"36500d\"\n");
        let settings = settings(&configuration);
        let (fleet, heard) =
            Bursar::start_heard(&site, &settings.clone().with("BURSAR_LOG", "info"), &["up"]).await;
        for command in OUT_OF_TIME {
            let output = Bursar::run(&site, &settings, command).await;
            let said = text(&output.stderr);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{command:?}: {:?} {said}", output.status);
            assert!(said.contains("expected") && !said.contains("panicked"), "{command:?}: {said}");
        }
        // Over the broker: a dead letter, and everybody is well.
        let fact = |id: &str, kind: &str, data: serde_json::Value| {
            json!({ "specversion": "1.0", "type": kind, "source": "paddle", "id": id, "data": data })
                .to_string()
        };
        let bad = [
            fact(
                "g_1",
                "fact.grant",
                json!({ "account": "a", "credits": "1", "reason": "r", "expires_at": "9999-12-31T23:59:59-10:00" }),
            ),
            fact("e_1", "fact.expiry", json!({ "account": "a", "as_of": "0000-01-01T00:00:00+10:00" })),
            fact(
                "c_1",
                "fact.customer",
                json!({ "customer": "paddle:ctm_1", "occurred_at": "9999-12-31T23:59:59-23:59" }),
            ),
        ];
        for (number, body) in (1..).zip(bad) {
            let post = Post {
                exchange: exchange::VERIFIED,
                routing_key: "fact.grant".to_owned(),
                body: body.into_bytes(),
                ..Post::default()
            };
            site.post(post).await;
            site.until("select count(*) from dead_letters where code = 'malformed'", number).await;
        }
        // At the very end of the calendar: what would expire beyond it does not.
        let mut last = payment("txn_1", "a");
        last.occurred_at = time::macros::datetime!(9999-12-31 23:59:59 UTC);
        last.items[0].price = "pri_long".to_owned();
        let Fact::Grant(mut granted) = grant("a", 10) else { panic!() };
        granted.expires_at = Some(last.occurred_at);
        let facts =
            vec![envelope("paddle/p_1", Fact::Payment(last)), envelope("paddle/g_2", Fact::Grant(granted))];
        site.state_each(exchange::VERIFIED, facts).await;
        site.until(SETTLED, 2).await;
        // A letter that says when it first failed in a year that UTC does not have.
        let mut letter = Dead::of(&envelope("shop/g_3", grant("a", 1)));
        letter.headers.insert("bursar-first-failed-at".to_owned(), "9999-12-31T23:59:59-10:00".to_owned());
        letter.headers.insert(
            "bursar-attempts".to_owned(),
            r#"[{"at":"9999-12-31T23:59:59-10:00","why":"w"}]"#.to_owned(),
        );
        bury(&site, [letter]).await;
        site.until(LETTERS, 4).await;
        for command in [
            &["account", "show", "a"][..],
            &["account", "statement", "a", "--json"],
            &["payment", "show", "paddle:txn_1"],
            &["fact", "show", "paddle/p_1"],
            &["dlq", "list"],
            &["ledger", "verify"],
            &["ledger", "rebuild", "--compare"],
        ] {
            let output = Bursar::run(&site, &settings, command).await;
            assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
        }
        assert_eq!(
            site.texts("select lot || ' ' || coalesce(expires_at::text, 'never') from lots order by 1").await,
            ["paddle/g_2#promotional 9999-12-31 23:59:59+00", "paddle:txn_1#purchase never"]
        );
        assert!(fleet.terminate().await.success());
        assert!(!heard.await.unwrap().contains("panicked"));
    });
}

#[test]
fn labels_of_metrics_are_words_of_our_own_alone() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let dead = || Dead::of(&envelope("shop/g_1", grant("a", 1)));
        bury(
            &site,
            [
                Dead { code: "foreign_code", ..dead() },
                Dead { worker: "foreign_worker", message_id: "m_2".to_owned(), ..dead() },
                Dead { queue: "foreign_queue", message_id: "m_3".to_owned(), ..dead() },
            ],
        )
        .await;
        let unknown = json!({ "event_id": "evt_1", "event_type": "foreign.event", "occurred_at": "2026-11-20T10:00:00Z",
                              "notification_id": "ntf_1", "data": { "id": "foreign_id" } });
        let client = reqwest::Client::new();
        let url = fleet.addresses.http("/webhooks/paddle");
        assert_eq!(
            deliver(&client, url, "paddle", unknown.to_string().into_bytes()).await.unwrap(),
            StatusCode::OK
        );
        for path in ["/webhooks/foreign", "/foreign?foreign=1"] {
            drop(client.post(fleet.addresses.http(path)).send().await.unwrap());
        }
        site.until(LETTERS, 3).await;
        site.until(ADMITTED, 1).await;
        let metrics =
            client.get(fleet.addresses.admin("/metrics")).send().await.unwrap().text().await.unwrap();
        assert!(
            metrics.contains("bursar_dead_letters_open{worker=\"ledger\",code=\"other\"} 1"),
            "{metrics}"
        );
        assert!(metrics.contains("bursar_dead_letters_open{worker=\"other\",code=\"other\"} 1"), "{metrics}");
        assert!(metrics.contains("bursar_unrecognised_total{processor=\"paddle\""), "{metrics}");
        assert!(!metrics.contains("foreign"), "{metrics}");
        fleet.terminate().await;
    });
}

#[test]
fn a_batch_is_known_by_its_content_type_whatever_its_case_and_parameters() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let token = format!("shop:facts:{}", ingester::hash("token"));
        let settings = settings(&configuration).with("BURSAR_API_TOKENS", token);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let fact = |id: &str| {
            json!({ "specversion": "1.0", "type": "fact.usage", "source": "shop", "id": id,
                    "data": { "account": "a", "credits": "1" } })
        };
        let client = reqwest::Client::new();
        let mut count = 0;
        for (number, content_type) in [
            "application/cloudevents-batch+json; charset=utf-8",
            "Application/CloudEvents-Batch+JSON",
            "application/cloudevents-batch+json ; charset=\"UTF-8\"; x=y",
        ]
        .into_iter()
        .enumerate()
        {
            let single = content_type.replace("-batch", "").replace("-Batch", "");
            let batch = json!([fact(&format!("q_{number}_1")), fact(&format!("q_{number}_2"))]);
            post(&site, content_type, &batch.to_string()).await;
            post(&site, &single, &fact(&format!("q_{number}_3")).to_string()).await;
            let batch = json!([fact(&format!("h_{number}_1")), fact(&format!("h_{number}_2"))]);
            for (content_type, body) in [(content_type, batch), (&single, fact(&format!("h_{number}_3")))] {
                let request = client.post(fleet.addresses.http("/v1/facts")).bearer_auth("token");
                let request = request.header("content-type", content_type).body(body.to_string());
                assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{content_type}");
            }
            count += 6;
            site.until(SETTLED, count).await;
        }
        assert_eq!(site.number(LETTERS).await, 0);
        fleet.terminate().await;
    });
}

async fn post(site: &Site, content_type: &str, body: &str) {
    site.post(Post {
        exchange: exchange::INBOUND,
        routing_key: "fact.usage".to_owned(),
        content_type: Some(content_type.to_owned()),
        body: body.as_bytes().to_vec(),
        ..Post::default()
    })
    .await;
}

#[test]
fn what_is_no_object_is_no_cloud_event_at_either_door() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let token = format!("shop:facts:{}", ingester::hash("token"));
        let settings: Settings = settings(&configuration).with("BURSAR_API_TOKENS", token);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let with_data = |data: &str| {
            format!(r#"{{"specversion":"1.0","type":"fact.usage","source":"shop","id":"u_1","data":{data}}}"#)
        };
        let client = reqwest::Client::new();
        let mut count = 0;
        for (body, says) in [
            (
                r#"["1.0","fact.usage","shop","u_1",null,null,null,null,null,{"account":"a","credits":"1"}]"#
                    .to_owned(),
                "got an array",
            ),
            ("\"fact\"".to_owned(), "an object, got a string"),
            ("12".to_owned(), "an object, got a number"),
            ("null".to_owned(), "an object, got null"),
            (with_data(r#"["a","1",null,null]"#), "data: an object, got an array"),
            (with_data("\"a\""), "data: an object, got a string"),
            (with_data("1"), "data: an object, got a number"),
            (with_data("null"), "data: an object, got null"),
        ] {
            post(&site, "application/cloudevents+json", &body).await;
            count += 1;
            site.until(LETTERS, count).await;
            let reason = site
                .texts("select reason from dead_letters order by recorded_at desc, letter desc limit 1")
                .await;
            assert!(reason[0].contains(says), "{body}: {}", reason[0]);
            let request =
                client.post(fleet.addresses.http("/v1/facts")).bearer_auth("token").body(body.clone());
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
            let detail = answer.text().await.unwrap();
            assert!(detail.contains("an object, got"), "{body}: {detail}");
        }
        assert_eq!(site.number(ADMITTED).await, 0);
        // Of a batch it is the element that is refused, and the others are not.
        post(
            &site,
            "application/cloudevents-batch+json",
            &format!("[[1], {}]", with_data(r#"{"account":"a","credits":"1"}"#)),
        )
        .await;
        site.until(ADMITTED, 1).await;
        site.until(LETTERS, count + 1).await;
        fleet.terminate().await;
    });
}

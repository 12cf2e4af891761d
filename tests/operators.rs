//! What operators read is what is so, whatever somebody sent, and whatever is away; and nothing hangs on who reads it.

use crate::binary::{Configuration, json_of, settings};
use crate::dead_letters::{Dead, bury};
use crate::dlq::Deployment;
use bus::{exchange, queue};
use serde_json::{Value, json};
use testkit::facts::{envelope, grant, usage};
use testkit::{Bursar, Post, Settings, Site, run};

const OPEN: &str = "select count(*) from dead_letters where state = 'open'";

/// What a terminal would obey, and what nobody sees.
const EVIL: &str = "evil\x1b[2J\x07\u{9b}31m\u{202e}\u{200b}";

fn is_visible(c: char) -> bool {
    c == '\n' || !(c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'))
}

async fn stray(site: &Site, routing_key: &str, body: &[u8]) {
    site.post(Post {
        exchange: exchange::DEAD,
        routing_key: routing_key.to_owned(),
        body: body.to_vec(),
        ..Post::default()
    })
    .await;
}

async fn stray_fact(site: &Site, number: i64) {
    site.publisher
        .publish_all(vec![bus::Message::new(
            site.namespace.name(exchange::INBOUND),
            "fact.usage",
            format!("stray_{number}"),
            "application/json",
            None,
            format!("no fact {number}"),
        )])
        .await
        .unwrap();
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

#[test]
fn a_fleet_whose_log_nobody_reads_any_more_works_on() {
    run(async |site| {
        let deployment = Deployment::with("");
        let settings = deployment.settings().with("BURSAR_LOG", "trace");
        let mut fleet = Bursar::start_unread(&site, &settings, &["up"]).await;
        // First the pipe is full (of a line for each letter), then it is closed.
        const FULL: i64 = 500;
        for number in 1..=FULL + 2 {
            if number == FULL + 1 {
                site.until(OPEN, FULL).await;
                fleet.close_stderr();
            }
            stray_fact(&site, number).await;
        }
        site.until(OPEN, FULL + 2).await;
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn doctor_asks_a_fresh_broker_quietly_and_ends_whoever_listens() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings =
            settings(&configuration).with("BURSAR_NAMESPACE", format!("{}-fresh", site.namespace.as_str()));
        let heard = Bursar::run(&site, &settings.clone().with("BURSAR_LOG", ""), &["doctor"]).await;
        assert_eq!((heard.status.code(), text(&heard.stderr).as_str()), (Some(1), ""));
        assert!(text(&heard.stdout).contains("is missing"), "{}", text(&heard.stdout));
        let unheard = Bursar::run_unheard(&site, &settings.with("BURSAR_LOG", "debug"), &["doctor"]).await;
        assert_eq!(unheard.status.code(), Some(1));
    });
}

#[test]
fn what_was_sent_cannot_steer_the_terminal_that_shows_it() {
    run(async |site| {
        let deployment = Deployment::with("");
        let settings = deployment.settings();
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let evil = Dead {
            reason: format!("because {EVIL}\nand more"),
            ..Dead::of(&envelope("shop/g_1", grant("acct_1", 5)))
        };
        bury(&site, [evil]).await;
        stray(&site, EVIL, format!("{{\"text\": \"{EVIL}\"}}").as_bytes()).await;
        site.until(OPEN, 2).await;
        let list = deployment.done(&site, &["list"]).await;
        let of = |worker: &str| {
            let letters = list["letters"].as_array().unwrap();
            letters.iter().find(|letter| letter["worker"] == worker).unwrap()["letter"].as_str().unwrap()
        };
        let (stray, letter) = (of(EVIL), of("ledger"));
        deployment.done(&site, &["note", letter, &format!("note {EVIL}")]).await;
        for arguments in
            [&["groups"][..], &["list"], &["show", stray], &["show", letter], &["audit"], &["plan", "--all"]]
        {
            let output = Bursar::run(&site, &settings, &[&["dlq"], arguments].concat()).await;
            let said = text(&output.stdout);
            assert!(said.chars().all(is_visible), "{arguments:?}: {said:?}");
            if arguments[0] != "plan" {
                assert!(said.contains("evil\\u{1b}[2J\\u{7}\\u{9b}31m\\u{202e}\\u{200b}"), "{said}");
            }
            let json = Bursar::run(&site, &settings, &[&["--json", "dlq"], arguments].concat()).await;
            assert!(text(&json.stdout).chars().all(is_visible), "{arguments:?}");
        }
        let refused = Bursar::run(&site, &settings, &["dlq", "audit", EVIL]).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).chars().all(is_visible), "{:?}", text(&refused.stderr));
        let metrics = reqwest::get(fleet.addresses.admin("/metrics")).await.unwrap().text().await.unwrap();
        assert!(metrics.contains("bursar_dead_letters_open{worker=\"other\",code=\"other\"} 1"), "{metrics}");
        assert!(!metrics.contains("evil"), "{metrics}");
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn a_letter_shows_the_body_that_came() {
    run(async |site| {
        let deployment = Deployment::with("");
        let fleet = Bursar::start(&site, &deployment.settings(), &["up", "--workers", "dead-letters"]).await;
        for (number, body, shown, base64) in [
            (
                1,
                &b"{\"b\":1.50,\"a\":1,\"a\":12345678901234567890}"[..],
                "{\n  \"b\": 1.50,\n  \"a\": 1,\n  \"a\": 12345678901234567890\n}",
                Value::Null,
            ),
            (2, b"ab\xff", "| ab\u{fffd}\nIt is no UTF-8", json!("YWL/")),
            (3, &[b'x'; 20_000], "x\nCut here, of 20000 bytes", Value::Null),
        ] {
            stray(&site, "somebody", body).await;
            site.until("select count(*) from dead_letters", number).await;
            let query =
                "select letter::text from dead_letters order by recorded_at desc, letter desc limit 1";
            let [letter] = &site.texts(query).await[..] else { panic!() };
            let output = Bursar::run(&site, &deployment.settings(), &["dlq", "show", letter]).await;
            assert!(text(&output.stdout).contains(shown), "{}", text(&output.stdout));
            let said = deployment.done(&site, &["show", letter]).await;
            assert_eq!(said["letter"]["body"], json!(String::from_utf8_lossy(body)));
            assert_eq!(said["letter"]["body_base64"], base64);
        }
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn kinds_are_counted_exports_are_documents_and_a_replay_says_what_it_gave_back_and_why() {
    run(async |site| {
        let deployment = Deployment::with("");
        let settings = deployment.settings();
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        stray(&site, "somebody", b"jane@example.com").await;
        let dead =
            Dead { worker: "gate", queue: queue::GATE, ..Dead::of(&envelope("shop/u_1", usage("a", 5))) };
        bury(&site, [dead]).await;
        site.until(OPEN, 2).await;

        let groups = deployment.done(&site, &["groups", "--limit", "1"]).await;
        assert_eq!((&groups["total"], groups["groups"].as_array().unwrap().len()), (&json!(2), 1));
        let output = Bursar::run(&site, &settings, &["dlq", "groups", "--limit", "1"]).await;
        assert!(text(&output.stdout).contains("1 of 2 kinds"), "{}", text(&output.stdout));

        // An export is one document, its audit names nobody, and where there is nothing there is no file.
        let (_, all) = json_of(&site, &settings, &["dlq", "export", "--json"]).await;
        assert_eq!(all.as_array().unwrap().len(), 2);
        let (_, one) =
            json_of(&site, &settings, &["dlq", "export", "--text", "jane@example.com", "--json"]).await;
        assert_eq!(one.as_array().unwrap().len(), 1);
        let (_, none) = json_of(&site, &settings, &["dlq", "export", "--text", "zzzz", "--json"]).await;
        assert_eq!(none, json!([]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("none.jsonl");
        let path = file.to_str().unwrap();
        let (_, none) =
            json_of(&site, &settings, &["dlq", "export", "--text", "zzzz", "--to", path, "--json"]).await;
        assert_eq!((&none, file.exists()), (&json!({ "exported": 0, "file": null }), false));

        // What has no queue is refused by its id; among others it is given back, and it is said why.
        let stray = one[0]["letter"].as_str().unwrap();
        let (status, said) = deployment.dlq(&site, &["replay", stray, "--expect", "1"]).await;
        assert!(status == 2 && said["error"].as_str().unwrap().contains("has no queue"), "{said:#}");
        let (status, said) = deployment
            .dlq(&site, &["replay", "--text", "jane@example.com", "--expect", "1", "--by", "ada"])
            .await;
        let why = json!({ "its queue is not there": 1 });
        assert_eq!((status, &said["released"], &said["released_why"]), (1, &json!(1), &why), "{said:#}");
        let replay = said["replay"].as_str().unwrap();
        let output = Bursar::run(&site, &settings, &["dlq", "replays"]).await;
        assert!(text(&output.stdout).contains("1 (its queue is not there: 1)"), "{}", text(&output.stdout));
        let audit = deployment.done(&site, &["audit", replay]).await;
        let lines = audit["audit"].as_array().unwrap();
        let [ended, began] = &lines[..] else { panic!("{audit:#}") };
        assert_eq!((&ended["result"]["released"], &ended["result"]["released_why"]), (&json!(1), &why));
        assert_eq!(began["filter"]["text"], "(16 bytes)");
        let output = Bursar::run(&site, &settings, &["dlq", "audit", replay]).await;
        let told = text(&output.stdout);
        assert!(told.contains("text (16 bytes)") && told.contains("released 1"), "{told}");
        let kept = "select filter::text from dead_letter_audit where filter::text like '%jane%'
                    union all select filter::text from replays where filter::text like '%jane%'";
        assert!(site.texts(kept).await.is_empty());
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn a_server_that_is_away_is_named_with_why() {
    run(async |site| {
        let check = async |settings: &Settings, arguments: &[&str], expect: &str| {
            let output = Bursar::run(&site, settings, arguments).await;
            let said = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            for part in [expect, "refused", "Is it running"] {
                assert!(said.contains(part), "{arguments:?}: {part}: {said}");
            }
            assert!(!said.contains("hush") && !said.contains("timed out"), "{said}");
        };
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let no_postgres = settings
            .clone()
            .with("BURSAR_DATABASE_URL", "postgres://ada:hush@127.0.0.1:1/credits")
            .with("BURSAR_MIGRATE_URL", "");
        for arguments in [&["dlq", "list"][..], &["account", "show", "a"], &["migrate"], &["doctor"]] {
            check(&no_postgres, arguments, "Postgres at 127.0.0.1:1 (database credits, user ada)").await;
        }
        let no_rabbitmq = settings.with("BURSAR_AMQP_URL", "amqp://ada:hush@127.0.0.1:1/shop");
        for arguments in
            [&["topology", "--check"][..], &["doctor"], &["dlq", "drain", "--direct", "--replay"]]
        {
            check(&no_rabbitmq, arguments, "RabbitMQ at 127.0.0.1:1 (vhost shop, user ada)").await;
        }
    });
}

#[test]
fn wrong_usage_has_an_exit_status_of_its_own() {
    run(async |site| {
        let deployment = Deployment::with("[dead_letters]\nedit = true\n");
        let settings = deployment.settings();
        let fleet = Bursar::start(&site, &settings, &["up", "--workers", "dead-letters"]).await;
        bury(&site, [Dead::of(&envelope("shop/g_1", grant("acct_1", 5)))]).await;
        site.until(OPEN, 1).await;
        let list = deployment.done(&site, &["list"]).await;
        let letter = list["letters"][0]["letter"].as_str().unwrap();
        let edit = ["dlq", "edit", letter, "--set", "data.account=acct_2", "--reason", "r"];
        let second = [&edit[..], &["--by", "ada", "--unlock", "identity", "--second", "Ada"]].concat();
        for (name, arguments) in [
            ("tester", &second[..]),
            ("", &edit),
            ("", &["dlq", "note", letter, "nobody's"]),
            ("tester", &["send", "generic", "x", "--times", "0"]),
        ] {
            let output = Bursar::run(&site, &settings.clone().with("USER", name), arguments).await;
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        }
        deployment.done(&site, &["discard", letter, "--expect", "1", "--reason", "r"]).await;
        let (status, said) = deployment.dlq(&site, &edit[1..]).await;
        assert!(status == 2 && said["error"].as_str().unwrap().contains("it is discarded"), "{said:#}");
        let help = Bursar::run(&site, &settings, &["run", "--help"]).await;
        assert!(
            text(&help.stdout).contains("ingester, gate, ledger, disputes, dead-letters"),
            "{}",
            text(&help.stdout)
        );
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn anything_can_be_sent_and_the_door_says_what_it_thinks_of_it() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("body");
        let (path, door) = (file.to_str().unwrap(), fleet.addresses.http(""));
        for (body, expect) in [(b"no JSON".to_vec(), 400), (vec![b' '; 2 * 1024 * 1024], 413)] {
            std::fs::write(&file, body).unwrap();
            let arguments = ["send", "generic", path, "--to", &door, "--json"];
            let (output, said) = json_of(&site, &settings, &arguments).await;
            assert_eq!(
                (output.status.code(), &said["answers"][0]["status"]),
                (Some(1), &json!(expect)),
                "{said:#}"
            );
        }
        assert!(fleet.terminate().await.success());
    });
}

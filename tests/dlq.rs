//! Operators and dead letters, through the binary: they see before they act, what they do is done once, and a fleet that is
//! killed in the middle goes on.

use crate::binary::SECRET;
use crate::dead_letters::{Dead, bury};
use bus::{Message, REPLAYED, exchange, queue};
use domain::Envelope;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::facts::{PRICE, envelope, grant, usage};
use testkit::{Addresses, Bursar, Post, Settings, Site, eventually, run, run_within, within};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(120);

const OPEN: &str = "select count(*) from dead_letters where state = 'open'";
const RESOLVED: &str = "select count(*) from dead_letters where state = 'resolved'";
const APPLIED: &str = "select count(*) from outcomes where outcome = 'applied'";

/// A deployment's configuration; what is wrong with it is a missing part.
pub struct Deployment {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

/// What lets the broker's user state grants.
const PUBLISHERS: &str = "[[publishers]]\nuser = \"guest\"\nfacts = [\"fact.grant\", \"fact.usage\"]\n";

impl Deployment {
    pub fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bursar.toml");
        let price = format!("price = {PRICE:?}\ncredits = \"1000\"\nbonus = \"50\"\n");
        let text = format!(
            "[retries]\ndelays = [\"50ms\", \"150ms\"]\n{more}[[catalog]]\nprocessor = \"paddle\"\n{price}[[catalog]]\nprocessor = \"stripe\"\n{price}"
        );
        std::fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    pub fn settings(&self) -> Settings {
        Settings::default()
            .with("BURSAR_CONFIG", self.path.to_string_lossy())
            .with("BURSAR_PADDLE_WEBHOOK_SECRETS", SECRET)
    }

    /// `bursar dlq ... --json`: its status, and what it says.
    pub async fn dlq(&self, site: &Site, arguments: &[&str]) -> (i32, Value) {
        let arguments = [&["dlq"], arguments, &["--json"]].concat();
        let output = Bursar::run(site, &self.settings(), &arguments).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let said = match text.is_empty() {
            true => json!(String::from_utf8_lossy(&output.stderr)),
            false => serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?}: {text}")),
        };
        (output.status.code().unwrap(), said)
    }

    /// As [`Deployment::dlq`], where it has to succeed.
    pub async fn done(&self, site: &Site, arguments: &[&str]) -> Value {
        let (status, said) = self.dlq(site, arguments).await;
        assert_eq!(status, 0, "{arguments:?}: {said:#}");
        said
    }
}

/// A grant of 5 to one of three accounts, as a service of the platform states it.
fn given(number: usize) -> Envelope {
    envelope(&format!("shop/g_{number:03}"), grant(&format!("acct_{}", number % 3), 5))
}

async fn state_grants(site: &Site, numbers: std::ops::Range<usize>) {
    for number in numbers {
        site.post(Post {
            exchange: exchange::INBOUND,
            routing_key: "fact.grant".to_owned(),
            message_id: Some(format!("g_{number:03}")),
            content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
            user_id: Some(site.amqp_user()),
            body: given(number).to_json().into_bytes(),
            ..Post::default()
        })
        .await;
    }
}

/// The same as letters, as they would be in a deployment that lacks [`PUBLISHERS`].
async fn bury_grants(site: &Site, numbers: std::ops::Range<usize>) {
    let dead = numbers.map(|number| Dead {
        worker: "gate",
        queue: queue::GATE_INBOUND,
        code: "forbidden",
        reason: format!("no publisher is configured for g_{number}"),
        at: OffsetDateTime::now_utc() - Duration::from_secs(3_600) + Duration::from_secs(number as u64),
        user: Some(site.amqp_user()),
        ..Dead::of(&given(number))
    });
    bury(site, dead).await;
}

async fn ids(site: &Site, condition: &str) -> Vec<String> {
    let query = format!("select letter::text from dead_letters where {condition} order by dead_at, letter");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&site.pool).await.unwrap()
}

/// Everything that operators write: a test that says "nothing was written" compares it.
async fn written(site: &Site) -> Vec<String> {
    site.texts(
        "select letter::text || state || coalesce(replay::text, '') from dead_letters
         union all select replay::text || state from replays
         union all select replay::text || letter || state from replay_letters
         union all select number || action from dead_letter_audit order by 1",
    )
    .await
}

async fn verified(site: &Site) {
    let report = ledger::verify::verify(
        &site.pool,
        6,
        None,
        &facts::Readers::of(&site.topology, &site.namespace),
        &mut |_| {},
    )
    .await
    .unwrap();
    assert!(report.ok, "{report:#?}");
}

#[test]
fn operators_see_before_they_act_and_what_they_do_is_in_the_audit() {
    run_within(LIMIT, async |site| {
        let (broken, mended) = (Deployment::with(""), Deployment::with(PUBLISHERS));
        let fleet = Bursar::start(&site, &broken.settings(), &["up"]).await;
        state_grants(&site, 0..6).await;
        site.until(OPEN, 6).await;

        let list = broken.done(&site, &["list"]).await;
        assert_eq!((&list["total"], list["letters"].as_array().unwrap().len()), (&json!(6), 6));
        let line = &list["letters"][0];
        assert_eq!((&line["worker"], &line["code"]), (&json!("gate"), &json!("forbidden")));
        for (count, filter) in [
            (2, &["--account", "acct_1"][..]),
            (6, &["--worker", "gate", "--type", "fact.grant", "--code", "forbidden"][..]),
            (0, &["--worker", "ledger"][..]),
            (1, &["--event", "shop/g_003"][..]),
            (1, &["--event", "g_003"][..]),
            (1, &["--text", "\"id\":\"g_004\""][..]),
            (6, &["--text", "NO PUBLISHER is"][..]),
            (6, &["--since", "1h ago"][..]),
            (0, &["--until", "1h ago"][..]),
            (0, &["--state", "resolved"][..]),
        ] {
            let list = broken.done(&site, &[&["list"], filter].concat()).await;
            assert_eq!(list["total"], count, "{filter:?}");
        }
        let groups = broken.done(&site, &["groups"]).await;
        let [group] = &groups["groups"].as_array().unwrap()[..] else { panic!("{groups:#}") };
        assert_eq!(
            (&group["count"], &group["accounts"], &group["credits"]),
            (&json!(6), &json!(3), &json!("30"))
        );
        let kind = group["fingerprint"].as_str().unwrap();

        let letter = line["letter"].as_str().unwrap();
        let shown = broken.done(&site, &["show", letter]).await;
        assert_eq!(shown["letter"]["queue"], "gate.inbound");
        assert_eq!((&shown["fact"], &shown["account"]), (&Value::Null, &Value::Null));
        let (status, said) = broken.dlq(&site, &["show", "019123aa-0000-7000-8000-000000000000"]).await;
        assert_eq!((status, &said["known"]), (1, &json!(false)));

        // What a replay would change, with this configuration and with the mended one.
        let before = written(&site).await;
        let (status, plan) = broken.dlq(&site, &["plan", "--group", kind]).await;
        assert_eq!((status, &plan["plan"]["sums"]["verdicts"]), (1, &json!({ "would_fail": 6 })), "{plan:#}");
        let plan = mended.done(&site, &["plan", "--group", kind, "--max", "4"]).await;
        assert_eq!(plan["plan"]["sums"]["verdicts"], json!({ "would_apply": 4 }));
        assert_eq!((&plan["found"], &plan["planned"]), (&json!(6), &json!(4)));
        assert_eq!(plan["plan"]["sums"]["credits"]["granted"], "20");

        // What is not agreed to is not done.
        for (expect, arguments) in [
            (2, &["replay", "--group", kind, "--expect", "5"][..]),
            (2, &["replay", "--group", kind][..]),
            (2, &["replay", "--expect", "6"][..]),
            (2, &["replay", "--text", "", "--expect", "6"][..]),
            (2, &["replay", "--all", "--expect", "6", "--by", ""][..]),
            (2, &["list", "--since", "300000years"][..]),
            (2, &["release", "019123aa-0000-7000-8000-000000000000", "--older-than", "300000years"][..]),
            (1, &["release", "019123aa-0000-7000-8000-000000000000"][..]),
            (1, &["replay", "019123aa-0000-7000-8000-000000000000", "--expect", "1"][..]),
            (1, &["list", "019123aa-0000-7000-8000-000000000000"][..]),
            (1, &["export", "019123aa-0000-7000-8000-000000000000"][..]),
            (1, &["audit", "019123aa-0000-7000-8000-000000000000"][..]),
            (1, &["audit", "000000000000"][..]),
            (1, &["plan", "019123aa-0000-7000-8000-000000000000"][..]),
            (2, &["discard", "--all", "--expect", "6", "--reason", "no", "--canary", "1"][..]),
            (2, &["undo", "--all", "--expect", "6", "--rate", "1/s"][..]),
            (0, &["replay", "--group", "000000000000", "--expect", "0"][..]),
            (2, &["replay", "--group", "000000000000", "--expect", "1"][..]),
            (2, &["discard", "--group", kind, "--expect", "7", "--reason", "no"][..]),
            (2, &["discard", "--all", "--expect", "6"][..]),
            (2, &["undo", "--all", "--expect", "6"][..]),
            (2, &["list", "--limit", "0"][..]),
            (1, &["pause", "019123aa-0000-7000-8000-000000000000"][..]),
            (1, &["note", "019123aa-0000-7000-8000-000000000000", "nobody's"][..]),
        ] {
            let (status, said) = broken.dlq(&site, arguments).await;
            assert_eq!(status, expect, "{arguments:?}: {said:#}");
        }
        assert_eq!(written(&site).await, before, "nothing was written");

        broken.done(&site, &["note", letter, "the shop says it is theirs", "--by", "eve"]).await;
        broken.done(&site, &["note", kind, "a publisher is missing", "--by", "eve"]).await;
        let by_ada = ["--by", "ada", "--reason", "a test account"];
        let discarded =
            broken.done(&site, &[&["discard", letter, "--expect", "1"], &by_ada[..]].concat()).await;
        assert_eq!(discarded["discarded"], 1);
        // One of the two is not open: nothing is done with either.
        let other = list["letters"][1]["letter"].as_str().unwrap();
        let before = written(&site).await;
        for expect in ["1", "2"] {
            let (status, said) = broken.dlq(&site, &["replay", letter, other, "--expect", expect]).await;
            assert_eq!(status, 2, "{said:#}");
        }
        assert_eq!(written(&site).await, before);
        broken.done(&site, &[&["undo", letter, "--expect", "1"], &by_ada[..]].concat()).await;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("letters.jsonl");
        let path = file.to_str().unwrap();
        let exported = broken.done(&site, &["export", "--to", path, "--by", "ada"]).await;
        assert_eq!(exported, json!({ "exported": 6, "file": path }));
        let lines = std::fs::read_to_string(&file).unwrap();
        assert_eq!(lines.lines().count(), 6);
        let document: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!((&document["user_id"], &document["queue"]), (&json!("guest"), &json!("gate.inbound")));
        assert!(document["fingerprint"] == kind && document["attempts"].is_array(), "{document}");
        for told in ["dead_at", "first_failed_at", "account"] {
            assert!(document[told].is_string(), "{told}: {document}");
        }
        let again = Bursar::run(&site, &broken.settings(), &["dlq", "export", "--to", path]).await;
        assert_eq!(again.status.code(), Some(1), "a file that is there is not written over");

        // Still broken: they die again, as new letters; the old ones say so.
        let (status, said) = broken
            .dlq(&site, &["replay", letter, other, "--expect", "2", "--by", "ada", "--reason", "try"])
            .await;
        assert_eq!(
            (status, &said["dead_again"], &said["state"]),
            (1, &json!(2), &json!("finished")),
            "{said:#}"
        );
        assert_eq!(site.number(OPEN).await, 6);
        let shown = broken.done(&site, &["show", letter]).await;
        assert_eq!(
            (&shown["letter"]["state"], &shown["letter"]["outcome"]),
            (&json!("dead_again"), &json!("forbidden"))
        );
        let next = shown["letter"]["next"][0].as_str().unwrap();
        let shown = broken.done(&site, &["show", next]).await;
        assert_eq!(
            (&shown["letter"]["previous"], &shown["letter"]["state"]),
            (&json!(letter), &json!("open"))
        );
        assert_eq!(shown["letter"]["fingerprint"], kind);

        assert!(fleet.terminate().await.success());
        let fleet = Bursar::start(&site, &mended.settings(), &["up"]).await;
        let said = mended
            .done(&site, &["replay", "--group", kind, "--expect", "6", "--canary", "2", "--by", "ada"])
            .await;
        assert_eq!((&said["resolved"], &said["total"]), (&json!(6), &json!(6)));
        site.until(APPLIED, 6).await;
        assert_eq!(site.number(OPEN).await, 0);
        let shown = mended.done(&site, &["show", next]).await;
        assert_eq!(
            (&shown["letter"]["state"], &shown["letter"]["outcome"]),
            (&json!("resolved"), &json!("admitted,applied"))
        );
        assert_eq!(shown["account"]["available"], "10");
        // Who comes second is told where they are instead, by their ids and by what they have in common.
        let (status, said) = mended.dlq(&site, &["replay", next, "--expect", "1"]).await;
        assert!(status == 2 && said["error"].as_str().unwrap().contains("it is resolved"), "{said:#}");
        let (status, said) = mended.dlq(&site, &["replay", "--group", kind, "--expect", "6"]).await;
        let elsewhere = "Of those that fit are 6 resolved, 2 dead_again";
        assert_eq!((status, &said["elsewhere"]), (2, &json!(elsewhere)), "{said:#}");
        assert_eq!(mended.done(&site, &["list", next]).await["total"], 1);
        assert_eq!(mended.dlq(&site, &["plan", next]).await.0, 2);
        let plan = mended.done(&site, &["plan", "--all"]).await;
        assert_eq!(plan["found"], 0);

        let audit = mended.done(&site, &["audit", "--by", "ada"]).await;
        let actions: Vec<&str> = audit["audit"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|line| line["action"].as_str().unwrap())
            .collect();
        assert_eq!(
            actions,
            ["discard", "undo", "export", "export", "replay", "replay_ended", "replay", "replay_ended"]
        );
        let audit = mended.done(&site, &["audit", letter]).await;
        let actions: Vec<&str> = audit["audit"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|line| line["action"].as_str().unwrap())
            .collect();
        assert_eq!(actions, ["note", "discard", "undo", "replay", "replay_ended"]);
        let replays = mended.done(&site, &["replays"]).await;
        assert_eq!(replays["replays"].as_array().unwrap().len(), 2);
        // For people, too.
        for arguments in [
            &["list", "--state", "resolved"][..],
            &["groups"],
            &["show", next],
            &["replays"],
            &["audit"],
            &["plan", "--all"],
        ] {
            let output = Bursar::run(&site, &mended.settings(), &[&["dlq"], arguments].concat()).await;
            assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}: {output:?}");
        }
        assert!(fleet.terminate().await.success());
        verified(&site).await;
    });
}

#[test]
fn a_canary_that_fails_stops_the_replay_and_the_rest_is_open_again() {
    run_within(LIMIT, async |site| {
        let broken = Deployment::with("");
        let fleet = Bursar::start(&site, &broken.settings(), &["up"]).await;
        bury_grants(&site, 0..8).await;
        site.until(OPEN, 8).await;
        let oldest = ids(&site, "true").await;
        let (status, said) = broken.dlq(&site, &["replay", "--all", "--expect", "8", "--canary", "3"]).await;
        assert_eq!(status, 1, "{said:#}");
        let told =
            ["state", "dead_again", "released", "resolved", "waiting"].map(|field| said[field].clone());
        assert_eq!(told, [json!("stopped"), json!(3), json!(5), json!(0), json!(0)]);
        assert_eq!(site.number(OPEN).await, 8);
        assert_eq!(ids(&site, "state = 'dead_again'").await, oldest[..3], "the oldest went first");
        assert_eq!(ids(&site, "state = 'open' and previous is null").await, oldest[3..]);
        let ended =
            site.texts("select result ->> 'why' from dead_letter_audit where action = 'replay_ended'").await;
        assert_eq!(ended, ["a canary failed again"]);
        // What was given back can be replayed again.
        let (_, said) = broken.dlq(&site, &["replay", &oldest[7], "--expect", "1"]).await;
        assert_eq!(said["dead_again"], 1, "{said:#}");
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn a_replay_is_paused_resumed_and_cancelled_and_keeps_to_its_rate() {
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with(PUBLISHERS);
        let fleet = Bursar::start(&site, &deployment.settings(), &["up"]).await;
        bury_grants(&site, 0..40).await;
        site.until(OPEN, 40).await;
        let started = deployment
            .done(&site, &["replay", "--all", "--expect", "40", "--rate", "20/s", "--max", "24", "--detach"])
            .await;
        assert_eq!(started["total"], 24);
        let replay = started["replay"].as_str().unwrap();
        let said = deployment.done(&site, &["replays", replay, "--watch"]).await;
        assert_eq!((&said["state"], &said["resolved"]), (&json!("finished"), &json!(24)));
        // At 20 a second there are two in each step, and no step comes before its tenth of a second: a late one is made up for.
        let steps: Vec<(i64, f64)> = sqlx::query_as(
            "select count(*), extract(epoch from published_at - min(started_at))::float8
             from replay_letters join replays using (replay) group by published_at order by published_at",
        )
        .fetch_all(&site.pool)
        .await
        .unwrap();
        assert_eq!(steps.iter().map(|(count, _)| count).sum::<i64>(), 24);
        assert!(
            steps.iter().enumerate().all(|(step, (count, at))| *count <= 2 && *at >= step as f64 * 0.1),
            "{steps:?}"
        );

        let started = deployment
            .done(&site, &["replay", "--all", "--expect", "16", "--rate", "60/m", "--detach"])
            .await;
        let replay = started["replay"].as_str().unwrap();
        assert_eq!(deployment.done(&site, &["pause", replay, "--by", "ada"]).await["state"], "paused");
        let counts = async || {
            let said = deployment.done(&site, &["replays", replay]).await["replays"][0].clone();
            (said["state"].as_str().unwrap().to_owned(), said["waiting"].as_i64().unwrap())
        };
        let (state, waiting) = counts().await;
        assert!(state == "paused" && waiting > 0, "{state} {waiting}");
        assert_eq!(deployment.dlq(&site, &["pause", replay]).await.0, 1, "it is paused already");
        assert_eq!(counts().await, ("paused".to_owned(), waiting), "nothing more went out");
        // In the hands of a replay they are nobody else's.
        assert_eq!(deployment.done(&site, &["list"]).await["total"], 0);
        deployment.done(&site, &["resume", replay]).await;
        within(Duration::from_secs(20), "one more to go out", async || {
            (counts().await.1 < waiting).then_some(())
        })
        .await;
        let cancelled = deployment.done(&site, &["cancel", replay]).await;
        let released = cancelled["released"].as_i64().unwrap();
        assert_eq!(site.number(OPEN).await, released);
        assert!(released > 0 && counts().await == ("cancelled".to_owned(), 0));
        for act in ["resume", "pause", "cancel"] {
            assert_eq!(deployment.dlq(&site, &[act, replay]).await.0, 1, "{act}");
        }
        site.until(APPLIED, 40 - released).await;
        site.until(RESOLVED, 40 - released).await;
        let rest = released.to_string();
        deployment.done(&site, &["replay", "--all", "--expect", &rest]).await;
        site.until(APPLIED, 40).await;
        assert_eq!(site.number("select sum(available)::bigint from accounts").await, 200);
        assert!(fleet.terminate().await.success());
    });
}

#[test]
fn a_fleet_that_is_killed_in_the_middle_of_a_replay_goes_on_and_each_message_has_one_effect() {
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with(PUBLISHERS);
        let addresses = Addresses::free();
        let settings = deployment.settings();
        let mut fleet = Bursar::start_at(addresses.clone(), &site, &settings, &["up"]).await;
        bury_grants(&site, 0..60).await;
        site.until(OPEN, 60).await;
        let started = deployment
            .done(&site, &["replay", "--all", "--expect", "60", "--rate", "50/s", "--detach"])
            .await;
        for moment in [5, 20, 40] {
            eventually("some to have gone out", async || {
                let gone = site.number("select count(*) from replay_letters where state <> 'waiting'").await;
                (gone >= moment).then_some(())
            })
            .await;
            fleet.kill().await;
            fleet = Bursar::start_at(addresses.clone(), &site, &settings, &["up"]).await;
        }
        let said = deployment.done(&site, &["replays", started["replay"].as_str().unwrap(), "--watch"]).await;
        assert_eq!((&said["resolved"], &said["state"]), (&json!(60), &json!("finished")));
        site.until(APPLIED, 60).await;
        assert_eq!(site.number("select count(*) from outcomes").await, 60);
        assert_eq!(site.number("select sum(available)::bigint from accounts").await, 300);
        assert_eq!(site.number("select count(*) from dead_letters where state <> 'resolved'").await, 0);
        assert!(fleet.terminate().await.success());
        verified(&site).await;
    });
}

/// Whoever purges a queue takes messages out of a replay's hands; the letters are still there.
#[test]
fn a_letter_whose_message_or_outcome_was_lost_is_released_and_replayed_again() {
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with(PUBLISHERS);
        let settings = deployment.settings();
        let keeper = Bursar::start(&site, &settings, &["up", "--workers", "dead-letters"]).await;
        bury_grants(&site, 0..3).await;
        site.until(OPEN, 3).await;
        // The first message is lost with the queue; the fleet's outcome of the second is.
        let (status, said) =
            deployment.dlq(&site, &["replay", "--all", "--expect", "3", "--wait", "1s"]).await;
        assert_eq!(
            (status, &said["published"], &said["state"]),
            (1, &json!(3), &json!("running")),
            "{said:#}"
        );
        let replay = said["replay"].as_str().unwrap();
        let taken = site.take(queue::GATE_INBOUND).await;
        assert_eq!(taken.len(), 3);
        assert!(taken.iter().all(|message| message.headers["bursar-replay"] == replay));
        assert_eq!(deployment.done(&site, &["release", replay]).await["released"], 0, "not so soon");
        assert_eq!(deployment.done(&site, &["release", replay, "--older-than", "0s"]).await["released"], 3);
        assert_eq!(site.number(OPEN).await, 3);
        site.until("select count(*) from replays where state = 'finished'", 1).await;

        let started = deployment.done(&site, &["replay", "--all", "--expect", "3", "--detach"]).await;
        let again = started["replay"].as_str().unwrap();
        site.until("select count(*) from replay_letters where state = 'published'", 3).await;
        let gate = Bursar::start(&site, &settings, &["up", "--workers", "gate,ledger"]).await;
        site.until(RESOLVED, 3).await;
        // A late word of the first replay, and a second one of this: the letter stays as it is, the first replay is told.
        let letter = &ids(&site, "true").await[0];
        let late = [replay, again, again].map(|replay| {
            let outcome = json!([{ "replay": replay, "letter": letter, "outcome": "late", "at": "2026-11-20T11:00:00Z" }]);
            let exchange = site.namespace.name(exchange::DEAD);
            Message::new(exchange, REPLAYED, format!("{replay}-{letter}"), "application/json", None, outcome.to_string())
        });
        site.publisher.publish_all(late.into()).await.unwrap();
        site.until_depth(queue::DEAD_LETTERS, 0).await;
        site.until(APPLIED, 3).await;
        assert!(gate.terminate().await.success());
        assert!(keeper.terminate().await.success());
        assert_eq!(site.texts("select distinct outcome from dead_letters").await, ["admitted,applied"]);
        assert_eq!(
            site.texts("select state || ' ' || count(*) from replay_letters group by state order by 1").await,
            ["released 2", "resolved 4"]
        );
    });
}

#[test]
fn letters_leave_the_queue_without_postgres_and_come_back_whole() {
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with(PUBLISHERS);
        let away = Deployment::with(PUBLISHERS);
        let no_postgres =
            |settings: Settings| settings.with("BURSAR_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
        let direct = async |arguments: &[&str]| {
            let arguments = [&["dlq"], arguments, &["--json"]].concat();
            let output = Bursar::run(&site, &no_postgres(away.settings()), &arguments).await;
            let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            (output.status.code().unwrap(), said, String::from_utf8_lossy(&output.stderr).into_owned())
        };
        bury_grants(&site, 0..5).await;
        let other = Dead {
            worker: "ledger",
            queue: ledger::QUEUE,
            ..Dead::of(&envelope("gateway/use_1", usage("acct_1", 1)))
        };
        bury(&site, [other]).await;
        site.post(Post {
            exchange: exchange::DEAD,
            routing_key: "stray".to_owned(),
            body: vec![0xff, 0],
            ..Post::default()
        })
        .await;
        assert_eq!(direct(&["drain", "--to", "x"]).await.0, 2, "it has to be said");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drained.jsonl");
        let path = file.to_str().unwrap();
        let (status, said, why) =
            direct(&["drain", "--direct", "--to", path, "--worker", "gate", "--max", "3"]).await;
        assert_eq!((status, &said["taken"], &said["left"]), (0, &json!(3), &json!(4)), "{why}");
        site.until_depth(queue::DEAD_LETTERS, 4).await;
        let (status, said, why) = direct(&["drain", "--direct", "--to", &format!("{path}.2")]).await;
        assert_eq!((status, &said["taken"]), (0, &json!(4)), "{why}");
        assert!(why.contains("The audit does not have this yet"), "{why}");
        assert_eq!(site.depth(queue::DEAD_LETTERS).await, 0);
        assert_eq!(direct(&["drain", "--direct", "--to", path]).await.0, 1, "the file is there already");
        for file in [path.to_owned(), format!("{path}.2")] {
            let (status, said, why) = direct(&["import", &file]).await;
            assert_eq!((status, &said["audited"]), (0, &json!(false)), "{why}");
            assert!(why.contains("the audit does not have that tester gave"), "{why}");
        }
        site.until_depth(queue::DEAD_LETTERS, 7).await;
        let none = folder.path().join("none.jsonl");
        let none = none.to_str().unwrap();
        let (status, said, why) = direct(&["drain", "--direct", "--to", none, "--worker", "nobody"]).await;
        assert_eq!((status, &said["taken"], &said["skipped"]), (0, &json!(0), &json!(7)), "{why}");
        assert!(!std::fs::exists(none).unwrap(), "nothing was taken");
        std::fs::write(none, "").unwrap();
        let (status, said, why) = direct(&["import", none]).await;
        assert_eq!((status, &said["imported"], why.contains("panicked")), (0, &json!(0), false), "{why}");
        // One line that was never drained, and nothing of the file goes out.
        let drained = std::fs::read_to_string(path).unwrap();
        let exported = json!({ "letter": "x", "routing_key": "gate", "message_id": "g_1", "content_type": "",
                               "headers": {}, "body_base64": "" });
        std::fs::write(none, format!("{drained}{exported}\n")).unwrap();
        let (status, _, why) = direct(&["import", none]).await;
        assert!(status == 1 && why.contains("dlq replay"), "{why}");
        site.until_depth(queue::DEAD_LETTERS, 7).await;

        let keeper = Bursar::start(&site, &deployment.settings(), &["up", "--workers", "dead-letters"]).await;
        site.until(OPEN, 7).await;
        let told = site
            .texts("select concat_ws(' ', worker, queue, code, user_id, json_array_length(attempts)) from dead_letters order by id nulls last, worker")
            .await;
        let grant = "gate gate.inbound forbidden guest 2";
        assert_eq!(
            told,
            [grant, grant, grant, grant, grant, "ledger ledger unknown 2", "stray  unexplained 0"]
        );
        assert_eq!(
            site.texts("select encode(body, 'hex') from dead_letters where worker = 'stray'").await,
            ["ff00"]
        );
        // Imported a second time they are copies.
        assert_eq!(direct(&["import", path]).await.0, 0);
        site.until("select count(*) from dead_letters where copies = 2", 3).await;
        assert!(keeper.terminate().await.success());

        // Straight back into the queues that they came from.
        bury_grants(&site, 5..9).await;
        let (status, said, why) = direct(&["drain", "--direct", "--replay", "--worker", "gate"]).await;
        assert_eq!((status, &said["taken"]), (0, &json!(4)), "{why}");
        let fleet = Bursar::start(&site, &deployment.settings(), &["up"]).await;
        site.until(APPLIED, 4).await;
        assert!(fleet.terminate().await.success());
    });
}

/// Two operators at two terminals, and the failure still goes on: whoever gets a letter, it is replayed once.
#[test]
fn one_group_replayed_from_two_terminals_at_once_while_it_grows_has_one_effect_for_each_message() {
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with(PUBLISHERS);
        let fleet = Bursar::start(&site, &deployment.settings(), &["up"]).await;
        bury_grants(&site, 0..20).await;
        site.until(OPEN, 20).await;
        let groups = deployment.done(&site, &["groups"]).await;
        let kind = groups["groups"][0]["fingerprint"].as_str().unwrap().to_owned();
        let (attempts, won) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Who is told that they changed looks again.
        let terminal = async || {
            for _ in 0..8 {
                let open = site.number(OPEN).await.to_string();
                let (status, said) = deployment
                    .dlq(&site, &["replay", "--group", &kind, "--expect", &open, "--by", "ada"])
                    .await;
                assert!(status == 0 || status == 2, "{status}: {said:#}");
                won.fetch_add(usize::from(status == 0), Ordering::Relaxed);
                attempts.fetch_add(1, Ordering::Relaxed);
            }
        };
        let grow = async || {
            let mut poison = 20;
            for burst in 1..=5 {
                within(LIMIT, "operators to try", async || {
                    (attempts.load(Ordering::Relaxed) >= burst * 3).then_some(())
                })
                .await;
                bury_grants(&site, poison..poison + burst + 2).await;
                poison += burst + 2;
                site.until("select count(*) from dead_letters", poison as i64).await;
            }
            poison
        };
        let ((), (), poison) = tokio::join!(terminal(), terminal(), grow());
        if site.number(OPEN).await > 0 {
            let open = site.number(OPEN).await.to_string();
            deployment.done(&site, &["replay", "--group", &kind, "--expect", &open]).await;
        }
        let count = poison as i64;
        site.until(APPLIED, count).await;
        let won = won.into_inner();
        assert!((2..16).contains(&won), "some were in time, and some were too late: {won}");
        for (what, query, expect) in [
            ("resolved", RESOLVED, count),
            ("letters", "select count(*) from dead_letters", count),
            ("letters of replays", "select count(*) from replay_letters", count),
            (
                "each in one",
                "select count(distinct letter) from replay_letters where state = 'resolved'",
                count,
            ),
            ("facts", "select count(*) from outcomes", count),
            ("repeats", "select coalesce(sum(repeats), 0)::bigint from inbox", 0),
            ("credits", "select sum(available)::bigint from accounts", 5 * count),
            (
                "replays that did nothing",
                "select count(*) from replays r where total <> (select count(*) from replay_letters l where l.replay = r.replay)",
                0,
            ),
        ] {
            assert_eq!(site.number(query).await, expect, "{what}");
        }
        assert!(fleet.terminate().await.success());
        verified(&site).await;
    });
}

/// A fact that is on its way by itself and as a letter: whoever comes first, it counts once.
#[test]
fn a_letter_whose_fact_was_settled_meanwhile_resolves_as_a_repeat() {
    run(async |site| {
        let deployment = Deployment::with(PUBLISHERS);
        let fleet = Bursar::start(&site, &deployment.settings(), &["up"]).await;
        bury_grants(&site, 0..2).await;
        site.until(OPEN, 2).await;
        state_grants(&site, 0..2).await;
        site.until(APPLIED, 2).await;
        let plan = deployment.done(&site, &["plan", "--all"]).await;
        assert_eq!(plan["plan"]["sums"]["verdicts"], json!({ "already_applied": 2 }));
        deployment.done(&site, &["replay", "--all", "--expect", "2"]).await;
        assert_eq!(
            site.texts("select outcome from dead_letters").await,
            ["repeated,applied", "repeated,applied"]
        );
        assert_eq!(site.number("select sum(available)::bigint from accounts").await, 10);
        assert!(fleet.terminate().await.success());
    });
}

//! Operators are told of dead letters: each alert once when it becomes true and once when it no longer is, however many
//! watch, and whether a ledger runs or not.

use crate::binary::{Configuration, json_of, settings};
use bus::{exchange, header, queue};
use dead_letters::acts::{ActRequest, ReplayPace, discard, start_replay};
use dead_letters::alerts::{Alert, LetterWatch, Thresholds};
use dead_letters::read::Filter;
use dead_letters::{DeadLetters, replay};
use domain::Fact;
use domain::ledger::Rules;
use jobs::watch::AlertWatcher;
use ledger::verify::verify;
use rust_decimal::Decimal;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::facts::{catalog, envelope, payment, usage};
use testkit::{Bursar, Events, Post, ReceivedEvent, Running, Site, eventually, run};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Nothing but a new kind of failures reaches these.
fn high() -> Thresholds {
    Thresholds {
        inflow: 1_000,
        oldest: Duration::from_secs(86_400 * 365),
        at_stake: BTreeMap::new(),
        queue: Duration::from_secs(86_400),
        replay_failing: 1_000,
    }
}

fn watcher(site: &Site, thresholds: Thresholds) -> AlertWatcher<LetterWatch> {
    let watch = LetterWatch::new(thresholds, site.namespace.clone(), site.broker.clone());
    AlertWatcher::new(site.context(), "dead-letters", watch)
}

fn keeper(site: &Site) -> Running {
    site.start(DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES), 1)
}

/// A dead letter as the ledger's loop publishes it.
async fn give_up(site: &Site, cause: &str, fact: Fact, reason: &str) {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
    let headers = [
        (header::FIRST_FAILED_AT, now.as_str()),
        (header::DEAD_AT, &now),
        (header::DEAD_WORKER, "ledger"),
        (header::DEAD_QUEUE, ledger::QUEUE),
        (header::DEAD_CODE, "unknown"),
        (header::DEAD_REASON, reason),
    ];
    site.post(Post {
        exchange: exchange::DEAD,
        routing_key: "ledger".to_owned(),
        content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        body: envelope(cause, fact).to_json().into_bytes(),
        ..Post::default()
    })
    .await;
}

fn everything(by: &str) -> ActRequest {
    let reason = Some("seen".to_owned());
    ActRequest { by: by.to_owned(), reason, filter: Filter::default(), expected: None, max: None }
}

const OPEN: &str = "select count(*) from dead_letters where state = 'open'";

/// Two watchers, and a subscriber to whom they tell.
struct Watch {
    site: Site,
    watchers: [AlertWatcher<LetterWatch>; 2],
    events: Events,
}

impl Watch {
    async fn new(site: &Site, thresholds: Thresholds) -> Self {
        let watchers = [(); 2].map(|()| watcher(site, thresholds.clone()));
        Self { site: site.clone(), watchers, events: site.subscribe().await }
    }

    /// Both look at the same time, again and again.
    async fn look(&mut self, now: OffsetDateTime) {
        let [one, other] = &mut self.watchers;
        for _ in 0..3 {
            let (one, other) = tokio::join!(one.look(now), other.look(now));
            one.and(other).unwrap();
        }
    }

    /// What subscribers were told of an alert, once there is nothing more to be told of any.
    async fn told(&self, alert: Alert) -> Vec<ReceivedEvent> {
        self.site.until("select count(*) from outbox", 0).await;
        let count = self.site.number("select count(*) from events where type like 'alert.%'").await;
        let of_alerts = |told: &ReceivedEvent| told.kind.starts_with("alert.");
        let told = eventually("every stored event to be told", async || {
            let told: Vec<ReceivedEvent> = self.events.told().into_iter().filter(of_alerts).collect();
            (told.len() as i64 >= count).then_some(told)
        })
        .await;
        assert_eq!(told.len() as i64, count, "{told:#?}");
        assert!(told.iter().all(|told| told.account.is_none() && told.sequence.is_none()));
        told.into_iter().filter(|told| told.data["alert"] == alert.as_str()).collect()
    }

    async fn kinds(&self, alert: Alert) -> Vec<String> {
        self.told(alert).await.into_iter().map(|told| told.kind).collect()
    }

    async fn end(self) {
        let report = verify(
            &self.site.pool,
            6,
            None,
            &facts::Readers::of(&self.site.topology, &self.site.namespace),
            &mut |_| {},
        )
        .await
        .unwrap();
        assert!(report.ok, "{report:#?}");
    }
}

#[test]
fn a_new_kind_of_failures_is_told_exactly_once() {
    run(async |site| {
        let now = OffsetDateTime::now_utc();
        let mut watch = Watch::new(&site, high()).await;
        let _keeper = keeper(&site);
        for number in 1..=3 {
            let reason = format!("acct_{number} stumbled");
            give_up(&site, &format!("gateway/use_{number}"), usage("a", 1), &reason).await;
        }
        give_up(&site, "gateway/use_4", usage("a", 1), "it fell").await;
        site.until(OPEN, 4).await;
        watch.look(now).await;
        let told = watch.told(Alert::NewKind).await;
        let kinds: Vec<&str> = told.iter().map(|told| told.kind.as_str()).collect();
        assert_eq!(kinds, ["alert.raised", "alert.raised"]);
        assert_ne!(told[0].data["fingerprint"], told[1].data["fingerprint"]);
        assert_eq!(
            (&told[0].data["worker"], &told[0].data["type"], &told[0].data["code"]),
            (&json!("ledger"), &json!("fact.usage"), &json!("unknown"))
        );
        discard(&site.pool, &everything("ada"), now).await.unwrap();
        watch.look(now).await;
        give_up(&site, "gateway/use_5", usage("a", 1), "acct_5 stumbled").await;
        site.until(OPEN, 1).await;
        watch.look(now).await;
        let kinds = watch.kinds(Alert::NewKind).await;
        assert_eq!(kinds, ["alert.raised", "alert.raised", "alert.cleared", "alert.cleared"]);
        watch.end().await;
    });
}

#[test]
fn an_inflow_is_raised_once_and_cleared_once() {
    run(async |site| {
        let mut watch = Watch::new(&site, Thresholds { inflow: 3, ..high() }).await;
        let _keeper = keeper(&site);
        for number in 1..=4 {
            let (before, cause) = (number - 1, format!("gateway/use_{number}"));
            site.until(OPEN, before).await;
            watch.look(OffsetDateTime::now_utc()).await;
            assert!(watch.kinds(Alert::Inflow).await.is_empty(), "{before} are not more than 3");
            give_up(&site, &cause, usage("a", 1), "it fell").await;
        }
        site.until(OPEN, 4).await;
        let now = OffsetDateTime::now_utc();
        watch.look(now).await;
        let told = watch.told(Alert::Inflow).await;
        assert_eq!((told.len(), &told[0].data["letters"], &told[0].data["above"]), (1, &json!(4), &json!(3)));
        watch.look(now + Duration::from_secs(120)).await;
        assert_eq!(watch.kinds(Alert::Inflow).await, ["alert.raised", "alert.cleared"]);
        watch.end().await;
    });
}

#[test]
fn what_waits_for_long_is_raised_once_and_cleared_once_and_can_be_raised_again() {
    run(async |site| {
        let now = OffsetDateTime::now_utc();
        let later = now + Duration::from_secs(2 * 3600);
        let hour = Thresholds { oldest: Duration::from_secs(3600), ..high() };
        let mut watch = Watch::new(&site, hour).await;
        let _keeper = keeper(&site);
        let mut expect = Vec::new();
        for cause in ["gateway/use_1", "gateway/use_2"] {
            give_up(&site, cause, usage("a", 1), "it fell").await;
            site.until(OPEN, 1).await;
            watch.look(now).await;
            assert_eq!(watch.kinds(Alert::Oldest).await, expect, "it is not old yet");
            watch.look(later).await;
            expect.push("alert.raised".to_owned());
            assert_eq!(watch.kinds(Alert::Oldest).await, expect);
            discard(&site.pool, &everything("ada"), now).await.unwrap();
            watch.look(later).await;
            expect.push("alert.cleared".to_owned());
            assert_eq!(watch.kinds(Alert::Oldest).await, expect);
        }
        watch.end().await;
    });
}

#[test]
fn money_and_credits_at_stake_are_alerts_of_their_own() {
    run(async |site| {
        let now = OffsetDateTime::now_utc();
        let at_stake = [("USD", 15), ("EUR", 0), ("credits", 50)];
        let at_stake = at_stake.map(|(unit, above)| (unit.to_owned(), Decimal::from(above))).into();
        let mut watch = Watch::new(&site, Thresholds { at_stake, ..high() }).await;
        let _keeper = keeper(&site);
        give_up(&site, "paddle/evt_1", Fact::Payment(payment("txn_1", "a")), "it fell").await;
        give_up(&site, "gateway/use_1", usage("a", 60), "it fell").await;
        site.until(OPEN, 2).await;
        watch.look(now).await;
        let told = watch.told(Alert::AtStake).await;
        assert_eq!((told.len(), &told[0].data["unit"]), (1, &json!("credits")));
        give_up(&site, "paddle/evt_2", Fact::Payment(payment("txn_2", "a")), "it fell").await;
        site.until(OPEN, 3).await;
        watch.look(now).await;
        let told = watch.told(Alert::AtStake).await;
        assert_eq!((told.len(), &told[1].data["unit"]), (2, &json!("USD")));
        assert_eq!((&told[1].data["at_stake"], &told[1].data["above"]), (&json!("20"), &json!("15")));
        discard(&site.pool, &everything("ada"), now).await.unwrap();
        watch.look(now).await;
        let kinds = watch.kinds(Alert::AtStake).await;
        assert_eq!(kinds, ["alert.raised", "alert.raised", "alert.cleared", "alert.cleared"]);
        watch.end().await;
    });
}

#[test]
fn a_queue_that_nobody_drains_is_raised_once_and_cleared_once() {
    run(async |site| {
        let now = OffsetDateTime::now_utc();
        let after = |seconds| now + Duration::from_secs(seconds);
        let minute = Thresholds { queue: Duration::from_secs(60), ..high() };
        let mut watch = Watch::new(&site, minute).await;
        give_up(&site, "gateway/use_1", usage("a", 1), "it fell").await;
        site.until_depth(queue::DEAD_LETTERS, 1).await;
        watch.look(now).await;
        watch.look(after(59)).await;
        assert!(watch.kinds(Alert::Queue).await.is_empty(), "a minute has not passed");
        watch.look(after(61)).await;
        let told = watch.told(Alert::Queue).await;
        assert_eq!((told.len(), &told[0].data["messages"]), (1, &json!(1)));
        // Who has just begun to look does not know how long it has been so.
        watcher(&site, high()).look(after(61)).await.unwrap();
        assert_eq!(watch.kinds(Alert::Queue).await, ["alert.raised"]);
        site.dead_lettered(1).await;
        site.until_depth(queue::DEAD_LETTERS, 0).await;
        watch.look(after(62)).await;
        assert_eq!(watch.kinds(Alert::Queue).await, ["alert.raised", "alert.cleared"]);
        watch.end().await;
    });
}

#[test]
fn a_replay_whose_letters_die_again_is_raised_once_and_cleared_once() {
    run(async |site| {
        let mut watch = Watch::new(&site, Thresholds { replay_failing: 1, ..high() }).await;
        let _keeper = keeper(&site);
        let _ledger = site.start(ledger::Ledger::new(site.namespace.clone(), Rules::new(catalog())), 1);
        let stop = site.over.child_token();
        let put_back = replay::put_back(site.namespace.clone(), site.pool.clone(), site.publisher.clone());
        tokio::spawn(put_back.run(stop));
        site.post(Post {
            exchange: exchange::FACTS,
            routing_key: "fact.usage".to_owned(),
            body: b"no fact".to_vec(),
            ..Post::default()
        })
        .await;
        site.until(OPEN, 1).await;
        watch.look(OffsetDateTime::now_utc()).await;
        assert!(watch.kinds(Alert::ReplayFailing).await.is_empty());
        let order = everything("ada");
        let (replay, _) =
            start_replay(&site.pool, &order, ReplayPace::default(), OffsetDateTime::now_utc()).await.unwrap();
        site.until("select count(*) from replays where state = 'finished'", 1).await;
        let now = OffsetDateTime::now_utc();
        watch.look(now).await;
        let told = watch.told(Alert::ReplayFailing).await;
        assert_eq!(
            (told.len(), &told[0].data["replay"], &told[0].data["dead_again"]),
            (1, &json!(replay), &json!(1))
        );
        watch.look(now + Duration::from_secs(2 * 3600)).await;
        assert_eq!(watch.kinds(Alert::ReplayFailing).await, ["alert.raised", "alert.cleared"]);
        watch.end().await;
    });
}

/// An event that a crash left in the outbox.
async fn leave_behind(site: &Site) {
    let mut work = db::Work::new(site.pool.clone(), OffsetDateTime::now_utc() - Duration::from_secs(3600));
    let data = serde_json::value::to_raw_value(&json!({ "alert": "left" })).unwrap();
    let event = db::outbox::StoredEvent {
        id: uuid::Uuid::now_v7(),
        source: "bursar/dead-letters".to_owned(),
        account: None,
        sequence: None,
        kind: "alert.cleared".to_owned(),
        time: work.now,
        cause: "bursar/dead-letters/left".to_owned(),
        traceparent: None,
        data: sqlx::types::Json(data),
        hash: db::chain::GENESIS,
    };
    db::outbox::put(&mut work, &[event.alone()]).await.unwrap();
    work.commit().await.unwrap();
}

#[test]
fn the_dead_letters_worker_alone_tells_measures_and_sweeps() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let keeper = keeper(&site);
        give_up(&site, "gateway/use_1", usage("a", 7), "it fell").await;
        site.until(OPEN, 1).await;
        keeper.stop().await;
        let events = site.subscribe().await;
        leave_behind(&site).await;

        let worker = Bursar::start(&site, &settings, &["run", "dead-letters"]).await;
        let of = |alert: &'static str, kind: &'static str| {
            move |told: &ReceivedEvent| told.kind == kind && told.data["alert"] == alert
        };
        events.until_told("the alert", of("dead_letters_new_kind", "alert.raised")).await;
        events.until_told("what was left in the outbox", of("left", "alert.cleared")).await;
        let metrics = async || {
            let answer = reqwest::get(worker.addresses.admin("/metrics")).await.unwrap();
            answer.text().await.unwrap()
        };
        let measured = metrics().await;
        for line in [
            "bursar_dead_letters_open{worker=\"ledger\",code=\"unknown\"} 1\n",
            "bursar_dead_letters_at_stake{unit=\"credits\"} 7\n",
            "bursar_alerts{alert=\"dead_letters_new_kind\"} 1\n",
            "bursar_dead_letters_kinds 1\n",
            "bursar_alerts{alert=\"replay_failing\"} 0\n",
        ] {
            assert!(measured.contains(line), "{line} in {measured}");
        }
        let (_, doctor) = json_of(&site, &settings, &["doctor", "--json"]).await;
        let findings = doctor["findings"].as_array().unwrap();
        for (what, says) in [("dead letters", "1 open"), ("alert", "dead_letters_new_kind since")] {
            let finding = findings.iter().find(|finding| finding["what"] == what).unwrap();
            let fits = finding["state"] == "warning" && finding["says"].as_str().unwrap().contains(says);
            assert!(fits, "{finding}");
        }

        discard(&site.pool, &everything("ada"), OffsetDateTime::now_utc()).await.unwrap();
        let gone = [
            "bursar_dead_letters_open{worker=\"ledger\",code=\"unknown\"} 0\n",
            "bursar_dead_letters_oldest_seconds 0\n",
            "bursar_dead_letters_at_stake{unit=\"credits\"} 0\n",
            "bursar_alerts{alert=\"dead_letters_new_kind\"} 0\n",
        ];
        eventually("what is gone to be measured as 0", async || {
            let measured = metrics().await;
            gone.iter().all(|line| measured.contains(line)).then_some(())
        })
        .await;
        events.until_told("its end", of("dead_letters_new_kind", "alert.cleared")).await;
        let report =
            verify(&site.pool, 6, None, &facts::Readers::of(&site.topology, &site.namespace), &mut |_| {})
                .await
                .unwrap();
        assert!(report.ok, "{report:#?}");
        worker.terminate().await;
    });
}

//! What is kept of dead letters: what they are about, which kinds of failures they are, what opens them again, and what goes
//! when they go.

use crate::dead_letters::{DEAD, Dead, OPEN, bury, died_again, order, recorded, resolved, spent, states};
use crate::payloads::paddle_payload;
use bus::queue;
use dead_letters::acts::{self, ActRequest, ReplayPace};
use dead_letters::alerts::{LetterWatch, Thresholds};
use dead_letters::read::{Filter, LetterState};
use dead_letters::{LetterRetention, purge};
use domain::Envelope;
use jobs::watch::AlertWatcher;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::{Site, eventually, run};
use time::OffsetDateTime;
use uuid::Uuid;

const FOUND_BY: &str =
    "select concat_ws(' ', fact_type, source || '/' || id, account) from dead_letters order by message_id";

/// What ended a process must not be decoded again; without its fact it would pass for lost, and nobody could erase it.
#[test]
fn a_letter_that_ended_a_process_is_found_by_its_fact() {
    run(async |site| {
        let crash = |id: &str, body: Vec<u8>| Dead {
            message_id: id.to_owned(),
            code: "crash",
            body,
            ..Dead::of(&spent("unused", 1))
        };
        let webhook = paddle_payload("transaction.completed");
        let deep = format!(
            r#"{{"type":"fact.usage","source":"s","id":"deep","data":{}{}}}"#,
            "[".repeat(9_000),
            "]".repeat(9_000)
        );
        let rows = [
            crash("1", spent("use_1", 1).to_json().into_bytes()),
            Dead {
                content_type: domain::envelope::CONTENT_TYPE_BATCH,
                ..crash("2", Envelope::batch_to_json(&[&spent("use_2", 1), &spent("use_3", 1)]).into_bytes())
            },
            Dead {
                worker: "ingester",
                queue: queue::INGESTER,
                routing_key: "raw.paddle".to_owned(),
                ..crash("3", webhook.to_string().into_bytes())
            },
            crash("4", deep.into_bytes()),
        ];
        bury(&site, rows).await;
        recorded(&site, 4).await;
        assert_eq!(
            site.texts(FOUND_BY).await,
            [
                "fact.usage gateway/use_1 acct_1".to_owned(),
                "fact.usage gateway/use_2 acct_1".to_owned(),
                format!("paddle/{}", webhook["event_id"].as_str().unwrap()),
                String::new(),
            ]
        );
        assert_eq!(
            site.texts("select source || '/' || id from facts_given_up order by id limit 1").await.len(),
            1,
            "it is no loss"
        );
    });
}

#[test]
fn what_senders_make_up_makes_no_kinds_of_failures() {
    run(async |site| {
        let stated = |number: usize, kind: &str, reason: String| Dead {
            message_id: number.to_string(),
            code: "malformed",
            reason,
            body: json!({ "type": kind, "source": "s", "id": number.to_string() }).to_string().into_bytes(),
            ..Dead::of(&spent("unused", 1))
        };
        let names = ["aaaa", "bbbb", "cccc", "dddd"];
        let variants = names.iter().enumerate().map(|(number, name)| {
            stated(
                number,
                "fact.grant",
                format!("data.kind: unknown variant `{name}`, expected `gift` or `bonus`"),
            )
        });
        let types = names
            .iter()
            .enumerate()
            .map(|(number, name)| stated(10 + number, &format!("fact.{name}"), "not a fact".to_owned()));
        bury(&site, variants.chain(types)).await;
        recorded(&site, 8).await;
        assert_eq!(
            site.texts("select concat_ws(' | ', fact_type, reason) from fingerprints order by 1").await,
            ["fact.grant | data.kind: unknown variant *, expected * or *", "unknown | not a fact"]
        );
    });
}

/// Which of two machines' clocks is ahead nobody knows.
#[test]
fn a_new_death_opens_a_letter_also_where_its_clock_is_behind() {
    run(async |site| {
        let dead = || Dead::of(&spent("1", 1));
        bury(&site, [dead()]).await;
        let id = recorded(&site, 1).await[0].line.letter;
        let now = OffsetDateTime::now_utc();
        let all = order(Filter::default());
        let (replay, _) = acts::start_replay(&site.pool, &all, ReplayPace::default(), now).await.unwrap();
        site.publisher.publish_all(vec![resolved(&site, replay, id)]).await.unwrap();
        recorded(&site, 1).await;
        let behind = || Dead { at: DEAD - Duration::from_secs(60), ..dead() };
        bury(&site, [behind()]).await;
        recorded(&site, 1).await;
        assert_eq!(states(&site).await, ["open"]);
        // A copy of that says nothing new.
        let (replay, _) = acts::start_replay(&site.pool, &all, ReplayPace::default(), now).await.unwrap();
        site.publisher.publish_all(vec![resolved(&site, replay, id)]).await.unwrap();
        recorded(&site, 1).await;
        bury(&site, [behind()]).await;
        recorded(&site, 1).await;
        assert_eq!(states(&site).await, ["resolved applied"]);
    });
}

#[test]
fn a_letter_stays_closed_while_anything_that_became_of_it_is_open() {
    run(async |site| {
        let dead = |at| Dead { at, ..Dead::of(&spent("1", 1)) };
        bury(&site, [dead(DEAD)]).await;
        let now = OffsetDateTime::now_utc();
        for number in 1..=2 {
            let letters = recorded(&site, number).await;
            let open = letters.iter().find(|letter| letter.line.state == "open").unwrap().line.letter;
            let all = order(Filter::default());
            let (replay, _) = acts::start_replay(&site.pool, &all, ReplayPace::default(), now).await.unwrap();
            site.publisher.publish_all(vec![died_again(&site, dead(now), replay, open)]).await.unwrap();
        }
        recorded(&site, 3).await;
        let before = states(&site).await;
        assert_eq!(before, ["dead_again unknown", "dead_again unknown", "open"]);
        bury(&site, [dead(now + Duration::from_secs(1))]).await;
        recorded(&site, 3).await;
        assert_eq!(states(&site).await, before);
        // Nothing is left of it: then it is open again.
        sqlx::query("update dead_letters set state = 'resolved', closed_at = now() where state = 'open'")
            .execute(&site.owner)
            .await
            .unwrap();
        bury(&site, [dead(now + Duration::from_secs(2))]).await;
        recorded(&site, 3).await;
        assert_eq!(states(&site).await[0], "open");
    });
}

#[test]
fn with_closed_letters_go_their_replays_kinds_and_alerts() {
    run(async |site| {
        let thresholds = Thresholds {
            inflow: 1_000,
            oldest: Duration::from_secs(86_400 * 365),
            at_stake: BTreeMap::new(),
            queue: Duration::from_secs(86_400),
            replay_failing: 1,
        };
        let watch = LetterWatch::new(thresholds, site.namespace.clone(), site.broker.clone());
        let mut watcher = AlertWatcher::new(site.context(), "dead-letters", watch);
        let now = OffsetDateTime::now_utc();
        bury(&site, [Dead::of(&spent("1", 1)), Dead { code: "other", ..Dead::of(&spent("2", 1)) }]).await;
        let letters = recorded(&site, 2).await;
        let first = letters[0].line.letter;
        let only = order(Filter::letter(first));
        let (replay, _) = acts::start_replay(&site.pool, &only, ReplayPace::default(), now).await.unwrap();
        let again = died_again(&site, Dead { at: now, ..Dead::of(&spent("1", 1)) }, replay, first);
        site.publisher.publish_all(vec![again]).await.unwrap();
        let letters = recorded(&site, 3).await;
        let successor = letters.iter().find(|letter| letter.previous == Some(first)).unwrap().line.letter;
        sqlx::query("update replays set state = 'finished', ended_at = $1")
            .bind(now)
            .execute(&site.owner)
            .await
            .unwrap();
        watcher.look(now).await.unwrap();
        let kept = "select array[(select count(*) from replay_letters), (select count(*) from replays),
                                 (select count(*) from fingerprints), (select count(*) from alerts)]::text";
        assert_eq!(site.texts(kept).await, ["{1,1,2,3}"]);

        acts::discard(&site.pool, &order(Filter::letter(successor)), now).await.unwrap();
        watcher.look(now + Duration::from_secs(2 * 3_600)).await.unwrap();
        let day = Duration::from_secs(86_400);
        let retention = LetterRetention { resolved: day * 30, discarded: day * 90 };
        for days in [1, 31] {
            purge(&site.pool, retention, now + day * days, 100).await.unwrap();
            assert_eq!(site.texts(kept).await, ["{1,1,2,3}"], "after {days} days");
        }
        // The end of the chain first, then its beginning.
        for _ in 0..2 {
            purge(&site.pool, retention, now + day * 91, 100).await.unwrap();
        }
        assert_eq!(site.texts(kept).await, ["{0,0,1,1}"], "that of the open one");
        assert_eq!(states(&site).await, ["open"]);
        assert!(site.number("select count(*) from dead_letter_audit where replay is not null").await > 0);
    });
}

/// Waits until an act of this site waits for a lock.
async fn waiting_for_a_lock(site: &Site) {
    eventually("an act to wait for a lock", async || {
        let query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        (site.number(query).await > 0).then_some(())
    })
    .await;
}

#[test]
fn an_act_that_met_a_worker_in_a_circle_is_begun_again() {
    run(async |site| {
        bury(&site, ["1", "2"].map(|id| Dead::of(&spent(id, 1)))).await;
        let mut ids: Vec<Uuid> = recorded(&site, 2).await.iter().map(|letter| letter.line.letter).collect();
        ids.sort();
        let lock = "select state from dead_letters where letter = $1 for update";
        let mut worker = site.pool.begin().await.unwrap();
        sqlx::query(lock).bind(ids[1]).execute(&mut *worker).await.unwrap();
        let all = order(Filter::default());
        let act = acts::discard(&site.pool, &all, OffsetDateTime::now_utc());
        let circle = async {
            waiting_for_a_lock(&site).await;
            sqlx::query(lock).bind(ids[0]).execute(&mut *worker).await.unwrap();
            worker.rollback().await.unwrap();
        };
        let (done, ()) = tokio::join!(act, circle);
        assert_eq!(done.unwrap(), 2);
    });
}

#[test]
fn an_act_on_letters_that_are_not_as_expected_writes_nothing() {
    run(async |site| {
        bury(&site, ["1", "2", "3"].map(|id| Dead::of(&spent(id, 1)))).await;
        let letters = recorded(&site, 3).await;
        let ids: Vec<Uuid> = letters.iter().map(|letter| letter.line.letter).collect();
        let now = OffsetDateTime::now_utc();
        acts::discard(&site.pool, &order(Filter::letter(ids[2])), now).await.unwrap();
        let before = states(&site).await;
        let replay = async |order: ActRequest| {
            acts::start_replay(&site.pool, &order, ReplayPace::default(), now).await
        };
        let all = || order(Filter { letters: ids.clone(), ..Filter::default() });
        assert!(matches!(
            replay(all()).await,
            Err(acts::ActError::Otherwise { wanted: LetterState::Open, .. })
        ));
        let few = ActRequest { expected: Some(3), ..order(Filter::default()) };
        assert!(matches!(replay(few).await, Err(acts::ActError::Count { expected: 3, found: 2 })));
        let none = order(Filter { worker: Some("nobody".to_owned()), ..Filter::default() });
        assert!(matches!(replay(none).await, Err(acts::ActError::Nothing { .. })));
        let unknown = order(Filter { letters: vec![ids[0], Uuid::now_v7()], ..Filter::default() });
        assert!(matches!(replay(unknown).await, Err(acts::ActError::Unknown(_))));
        assert_eq!(states(&site).await, before);
        assert_eq!(site.number("select count(*) from replays").await, 0);
        assert_eq!(site.number("select count(*) from replay_letters").await, 0);
        assert_eq!(site.number("select count(*) from dead_letter_audit").await, 1, "the discard");
        assert_eq!(site.number(OPEN).await, 2);
    });
}

//! Two readers of one kind of fact, each with outcomes of its own, and two emitters of one account's events: whoever asks what
//! became of a fact follows both, and the account's sequence has no gap, wherever one of them dies.

use crate::dead_letters::{Dead, bury, order, recorded, states};
use crate::ledger::ledger_with;
use bus::{Decoded, Fate, Fated, Incoming, REPLAYED, Settled, Topology, Verdict, Worker, exchange, queue};
use db::Work;
use dead_letters::acts::{self, ReplayPace};
use dead_letters::read::Filter;
use dead_letters::{DeadLetters, replay};
use domain::envelope::{self, is_batch};
use domain::event::{BalanceExhausted, Event};
use domain::ledger::Rules;
use domain::{Cause, Envelope, Fact, Outcome};
use facts::Readers;
use facts::emit::NewEvent;
use facts::outcomes::{self, FactState, ReaderStanding, Settlements};
use gate::{Door, Gate};
use ledger::verify::Report;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::facts::{catalog, envelope as stated, grant};
use testkit::{DeathStep, Running, Site, eventually, run, run_within};
use time::OffsetDateTime;
use tokio::time::Duration;
use uuid::Uuid;

/// The fleet's workers, and the second reader of these tests.
const WORKERS: &[&str] = &["ingester", "gate", "ledger", "dead-letters", "counter"];

const OUTCOMES: &str = "select count(*) from outcomes";
const TABLE: &str = "create table counted (source text, id text, account text, primary key (source, id))";

/// Counts grants in a table of its own, and tells of each. It gives up on 13 credits as long as it is strict; 7 do not concern it.
struct Counter {
    namespace: bus::Namespace,
    is_strict: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Error(#[from] db::Error);

impl Fated for Error {
    fn fate(&self) -> Fate {
        self.0.fate()
    }
}

impl Counter {
    fn new(site: &Site) -> Self {
        Self { namespace: site.namespace.clone(), is_strict: AtomicBool::new(true) }
    }

    fn judge(&self, fact: &Fact) -> Outcome {
        let Fact::Grant(grant) = fact else { return Outcome::Ignored };
        match grant.credits.to_string().as_str() {
            "13" if self.is_strict.load(Ordering::Relaxed) => Outcome::Refused,
            "7" => Outcome::Ignored,
            _ => Outcome::Applied,
        }
    }
}

fn event(envelope: &Envelope, now: OffsetDateTime) -> NewEvent {
    // Some event of the list: that it counts, none of them says.
    let event = Event {
        account: envelope.fact.account().cloned(),
        cause: envelope.cause.clone(),
        time: now,
        data: BalanceExhausted {}.into(),
        balances: None,
    };
    NewEvent::of(&event, None)
}

async fn count(work: &mut Work, envelope: &Envelope) -> Result<(), db::Error> {
    let account = envelope.fact.account().map(|account| account.as_str().to_owned());
    sqlx::query("insert into counted (source, id, account) values ($1, $2, $3)")
        .bind(&envelope.cause.source)
        .bind(&envelope.cause.id)
        .bind(account)
        .execute(work.connection().await?)
        .await
        .map_err(db::Error::Away)?;
    Ok(())
}

impl Worker for Counter {
    const NAME: &'static str = "counter";
    const PREFETCH: u16 = 8;
    const CODES: &'static [&'static str] = &["unlucky"];

    type Item = Envelope;
    type Error = Error;

    fn queue(&self) -> &'static str {
        "counter"
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Envelope>> {
        let text = std::str::from_utf8(&message.body).unwrap();
        match is_batch(message.content_type.as_deref()) {
            true => {
                Envelope::parse_batch(text, now).unwrap().into_iter().flatten().map(Decoded::Item).collect()
            }
            false => vec![Decoded::Item(Envelope::parse(text, now).unwrap())],
        }
    }

    fn encode(&self, envelope: &Envelope) -> (&'static str, Vec<u8>) {
        (envelope::CONTENT_TYPE, envelope.to_json().into_bytes())
    }

    fn received_at(&self, envelope: &Envelope) -> Option<OffsetDateTime> {
        envelope.received_at
    }

    async fn handle(&self, work: &mut Work, envelopes: &[Envelope]) -> Result<Settled, Error> {
        let mut settlements = Settlements::begin(work, Self::NAME, envelopes).await?;
        let (mut verdicts, mut events) = (Vec::new(), Vec::new());
        for envelope in envelopes {
            if settlements.is_settled(&envelope.cause) {
                verdicts.push(Verdict::Done(Outcome::Repeated));
                continue;
            }
            let outcome = self.judge(&envelope.fact);
            verdicts.push(match outcome {
                Outcome::Refused => Verdict::Dead { code: "unlucky", reason: "13 credits".to_owned() },
                outcome => Verdict::Done(outcome),
            });
            if outcome == Outcome::Applied {
                count(work, envelope).await?;
                events.push(event(envelope, work.now));
            }
            settlements.settle(envelope, outcome, None);
        }
        settlements.save(work, None).await?;
        let emitted = facts::emit::emit(work, "bursar/counter", events).await?;
        let emitted = emitted.map(|emitted| emitted.emitted(&self.namespace));
        Ok(Settled { verdicts, emitted, ..Settled::default() })
    }
}

/// The fleet's topology with the counter's queue, bound to grants.
fn topology(site: &Site) -> Topology {
    let mut topology = site.topology.clone();
    let of_ledger = topology.queues.iter().find(|queue| queue.reader == Some("ledger")).unwrap();
    let mut own = of_ledger.clone();
    (own.name, own.reader) = (site.namespace.name("counter"), Some(Counter::NAME));
    let of_grants = topology.bindings.iter().find(|binding| binding.routing_key == "fact.grant").unwrap();
    let mut bound = of_grants.clone();
    bound.queue = own.name.clone();
    topology.queues.push(own);
    topology.bindings.push(bound);
    topology
}

/// As when a fleet with a counter starts.
async fn with_counter(site: &Site) -> Readers {
    let topology = topology(site);
    topology.declare(&site.broker).await.unwrap();
    sqlx::query(TABLE).execute(&site.owner).await.unwrap();
    let readers = Readers::of(&topology, &site.namespace);
    let mut connection = site.pool.acquire().await.unwrap();
    facts::readers_known(&mut connection, &readers, OffsetDateTime::now_utc()).await.unwrap();
    readers
}

fn gate(site: &Site) -> Running {
    site.start(
        Gate::new(Door::Verified, site.namespace.clone(), processors::Settings::default(), site.readers()),
        1,
    )
}

async fn state(site: &Site, readers: &Readers, id: &str) -> FactState {
    let cause = Cause { source: "desk".to_owned(), id: id.to_owned() };
    let mut connection = site.pool.acquire().await.unwrap();
    outcomes::states(&mut connection, readers, [&cause]).await.unwrap().remove(0)
}

async fn verified(site: &Site, readers: &Readers) -> Report {
    let report = ledger::verify::verify(&site.pool, 6, None, readers, &mut |_| {}).await.unwrap();
    assert!(report.ok, "{report:#?}");
    let rebuilt =
        ledger::rebuild::rebuild(&site.owner, &Rules::new(catalog()), 10, &mut |_| {}).await.unwrap();
    assert!(rebuilt.ok, "{rebuilt:#?}");
    report
}

/// What verify counts of the counter: applied, ignored, refused, dead-lettered, in flight, not handed over.
fn counted(report: &Report) -> [i64; 6] {
    let counts = report.checks.iter().find_map(|check| check.counts.as_ref()).unwrap();
    let of = counts.others.iter().find(|of| of.reader == Counter::NAME).unwrap();
    let found = [of.applied, of.ignored, of.refused, of.dead_lettered, of.in_flight, of.not_handed_over];
    assert_eq!(of.admitted, found.iter().sum::<i64>(), "{of:?}");
    found
}

#[test]
fn a_fact_is_settled_once_both_its_readers_have_settled_it_and_the_worst_is_told() {
    run(async |site| {
        let readers = with_counter(&site).await;
        let counter = Arc::new(Counter::new(&site));
        let workers = [
            gate(&site),
            site.start(ledger_with(&site, catalog()), 1),
            site.start(DeadLetters::new(processors::Settings::default(), WORKERS), 1),
        ];
        let grants = [("one", 1), ("seven", 7), ("thirteen", 13)];
        let told = grants.map(|(id, credits)| stated(&format!("desk/{id}"), grant("acct_1", credits)));
        site.state_each(exchange::VERIFIED, told.to_vec()).await;
        site.until(OUTCOMES, 3).await;
        let half = state(&site, &readers, "one").await;
        assert_eq!(
            (half.outcome(), half.failure()),
            (None, None),
            "one reader has not said anything: {half:?}"
        );
        assert_eq!(counted(&verified(&site, &readers).await), [0, 0, 0, 0, 3, 0]);

        let counting = site.start_with(counter.clone(), 1, site.context());
        site.until("select count(*) from dead_letters", 1).await;
        site.until(OUTCOMES, 6).await;
        assert_eq!(state(&site, &readers, "one").await.outcome(), Some(Outcome::Applied));
        assert_eq!(state(&site, &readers, "seven").await.outcome(), Some(Outcome::Applied));
        let refused = state(&site, &readers, "thirteen").await;
        assert_eq!((refused.outcome(), refused.failure()), (Some(Outcome::Refused), Some(Outcome::Refused)));
        assert_eq!(counted(&verified(&site, &readers).await), [1, 1, 1, 0, 0, 0]);

        let acts = ledger::read::fact(&site.pool, &refused.cause).await.unwrap().unwrap();
        let of_readers: Vec<(&str, Outcome)> =
            acts.outcomes.iter().map(|by| (by.reader.as_str(), by.outcome)).collect();
        assert_eq!(of_readers, [("counter", Outcome::Refused), ("ledger", Outcome::Applied)]);
        assert_eq!(acts.settled.unwrap().outcome, "applied", "what it says of the ledger is as it was");

        // Mended and replayed: the counter's letter resolves by the counter, though the ledger applied it long ago.
        counter.is_strict.store(false, Ordering::Relaxed);
        carry_out(&site, &readers);
        let now = OffsetDateTime::now_utc();
        acts::start_replay(&site.pool, &order(Filter::default()), ReplayPace::default(), now).await.unwrap();
        site.until("select count(*) from dead_letters where state = 'resolved' and outcome = 'applied'", 1)
            .await;
        assert_eq!(state(&site, &readers, "thirteen").await.outcome(), Some(Outcome::Applied));
        assert_eq!(counted(&verified(&site, &readers).await), [2, 1, 0, 0, 0, 0]);
        counting.stop().await;
        for worker in workers {
            worker.stop().await;
        }
    });
}

/// Settles what of these facts was not settled, and tells of each whether it was, and how many statements that took.
async fn settle(site: &Site, facts: &[&Envelope], outcome: Outcome) -> (Vec<bool>, u64) {
    let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
    let envelopes: Vec<Envelope> = facts.iter().copied().cloned().collect();
    let mut settlements = Settlements::begin(&mut work, Counter::NAME, &envelopes).await.unwrap();
    let mut known = Vec::new();
    for envelope in &envelopes {
        known.push(settlements.is_settled(&envelope.cause));
        if known.last() == Some(&false) {
            settlements.settle(envelope, outcome, None);
        }
    }
    settlements.save(&mut work, None).await.unwrap();
    let statements = work.statements();
    work.commit().await.unwrap();
    (known, statements)
}

#[test]
fn a_reader_settles_each_fact_once_and_a_refusal_gives_way_to_what_is_decided_anew() {
    run(async |site| {
        let [one, two, three] =
            ["one", "two", "three"].map(|id| stated(&format!("desk/{id}"), grant("acct_1", 1)));
        let outcomes =
            async || site.texts("select id || ' ' || outcome from outcomes order by position").await;
        let (refused, applied) = (Outcome::Refused, Outcome::Applied);
        assert_eq!(settle(&site, &[&one, &two], refused).await, (vec![false, false], 2));
        assert_eq!(settle(&site, &[&two, &three, &two], applied).await, (vec![false, false, true], 3));
        assert_eq!(outcomes().await, ["one refused", "two applied", "three applied"]);
        assert_eq!(settle(&site, &[&three, &two], refused).await, (vec![true, true], 1));
        assert_eq!(outcomes().await, ["one refused", "two applied", "three applied"]);

        // A batch that was to decide a refused fact anew, and did not, leaves its refusal.
        let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
        let settlements = Settlements::begin(&mut work, Counter::NAME, &[one]).await.unwrap();
        settlements.save(&mut work, None).await.unwrap();
        work.commit().await.unwrap();
        assert_eq!(outcomes().await, ["one refused", "two applied", "three applied"]);
    });
}

fn carry_out(site: &Site, readers: &Readers) {
    let (namespace, pool, publisher) = (site.namespace.clone(), site.pool.clone(), site.publisher.clone());
    let stop = site.over.child_token();
    tokio::spawn(replay::put_back(namespace, pool.clone(), publisher).run(stop.clone()));
    tokio::spawn(replay::follow(pool, readers.clone()).run(stop));
}

/// Replays the letter of the gate, takes its message out of the queue, and tells that the gate had the fact before.
async fn passed_on(site: &Site, letter: Uuid) {
    let now = OffsetDateTime::now_utc();
    let (replay, _) =
        acts::start_replay(&site.pool, &order(Filter::letter(letter)), ReplayPace::default(), now)
            .await
            .unwrap();
    site.until("select count(*) from replay_letters where state = 'waiting'", 0).await;
    site.take(queue::GATE).await;
    let told =
        json!([{ "replay": replay, "letter": letter, "outcome": "repeated", "at": "2026-11-20T11:00:00Z" }]);
    let (exchange, id) = (site.namespace.name(exchange::DEAD), format!("{replay}-{letter}"));
    let message = bus::Message::new(exchange, REPLAYED, id, "application/json", None, told.to_string());
    site.publisher.publish_all(vec![message]).await.unwrap();
}

/// A letter of the gate goes by all who read on: one reader that has not said anything keeps it open, one that refused makes it
/// a failure, whatever the other made of the fact.
#[test]
fn a_replay_that_was_passed_on_ends_once_every_reader_has_the_last_word() {
    run(async |site| {
        let readers = with_counter(&site).await;
        let fact = stated("desk/one", grant("acct_1", 1));
        let of_gate = Dead { worker: "gate", queue: queue::GATE, code: "forbidden", ..Dead::of(&fact) };
        bury(&site, [of_gate]).await;
        let letter = recorded(&site, 1).await[0].line.letter;
        let workers = [gate(&site), site.start(ledger_with(&site, catalog()), 1)];
        site.state_each(exchange::VERIFIED, vec![fact.clone()]).await;
        site.until(OUTCOMES, 1).await;
        for worker in workers {
            worker.stop().await;
        }
        let keeper = site.start(DeadLetters::new(processors::Settings::default(), WORKERS), 1);
        carry_out(&site, &readers);
        passed_on(&site, letter).await;
        site.until("select count(*) from replay_letters where outcome is not null", 1).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(states(&site).await, ["replaying"], "the counter has not said anything");
        let counter = site.start(Counter::new(&site), 1);
        site.until("select count(*) from dead_letters where state = 'resolved'", 1).await;
        assert_eq!(site.texts("select outcome from dead_letters").await, ["repeated,applied"]);
        counter.stop().await;
        keeper.stop().await;
    });
}

#[test]
fn a_replay_that_was_passed_on_is_dead_again_where_one_reader_gave_up() {
    run(async |site| {
        let readers = with_counter(&site).await;
        let fact = stated("desk/thirteen", grant("acct_1", 13));
        let of_gate = Dead { worker: "gate", queue: queue::GATE, code: "forbidden", ..Dead::of(&fact) };
        bury(&site, [of_gate]).await;
        let letter = recorded(&site, 1).await[0].line.letter;
        let workers =
            [gate(&site), site.start(ledger_with(&site, catalog()), 1), site.start(Counter::new(&site), 1)];
        let keeper = site.start(DeadLetters::new(processors::Settings::default(), WORKERS), 1);
        site.state_each(exchange::VERIFIED, vec![fact.clone()]).await;
        site.until(OUTCOMES, 2).await;
        site.until("select count(*) from dead_letters", 2).await;
        for worker in workers {
            worker.stop().await;
        }
        carry_out(&site, &readers);
        passed_on(&site, letter).await;
        site.until("select count(*) from dead_letters where state = 'dead_again' and outcome = 'unlucky'", 1)
            .await;
        keeper.stop().await;
    });
}

/// What was admitted before a reader came is not in flight for ever; once it was handed over it is expected.
#[test]
fn facts_from_before_a_reader_came_are_not_expected_from_it() {
    run(async |site| {
        let workers = [gate(&site), site.start(ledger_with(&site, catalog()), 1)];
        site.state_each(exchange::VERIFIED, vec![stated("desk/early", grant("acct_1", 1))]).await;
        site.until(OUTCOMES, 1).await;
        let readers = with_counter(&site).await;
        let early = state(&site, &readers, "early").await;
        assert_eq!(early.outcome(), Some(Outcome::Applied));
        assert!(early.readers.contains(&("counter".to_owned(), ReaderStanding::NotHandedOver)), "{early:?}");
        site.state_each(exchange::VERIFIED, vec![stated("desk/late", grant("acct_1", 1))]).await;
        site.until(OUTCOMES, 2).await;
        assert_eq!(counted(&verified(&site, &readers).await), [0, 0, 0, 0, 1, 1]);
        let mut connection = site.pool.acquire().await.unwrap();
        facts::handed_over(&mut connection, Counter::NAME, "fact.grant").await.unwrap();
        assert_eq!(counted(&verified(&site, &readers).await), [0, 0, 0, 0, 2, 0]);
        for worker in workers {
            worker.stop().await;
        }
    });
}

/// The ledger and the counter emit events of one account at the same time, and each dies at each step of a batch's way.
#[test]
fn two_emitters_of_one_account_leave_no_gap_wherever_they_die() {
    run_within(Duration::from_secs(120), async |site| {
        let readers = with_counter(&site).await;
        let gate = gate(&site);
        let (ledger, counter) = (ledger_with(&site, catalog()), Counter::new(&site));
        let mut facts = 0;
        let mut reached = 0;
        for (place, of_ledger) in DeathStep::ALL.into_iter().enumerate() {
            let of_counter = DeathStep::ALL[(place * 4 + 3) % DeathStep::ALL.len()];
            let grants = (0..6).map(|number| stated(&format!("desk/g_{place}_{number}"), grant("acct_1", 1)));
            facts += 6;
            site.state(exchange::VERIFIED, grants.collect()).await;
            site.until("select count(*) from inbox", facts).await;
            let (one, other) =
                tokio::join!(site.dies_at(of_ledger, &ledger, 20), site.dies_at(of_counter, &counter, 20));
            reached += i64::from(one) + i64::from(other);
        }
        assert!(reached > 12, "they died at {reached} steps");
        let workers = [site.start(ledger, 1), site.start(counter, 1)];
        site.until(OUTCOMES, 2 * facts).await;
        let told = "select count(*) from events where account = 'acct_1' and source = 'bursar/counter'";
        assert_eq!(site.number(told).await, facts);
        let sequence = "select count(distinct sequence) - max(sequence) + count(*) - max(sequence) from events where account = 'acct_1'";
        assert_eq!(site.number(sequence).await, 0, "from 1 without a gap");
        let mixed = eventually("events of both", async || {
            Some(site.texts("select distinct source from events order by 1").await)
        })
        .await;
        assert_eq!(mixed, ["bursar/counter", "bursar/ledger"]);
        assert_eq!(counted(&verified(&site, &readers).await), [facts, 0, 0, 0, 0, 0]);
        for worker in workers {
            worker.stop().await;
        }
        gate.stop().await;
    });
}

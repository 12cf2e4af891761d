//! `bursar dlq plan` tells the truth: over random dead letters, what it foretells is what a replay then does. The same journal
//! entries, the same balances, the same events, the same failures.
//!
//! The seed is printed; `BURSAR_TEST_SEED` sets it, `BURSAR_TEST_PLANS` how many plans each test makes.

#![expect(clippy::print_stdout, reason = "a seed is there to be printed")]

use crate::dead_letters::{Dead, bury};
use crate::dlq::Deployment;
use crate::histories::story::Writer;
use crate::payloads::paddle_payload;
use bus::{exchange, queue};
use dead_letters::acts::{self, ActRequest, ReplayPace};
use dead_letters::read::Filter;
use domain::fact::{LineItem, Payment};
use domain::{Cause, Envelope, Fact, FactKind};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testkit::facts::{PRICE, envelope, grant, payment, usage, usd};
use testkit::{Bursar, Site, eventually, run_within, within};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(300);

/// Letters of a plan.
const LETTERS: usize = 30;

/// Of one lane: what is put back in an order is decided in that order.
const CONFIGURATION: &str = "[limits]\nlanes = 1\n";

/// More than an account can hold twice.
const NEARLY_ALL: i64 = 999_999_999_999_999;

/// Nothing is between the gate and the ledger, and nothing on the way to the dead letters.
const ON_THE_WAY: &str = "select count(*) from inbox i
    where kind not in ('fact.dispute', 'fact.unrecognised', 'fact.refund_request')
      and not exists (select from outcomes f where f.source = i.source and f.id = i.id)";

fn seed() -> u64 {
    let seed =
        std::env::var("BURSAR_TEST_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("BURSAR_TEST_SEED={seed}");
    seed
}

fn plans(default: usize) -> usize {
    std::env::var("BURSAR_TEST_PLANS").map_or(default, |text| text.parse().unwrap())
}

/// Writes letters of every kind about a story of which a part is settled already.
struct Morgue<'a> {
    random: &'a mut StdRng,
    name: String,
    /// Settled before.
    settled: Vec<Envelope>,
    /// Told by nobody yet.
    untold: Vec<Envelope>,
    queues: &'a [&'static str],
    count: usize,
}

impl Morgue<'_> {
    fn letter(&mut self) -> Dead {
        self.count += 1;
        let dead = match self.random.random_range(0..20) {
            0..9 => {
                let fact = self.fresh();
                self.about(&fact)
            }
            9..12 => {
                let fact = self.settled.choose(self.random).unwrap().clone();
                self.about(&fact)
            }
            12 => {
                let fact = self.contradicting();
                self.about(&fact)
            }
            13..15 => {
                let account = format!("{}_rich", self.name);
                let fact = self.said("gateway", usage(&account, NEARLY_ALL));
                self.about(&fact)
            }
            15 => self.malformed(),
            16 => {
                let fact = self.said("gateway", grant(&format!("{}_acct_0", self.name), 7));
                self.stated_inbound(&fact)
            }
            17 => self.batch(),
            18 => {
                let items = vec![LineItem::new("pri_nobody".to_owned(), 1)];
                let transaction = format!("{}_extra_{}", self.name, self.count);
                let paid = Payment { items, ..payment(&transaction, &format!("{}_acct_1", self.name)) };
                let fact = self.said("paddle", Fact::Payment(paid));
                self.about(&fact)
            }
            _ => self.raw(),
        };
        let at = OffsetDateTime::now_utc() - Duration::from_secs(10_000)
            + Duration::from_millis(self.count as u64 * 50);
        Dead { message_id: format!("{}_{}", self.name, self.count), at, ..dead }
    }

    fn fresh(&mut self) -> Envelope {
        match self.untold.pop() {
            Some(fact) => fact,
            None => self.said("gateway", usage(&format!("{}_acct_2", self.name), 3)),
        }
    }

    fn said(&mut self, source: &str, fact: Fact) -> Envelope {
        envelope(&format!("{source}/{}_more_{}", self.name, self.count), fact)
    }

    /// Under the identity of a settled fact something else.
    fn contradicting(&mut self) -> Envelope {
        let settled = self.settled.choose(self.random).unwrap().clone();
        let account = format!("{}_acct_3", self.name);
        let fact = match &settled.fact {
            Fact::Payment(paid) => Fact::Payment(Payment { amount: usd(1), ..paid.clone() }),
            _ => usage(&account, 11),
        };
        Envelope { fact, ..settled }
    }

    /// In a queue in which such a fact can come to lie.
    fn about(&mut self, fact: &Envelope) -> Dead {
        let may_be_stated = fact.fact.kind() == FactKind::Usage;
        let queues: Vec<&'static str> = self
            .queues
            .iter()
            .copied()
            .filter(|of| *of != queue::INGESTER && (*of != queue::GATE_INBOUND || may_be_stated))
            .collect();
        let queue = *queues.choose(self.random).unwrap();
        Self::lay_in(queue, Dead::of(fact))
    }

    fn lay_in(queue: &'static str, dead: Dead) -> Dead {
        let worker = match queue {
            queue::INGESTER => "ingester",
            ledger::QUEUE => "ledger",
            _ => "gate",
        };
        Dead { worker, queue, ..dead }
    }

    fn malformed(&mut self) -> Dead {
        let queue = *self.queues.choose(self.random).unwrap();
        let bodies: [&[u8]; 4] =
            [b"not JSON", b"", &[0xff, 0xfe], br#"{"specversion":"1.0","type":"fact.usage"}"#];
        let body = bodies.choose(self.random).unwrap().to_vec();
        Self::lay_in(queue, Dead { body, ..Dead::of(&envelope("any/thing", usage("nobody", 1))) })
    }

    /// What nobody may state there, where there is such a door.
    fn stated_inbound(&mut self, fact: &Envelope) -> Dead {
        match self.queues.contains(&queue::GATE_INBOUND) {
            true => Self::lay_in(queue::GATE_INBOUND, Dead::of(fact)),
            false => self.about(fact),
        }
    }

    /// Some new, some settled, one of them refused.
    fn batch(&mut self) -> Dead {
        let account = format!("{}_acct_{}", self.name, self.random.random_range(0..5));
        let mut facts: Vec<Envelope> = (0..3)
            .map(|part| {
                let credits = self.random.random_range(1..50);
                envelope(
                    &format!("gateway/{}_batch_{}_{part}", self.name, self.count),
                    usage(&account, credits),
                )
            })
            .collect();
        facts.extend(self.settled.iter().filter(|told| told.fact.kind() == FactKind::Usage).take(1).cloned());
        if self.random.random_bool(0.3) {
            let rich = format!("{}_rich", self.name);
            facts.push(envelope(
                &format!("gateway/{}_batch_{}_rich", self.name, self.count),
                usage(&rich, NEARLY_ALL),
            ));
        }
        let dead = self.about(&facts[0]);
        let body = Envelope::batch_to_json(&facts.iter().collect::<Vec<_>>()).into_bytes();
        Dead { content_type: domain::envelope::CONTENT_TYPE_BATCH, body, ..dead }
    }

    /// A webhook as it came: genuine, or not.
    fn raw(&mut self) -> Dead {
        if !self.queues.contains(&queue::INGESTER) {
            return self.malformed();
        }
        let mut payload = paddle_payload("transaction.completed");
        payload["event_id"] = format!("evt_{}_{}", self.name, self.count).into();
        payload["data"]["id"] = format!("txn_raw_{}_{}", self.name, self.count).into();
        payload["data"]["custom_data"]["account_id"] = format!("{}_acct_4", self.name).into();
        payload["data"]["details"]["line_items"][0]["price_id"] = PRICE.into();
        let body = payload.to_string().into_bytes();
        // It came when it first failed; see `Dead`.
        let came_at = crate::dead_letters::FIRST;
        let secret = if self.random.random_bool(0.7) { crate::binary::SECRET } else { "guess" };
        let signed = crate::door::signed("paddle", secret, &body, came_at);
        let stamp = (bus::header::RECEIVED_AT.to_owned(), came_at.unix_timestamp().to_string());
        let headers = signed.into_iter().map(|(name, value)| (name.to_owned(), value)).chain([stamp]);
        let dead =
            Dead { body, headers: headers.collect(), ..Dead::of(&envelope("any/thing", usage("nobody", 1))) };
        Self::lay_in(
            queue::INGESTER,
            Dead { routing_key: "raw.paddle".to_owned(), content_type: "application/json", ..dead },
        )
    }
}

/// How closely entries are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// Book, lot and amount.
    Each,
    /// What a transaction does to each book. Lots granted in one batch are of the same age, and those of one plan are not:
    /// which of two such lots is burnt first is nobody's promise.
    ByBook,
}

/// Book, lot, amount.
type Entry = (String, Option<String>, Decimal);

impl Entries {
    fn text(self, entries: &[Entry]) -> String {
        let mut sums: BTreeMap<String, Decimal> = BTreeMap::new();
        for (book, lot, amount) in entries {
            let of = match self {
                Entries::Each => format!("{book} {}", lot.as_deref().unwrap_or("-")),
                Entries::ByBook => book.clone(),
            };
            *sums.entry(of).or_default() += amount;
        }
        sums.retain(|_, sum| !sum.is_zero());
        let texts = sums.into_iter().map(|(of, sum)| format!("{of} {}", sum.normalize()));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// What stands in the books, and in the queue of letters.
#[derive(Debug, Clone, PartialEq, Default)]
struct Books {
    /// `account number kind cause payment [entries]`.
    journal: BTreeSet<String>,
    /// `account sequence type`; where it has no account, `type` and how many of them.
    events: BTreeSet<String>,
    unassigned: BTreeMap<String, i64>,
    /// `available held debt` by account.
    balances: BTreeMap<String, String>,
}

impl Books {
    async fn of(site: &Site, entries: Entries) -> Self {
        let posted: Vec<(String, Json<Vec<Entry>>)> = sqlx::query_as(
            "select concat_ws(' ', account, number, kind, cause_source || '/' || cause_id, coalesce(payment, '-')), entries
             from transactions",
        )
        .fetch_all(&site.pool)
        .await
        .unwrap();
        let journal = posted.into_iter().map(|(posted, of)| format!("{posted}: {}", entries.text(&of.0)));
        let events = site
            .texts("select concat_ws(' ', account, sequence, type) from events where account is not null");
        // Alerts are told by whoever watches, when it looks, and no plan foretells them.
        let unassigned: Vec<(String, i64)> = sqlx::query_as(
            "select type, count(*) from events where account is null and type not like 'alert.%' group by type",
        )
        .fetch_all(&site.pool)
        .await
        .unwrap();
        // An account that was only looked up for a fact that changed nothing has a row, and nothing in it.
        let balances: Vec<(String, String)> = sqlx::query_as(
            "select account, concat_ws(' ', trim_scale(available), trim_scale(held), trim_scale(debt)) from accounts where sequence > 0",
        )
        .fetch_all(&site.pool)
        .await
        .unwrap();
        Self {
            journal: journal.collect(),
            events: events.await.into_iter().collect(),
            unassigned: unassigned.into_iter().collect(),
            balances: balances.into_iter().collect(),
        }
    }

    /// What they are once a plan has come true.
    fn after(mut self, plan: &Value, entries: Entries) -> Self {
        for part in parts(plan) {
            for posted in list(&part["transactions"]) {
                let of: Vec<Entry> = list(&posted["entries"])
                    .map(|entry| {
                        let text = |field: &str| entry[field].as_str().map(str::to_owned);
                        (text("book").unwrap(), text("lot"), text("amount").unwrap().parse().unwrap())
                    })
                    .collect();
                let text = |field: &str| posted[field].as_str().unwrap_or("-").to_owned();
                self.journal.insert(format!(
                    "{} {} {} {} {}: {}",
                    text("account"),
                    posted["number"],
                    text("kind"),
                    text("cause"),
                    text("payment"),
                    entries.text(&of),
                ));
            }
            for told in list(&part["events"]) {
                let kind = told["type"].as_str().unwrap();
                match told["account"].as_str() {
                    Some(account) => _ = self.events.insert(format!("{account} {} {kind}", told["sequence"])),
                    None => *self.unassigned.entry(kind.to_owned()).or_default() += 1,
                }
            }
            for change in list(&part["balances"]) {
                let after = &change["after"];
                let balances =
                    ["available", "held", "debt"].map(|of| after[of].as_str().unwrap().to_owned()).join(" ");
                self.balances.insert(change["account"].as_str().unwrap().to_owned(), balances);
            }
        }
        self
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn parts(plan: &Value) -> impl Iterator<Item = &Value> {
    list(&plan["messages"]).flat_map(|message| list(&message["parts"]))
}

/// `letter state outcome`: what a plan says will be said of each letter by the worker whose queue it lay in.
fn expected_letters(plan: &Value) -> Vec<String> {
    list(&plan["messages"])
        .map(|message| {
            let queue = message["queue"].as_str().unwrap();
            let worker = if queue.starts_with("gate") { "gate" } else { queue };
            let letter = message["label"].as_str().unwrap();
            let parts: Vec<&Value> = list(&message["parts"]).collect();
            // Of several facts in a message the first is followed to its last reader, the others to the message's worker.
            let is_followed =
                |number: usize, part: &Value| number == 0 || part["failure"]["worker"] == worker;
            let followed = parts.iter().enumerate().filter(|(number, part)| is_followed(*number, part));
            let mut codes = followed.filter_map(|(_, part)| {
                part["failure"]["code"].as_str().or(part["pending"]["code"].as_str())
            });
            let of = |worker: &str| -> BTreeSet<&str> {
                let outcomes = parts.iter().flat_map(|part| list(&part["outcomes"]));
                let of_worker = outcomes.filter(|outcome| outcome["worker"] == worker);
                of_worker.map(|outcome| outcome["outcome"].as_str().unwrap()).collect()
            };
            let mut own: Vec<&str> = of(worker).into_iter().collect();
            if own == ["admitted"] && parts.len() == 1 {
                // What it passes on is followed to its end.
                own.extend(of("ledger"));
            }
            match codes.next() {
                Some(code) => format!("{letter} dead_again {code}"),
                None => format!("{letter} resolved {}", own.join(",")),
            }
        })
        .collect()
}

/// `worker code fact`, as often as it fails.
fn expected_failures(plan: &Value) -> Vec<String> {
    let mut failures: Vec<String> = parts(plan)
        .filter(|part| part["failure"].is_object())
        .map(|part| {
            let failure = &part["failure"];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", text(&failure["worker"]), text(&failure["code"]), text(&part["fact"]))
        })
        .collect();
    failures.sort();
    failures
}

/// The fleet settles facts for good, by the door of verified ones.
async fn settle(site: &Site, facts: &[Envelope]) {
    let admitted = site.number("select count(*) from inbox").await + facts.len() as i64;
    site.state(exchange::VERIFIED, facts.to_vec()).await;
    site.until("select count(*) from inbox", admitted).await;
    site.until(ON_THE_WAY, 0).await;
}

async fn replay_all(site: &Site, deployment: &Deployment, count: usize) {
    let count = count.to_string();
    let (status, said) = deployment.dlq(site, &["replay", "--all", "--expect", &count]).await;
    assert!(status < 2, "{said:#}");
}

/// One after the other, each with all that comes of it, as a plan does.
async fn replay_each(site: &Site, count: usize) {
    let order = ActRequest {
        by: "ada".to_owned(),
        reason: None,
        filter: Filter::default(),
        expected: Some(1),
        max: Some(1),
    };
    for _ in 0..count {
        acts::start_replay(&site.pool, &order, ReplayPace::default(), OffsetDateTime::now_utc())
            .await
            .unwrap();
        site.until("select count(*) from dead_letters where state = 'replaying'", 0).await;
        site.until(ON_THE_WAY, 0).await;
    }
}

/// Makes random letters, has them planned, replays them, and compares.
async fn a_plan_comes_true(
    site: &Site,
    deployment: &Deployment,
    (random, name): (&mut StdRng, &str),
    queues: &[&'static str],
    count: usize,
) -> BTreeMap<String, u64> {
    let story = Writer::new(name, random).write();
    let mut facts: Vec<Envelope> = story.facts.into_iter().chain(story.acts).collect();
    facts.shuffle(random);
    let untold = facts.split_off(facts.len() / 3);
    // Others of the same identity would be in its way.
    let known: BTreeSet<&Cause> = facts.iter().map(|fact| &fact.cause).collect();
    assert_eq!(known.len(), facts.len());
    settle(site, &facts).await;
    let mut morgue = Morgue { random, name: name.to_owned(), settled: facts, untold, queues, count: 0 };
    let letters: Vec<Dead> = (0..count).map(|_| morgue.letter()).collect();
    let open = "select count(*) from dead_letters where state = 'open'";
    bury(site, letters).await;
    site.until(open, count as i64).await;

    let (status, said) = deployment.dlq(site, &["plan", "--all", "--max", "500"]).await;
    assert!(status < 2 && said["planned"] == count, "{said:#}");
    let plan = &said["plan"];
    let entries = if queues == [ledger::QUEUE] { Entries::ByBook } else { Entries::Each };
    let before = Books::of(site, entries).await;
    let letters_before: Vec<String> =
        list(&plan["messages"]).map(|m| m["label"].as_str().unwrap().to_owned()).collect();
    match queues {
        [ledger::QUEUE] => replay_all(site, deployment, count).await,
        _ => replay_each(site, count).await,
    }
    site.until(ON_THE_WAY, 0).await;

    let what = format!("{name}: {:#}", plan["sums"]);
    let failures = expected_failures(plan);
    let dead = within(Duration::from_secs(10), "letters of all that failed again", async || {
        (site.number(open).await >= failures.len() as i64).then_some(())
    });
    dead.await;
    let mut failed: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', worker, code, coalesce(source || '/' || id, '-')) from dead_letters where state = 'open'",
    )
    .fetch_all(&site.pool)
    .await
    .unwrap();
    failed.sort();
    assert_eq!(named(&failed, &failures), failures, "failures, {what}");
    let became: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', letter, state, outcome) from dead_letters where letter::text = any($1) order by dead_at, letter",
    )
    .bind(&letters_before)
    .fetch_all(&site.pool)
    .await
    .unwrap();
    let expected = expected_letters(plan);
    // Of several facts in a message one is followed further than its own worker.
    let differ: Vec<_> =
        became.iter().zip(&expected).filter(|(became, expected)| !became.starts_with(*expected)).collect();
    assert!(became.len() == expected.len() && differ.is_empty(), "letters, {what}: {differ:?}");
    let (expect, got) = (before.after(plan, entries), Books::of(site, entries).await);
    let differ =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| -> Vec<String> { a.difference(b).cloned().collect() };
    assert_eq!(
        differ(&expect.journal, &got.journal),
        differ(&got.journal, &expect.journal),
        "journal, {what}"
    );
    assert_eq!(differ(&expect.events, &got.events), differ(&got.events, &expect.events), "events, {what}");
    let changed =
        expect.balances.iter().filter(|(account, balances)| got.balances.get(*account) != Some(balances));
    let changed: Vec<_> =
        changed.map(|(account, balances)| (account, balances, got.balances.get(account))).collect();
    assert!(changed.is_empty(), "balances, {changed:?}, {what}");
    assert_eq!((expect.balances.len(), expect.unassigned), (got.balances.len(), got.unassigned), "{what}");

    // The next plan begins with an empty queue.
    let order = ActRequest {
        by: "ada".to_owned(),
        reason: Some("the next".to_owned()),
        filter: Filter::default(),
        expected: None,
        max: None,
    };
    if !failures.is_empty() {
        acts::discard(&site.pool, &order, OffsetDateTime::now_utc()).await.unwrap();
    }
    let verdicts = plan["sums"]["verdicts"].as_object().unwrap();
    verdicts.iter().map(|(verdict, count)| (verdict.clone(), count.as_u64().unwrap())).collect()
}

/// A letter guesses what a message that is no fact is about; a plan calls it nothing.
fn named(failed: &[String], expected: &[String]) -> Vec<String> {
    let mut nameless: BTreeMap<String, usize> = BTreeMap::new();
    for text in expected.iter().filter(|text| text.ends_with(" -")) {
        *nameless.entry(text.clone()).or_default() += 1;
    }
    let mut named: Vec<String> = failed
        .iter()
        .map(|text| {
            if expected.contains(text) {
                return text.clone();
            }
            let without = format!("{} -", text.rsplit_once(' ').unwrap().0);
            match nameless.get_mut(&without).filter(|left| **left > 0) {
                Some(left) => {
                    *left -= 1;
                    without
                }
                None => text.clone(),
            }
        })
        .collect();
    named.sort();
    named
}

fn plans_come_true(queues: &'static [&'static str], plans: usize, letters: usize) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    run_within(LIMIT, async |site| {
        let deployment = Deployment::with(CONFIGURATION);
        let fleet = Bursar::start(&site, &deployment.settings(), &["up"]).await;
        let mut verdicts: BTreeMap<String, u64> = BTreeMap::new();
        for number in 0..plans {
            let name = format!("p{number}");
            let told = a_plan_comes_true(&site, &deployment, (&mut random, &name), queues, letters).await;
            told.into_iter().for_each(|(verdict, count)| *verdicts.entry(verdict).or_default() += count);
        }
        println!("{plans} plans of {letters} letters, BURSAR_TEST_SEED={seed}: {verdicts:?}");
        assert_eq!(verdicts.len(), 3, "letters of every fate: {verdicts:?}");
        eventually("the fleet to rest", async || (site.number(ON_THE_WAY).await == 0).then_some(())).await;
        assert!(fleet.terminate().await.success());
        let report = ledger::verify::verify(
            &site.pool,
            6,
            None,
            &facts::Readers::of(&site.topology, &site.namespace),
            &mut |_| {},
        )
        .await
        .unwrap();
        // Letters of the ledger's queue are about facts that no gate has admitted here.
        let broken: Vec<_> =
            report.checks.iter().filter(|check| !check.ok && check.name != "outcomes_admitted").collect();
        assert!(broken.is_empty(), "{broken:#?}");
    });
}

/// In one queue the order of a plan is that of the replay.
#[test]
fn a_plan_comes_true_for_letters_that_are_replayed_all_at_once() {
    plans_come_true(&[ledger::QUEUE], plans(14), LETTERS);
}

/// From several queues they are put back one after the other, for workers side by side keep no order.
#[test]
fn a_plan_comes_true_for_letters_of_every_queue() {
    plans_come_true(&[queue::INGESTER, queue::GATE, queue::GATE_INBOUND, ledger::QUEUE], plans(3), LETTERS);
}

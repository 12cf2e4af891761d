//! Random histories through the real ledger on Postgres and RabbitMQ: in random batches, with repeats, by several ledgers
//! at once and with ledgers that die, they end as in one ledger in memory.
//!
//! The seed is printed; `BURSAR_TEST_SEED` sets it, `BURSAR_TEST_HISTORIES` sets how many each test tells.

#![expect(clippy::print_stdout, reason = "a seed is there to be printed")]

pub mod end;
pub mod story;

use bus::{Decoded, Incoming, Settled, Worker, exchange, queue};
use db::Work;
use domain::fact::{Assignment, AssignmentAct, Customer, Payment};
use domain::{CustomerId, Envelope, Fact};
use end::{End, InMemory, in_the_database, rules};
use gate::{Door, Gate};
use ledger::Ledger;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use story::{Story, Writer, write_off};
use testkit::facts::{
    AT, account_id, customer, customer_id, envelope, grant, link, payment, payment_id, refund,
};
use testkit::{DeathStep, Events, Running, Site, eventually, run, run_within, within};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// A history takes a second or two; a machine that is busy with others takes its time.
const LIMIT: Duration = Duration::from_secs(120);

/// How often a ledger dies at one step: the first half of them alone, the other beside one that lives.
const DEATHS: u32 = 8;

/// SQLSTATE of a deadlock.
const DEADLOCK: &str = "40P01";

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// A random source for each history, whose seed is printed.
pub fn histories() -> impl Iterator<Item = (u64, StdRng)> {
    let first = from_environment("BURSAR_TEST_SEED").unwrap_or_else(rand::random);
    let count = from_environment("BURSAR_TEST_HISTORIES").unwrap_or(1);
    (0..count).map(move |number| {
        let seed = first.wrapping_add(number);
        println!("BURSAR_TEST_SEED={seed}");
        (seed, StdRng::seed_from_u64(seed))
    })
}

/// A ledger whose failures are counted. Nothing else may fail than what lost a deadlock.
struct Watched<const PREFETCH: u16 = { Ledger::PREFETCH }> {
    ledger: Ledger,
    deadlocks: AtomicU64,
    other: Mutex<Vec<String>>,
}

impl<const PREFETCH: u16> Watched<PREFETCH> {
    fn new(site: &Site) -> Arc<Self> {
        let ledger = Ledger::new(site.namespace.clone(), rules());
        Arc::new(Self { ledger, deadlocks: AtomicU64::new(0), other: Mutex::default() })
    }

    fn note(&self, error: &ledger::Error) {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<sqlx::Error>());
        match source.and_then(sqlx::Error::as_database_error).and_then(|error| error.code()) {
            Some(code) if code == DEADLOCK => _ = self.deadlocks.fetch_add(1, Ordering::Relaxed),
            _ => self.other.lock().unwrap().push(format!("{error}: {source:?}")),
        }
    }

    fn deadlocks(&self) -> u64 {
        let other = self.other.lock().unwrap();
        assert!(other.is_empty(), "{other:#?}");
        self.deadlocks.load(Ordering::Relaxed)
    }
}

impl<const PREFETCH: u16> Worker for Watched<PREFETCH> {
    const NAME: &'static str = Ledger::NAME;
    const PREFETCH: u16 = PREFETCH;
    const CODES: &'static [&'static str] = Ledger::CODES;

    type Item = Envelope;
    type Error = ledger::Error;

    fn queue(&self) -> &'static str {
        self.ledger.queue()
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Envelope>> {
        self.ledger.decode(message, now)
    }

    fn encode(&self, envelope: &Envelope) -> (&'static str, Vec<u8>) {
        self.ledger.encode(envelope)
    }

    fn received_at(&self, envelope: &Envelope) -> Option<OffsetDateTime> {
        self.ledger.received_at(envelope)
    }

    async fn handle(&self, work: &mut Work, envelopes: &[Envelope]) -> Result<Settled, ledger::Error> {
        self.ledger.handle(work, envelopes).await.inspect_err(|error| self.note(error))
    }
}

/// Ledgers of one lane each, as processes of their own are.
fn ledgers<const PREFETCH: u16>(site: &Site, watched: &Arc<Watched<PREFETCH>>, count: usize) -> Vec<Running> {
    (0..count).map(|_| site.start_with(watched.clone(), 1, site.context())).collect()
}

fn gate(site: &Site) -> Running {
    let gate =
        Gate::new(Door::Verified, site.namespace.clone(), processors::Settings::default(), site.readers());
    site.start(gate, 1)
}

async fn stop(workers: impl IntoIterator<Item = Running>) {
    for worker in workers {
        worker.stop().await;
    }
}

/// States facts in random order and random batches at the gate, and some of them, again, behind it: what a gate that
/// died sends twice.
async fn state(site: &Site, random: &mut StdRng, facts: &[Envelope]) {
    let mut stated: Vec<(&str, Envelope)> =
        facts.iter().map(|fact| (exchange::VERIFIED, fact.clone())).collect();
    let again = facts.choose_multiple(random, facts.len() / 4);
    stated.extend(again.map(|fact| (exchange::FACTS, fact.clone())));
    stated.shuffle(random);
    while !stated.is_empty() {
        let count = random.random_range(1..=stated.len().min(12));
        let batch: Vec<(&str, Envelope)> = stated.drain(..count).collect();
        for exchange in [exchange::FACTS, exchange::VERIFIED] {
            let facts = batch.iter().filter(|(to, _)| *to == exchange).map(|(_, fact)| fact.clone());
            site.state(exchange, facts.collect()).await;
        }
    }
}

/// Waits until so many facts have an outcome.
async fn settled(site: &Site, count: usize) {
    within(LIMIT, &format!("{count} facts to be settled"), async || {
        let settled = site.number("select count(*) from outcomes").await;
        let admitted = site.number("select count(*) from inbox").await;
        (settled == count as i64 && admitted == count as i64).then_some(())
    })
    .await;
}

/// Waits until nothing waits any more: the queues are empty, the workers stopped, the outbox swept.
async fn at_rest(site: &Site, workers: Vec<Running>) {
    for queue in [queue::GATE, ledger::QUEUE] {
        site.until_depth(queue, 0).await;
    }
    // What came back after a death lies in a lane's hands, of which no queue's depth tells: a lane that is stopped gives back
    // what it has not taken up.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stop(workers).await;
    for queue in [queue::GATE, ledger::QUEUE] {
        assert_eq!(site.depth(queue).await, 0, "everything taken from {queue} was acknowledged");
    }
    let age = "update outbox set created_at = created_at - interval '1 minute'";
    sqlx::query(age).execute(&site.owner).await.unwrap();
    let over = CancellationToken::new();
    let (namespace, pool, publisher) = (site.namespace.clone(), site.pool.clone(), site.publisher.clone());
    let sweeper = tokio::spawn(crate::publish_left(namespace, pool, publisher, over.clone()));
    site.until("select count(*) from outbox", 0).await;
    over.cancel();
    sweeper.await.unwrap();
}

/// Whatever the path was: nothing is lost, nothing has a gap, everybody was told, and the proof holds.
async fn assert_sound(site: &Site, events: &Events) {
    for (what, query) in [
        (
            "a gap in a sequence",
            "select count(*) from (select account, count(*) as count, min(sequence) as first, max(sequence) as last
                                   from events where account is not null group by account) e
             join accounts a using (account) where first <> 1 or last <> count or last <> a.sequence",
        ),
        (
            "a gap in the numbers of transactions",
            "select count(*) from (select account, count(*) as count, min(number) as first, max(number) as last
                                   from transactions group by account) t
             join accounts a using (account) where first <> 1 or last <> count or last <> a.transactions",
        ),
        (
            "an admitted fact without an outcome",
            "select count(*) from inbox i left join outcomes f using (source, id) where f.id is null",
        ),
        (
            "a fact that was refused or contradicts",
            "select count(*) from outcomes where outcome in ('refused', 'contradicts')",
        ),
    ] {
        assert_eq!(site.number(query).await, 0, "{what}");
    }
    assert_eq!(site.dead_letters().await, []);
    let stored: BTreeSet<String> = site.texts("select id::text from events").await.into_iter().collect();
    eventually("every event to be told", async || {
        let told: BTreeSet<String> = events.told().into_iter().map(|event| event.id).collect();
        stored.is_subset(&told).then_some(())
    })
    .await;
    let report = ledger::verify::verify(
        &site.pool,
        6,
        None,
        &facts::Readers::of(&site.topology, &site.namespace),
        &mut |_| {},
    )
    .await
    .unwrap();
    let broken: Vec<_> = report.checks.iter().filter(|check| !check.ok).collect();
    assert!(report.ok, "{broken:#?}");
    let rebuilt = ledger::rebuild::rebuild(&site.owner, &rules(), 10, &mut |_| {}).await.unwrap();
    assert!(rebuilt.ok, "{rebuilt:#?}");
}

/// Tells a story: its facts, then what operators do about what they see, then the debt is written off. `disturb` is given every
/// chance to get in the way while facts are being settled.
async fn tell(
    site: &Site,
    name: &str,
    story: &Story,
    random: &mut StdRng,
    mut disturb: impl AsyncFnMut(&mut StdRng),
    what: &str,
) {
    let rules = rules();
    let mut expect = InMemory::default();
    let mut told = site.number("select count(*) from outcomes").await as usize;
    for facts in [&story.facts, &story.acts] {
        state(site, random, facts).await;
        disturb(random).await;
        told += facts.len();
        settled(site, told).await;
        expect.tell(&rules, facts);
    }
    expect.end(story).assert_same(&in_the_database(site, story).await, what);

    let in_debt: Vec<_> = same_debt(&expect.end(story), &in_the_database(site, story).await)
        .into_iter()
        .map(|(account, debt)| write_off(name, &account, debt))
        .collect();
    state(site, random, &in_debt).await;
    settled(site, told + in_debt.len()).await;
    expect.tell(&rules, &in_debt);
    expect.end(story).assert_same(&in_the_database(site, story).await, what);
}

/// What is held may hide debt on one path and not on another; only what both owe can be written off alike.
fn same_debt(expect: &End, got: &End) -> Vec<(domain::AccountId, domain::Credits)> {
    let got = got.in_debt();
    expect.in_debt().into_iter().filter(|owed| got.contains(owed)).collect()
}

fn ends_as_in_memory(count: usize) {
    for (seed, mut random) in histories() {
        run_within(LIMIT, async |site| {
            let events = site.subscribe().await;
            let watched: Arc<Watched> = Watched::new(&site);
            let story = Writer::new("s", &mut random).write();
            let what = format!("{count} ledgers, BURSAR_TEST_SEED={seed}");
            // Half the time they find everything waiting, and all begin at once.
            let mut workers = Vec::new();
            if random.random_bool(0.5) {
                workers = ledgers(&site, &watched, count);
            }
            workers.push(gate(&site));
            let begin = async |_: &mut StdRng| {
                if workers.len() == 1 {
                    workers.extend(ledgers(&site, &watched, count));
                }
            };
            tell(&site, "s", &story, &mut random, begin, &what).await;
            at_rest(&site, workers).await;
            assert_sound(&site, &events).await;
            // Customers that only a payment's record names, and payments that merge, are locked out of order: a batch
            // that loses a deadlock over them is tried again, and nobody notices.
            println!("{} facts, {count} ledgers, {} deadlocks", story.facts.len(), watched.deadlocks());
        });
    }
}

#[test]
fn a_random_history_ends_as_in_memory_by_one_ledger() {
    ends_as_in_memory(1);
}

#[test]
fn a_random_history_ends_as_in_memory_by_two_ledgers() {
    ends_as_in_memory(2);
}

#[test]
fn a_random_history_ends_as_in_memory_by_four_ledgers() {
    ends_as_in_memory(4);
}

/// Accounts that are open, no customers, no merging: ids, payments and accounts are locked in one order, so four ledgers
/// at once never meet in a deadlock.
#[test]
fn what_is_locked_in_order_meets_in_no_deadlock() {
    for (seed, mut random) in histories() {
        run_within(LIMIT, async |site| {
            let events = site.subscribe().await;
            let watched: Arc<Watched> = Watched::new(&site);
            let mut workers = ledgers(&site, &watched, 4);
            workers.push(gate(&site));
            let mut writer = Writer::new("s", &mut random);
            writer.is_plain = true;
            let mut story = writer.write();
            let opening = |account: &domain::AccountId| {
                envelope(&format!("shop/open_{account}"), grant(account.as_str(), 1))
            };
            let (opening, of): (Vec<Envelope>, _) =
                (story.accounts.iter().map(opening).collect(), story.accounts.len());
            site.state(exchange::VERIFIED, opening.clone()).await;
            settled(&site, of).await;
            // In memory it is granted along with the rest.
            story.acts.extend(opening.iter().map(|told| Envelope {
                cause: domain::Cause { id: format!("{}_again", told.cause.id), ..told.cause.clone() },
                ..told.clone()
            }));
            let rules = rules();
            let mut expect = InMemory::default();
            expect.tell(&rules, &opening);
            let mut told = of;
            for facts in [&story.facts, &story.acts] {
                state(&site, &mut random, facts).await;
                told += facts.len();
                settled(&site, told).await;
                expect.tell(&rules, facts);
            }
            let what = format!("BURSAR_TEST_SEED={seed}");
            expect.end(&story).assert_same(&in_the_database(&site, &story).await, &what);
            at_rest(&site, workers).await;
            assert_sound(&site, &events).await;
            assert_eq!(watched.deadlocks(), 0, "{what}");
        });
    }
}

/// A ledger dies at one step of its way, batch after batch, while another works beside it: whichever step it was, the
/// end is the same.
#[test]
fn a_ledger_that_dies_between_any_two_steps_changes_nothing_in_the_end() {
    for (seed, mut random) in histories() {
        run_within(LIMIT, async |site| {
            let events = site.subscribe().await;
            let watched: Arc<Watched> = Watched::new(&site);
            let mut died = Vec::new();
            for (number, step) in DeathStep::ALL.into_iter().enumerate() {
                let name = format!("s{number}");
                let story = Writer::new(&name, &mut random).write();
                let what = format!("dying at {step:?}, BURSAR_TEST_SEED={seed}");
                let admitting = gate(&site);
                let mut beside = Vec::new();
                let mut deaths = 0;
                let dying = async |random: &mut StdRng| {
                    if !beside.is_empty() {
                        return;
                    }
                    eventually("the gate to have admitted", async || {
                        (site.depth(ledger::QUEUE).await >= DEATHS).then_some(())
                    })
                    .await;
                    // What it leaves comes again first: each takes more than the one before, else it had nothing new.
                    let mut messages = 0;
                    for death in 0.. {
                        // At the beginning it may have taken nothing yet that has an event.
                        if death >= DEATHS / 2 && deaths > 0 && beside.is_empty() {
                            beside = ledgers(&site, &watched, 1);
                        }
                        if death >= DEATHS && deaths > 0 {
                            break;
                        }
                        messages += random.random_range(1..4);
                        deaths += u32::from(site.dies_at(step, watched.as_ref(), messages).await);
                    }
                };
                tell(&site, &name, &story, &mut random, dying, &what).await;
                at_rest(&site, beside.into_iter().chain([admitting]).collect()).await;
                died.push((step, deaths));
            }
            println!("{died:?}");
            assert!(died.iter().all(|(_, deaths)| *deaths > 0), "{died:?}");
            watched.deadlocks();
            assert_sound(&site, &events).await;
        });
    }
}

/// Two ledgers of two lanes are killed at random moments, with their connections, and others take their place.
#[test]
fn ledgers_that_are_killed_at_random_change_nothing_in_the_end() {
    for (seed, mut random) in histories() {
        run_within(LIMIT, async |site| {
            let events = site.subscribe().await;
            let watched: Arc<Watched> = Watched::new(&site);
            let admitting = gate(&site);
            let story = Writer::new("s", &mut random).write();
            let count = story.facts.len() as i64;
            let killing = async |random: &mut StdRng| {
                let mut moments: Vec<i64> = (0..5).map(|_| random.random_range(0..count)).collect();
                moments.sort();
                for moment in moments {
                    let mortals = [(); 2].map(|()| site.start_mortal(watched.clone(), 2));
                    eventually("some more facts to be settled", async || {
                        (site.number("select count(*) from outcomes").await >= moment).then_some(())
                    })
                    .await;
                    mortals.into_iter().for_each(testkit::Mortal::kill);
                }
            };
            let mut after = Vec::new();
            let disturb = async |random: &mut StdRng| {
                if after.is_empty() {
                    killing(random).await;
                    after = ledgers(&site, &watched, 2);
                }
            };
            tell(&site, "s", &story, &mut random, disturb, &format!("BURSAR_TEST_SEED={seed}")).await;
            at_rest(&site, after.into_iter().chain([admitting]).collect()).await;
            assert_sound(&site, &events).await;
        });
    }
}

/// Whoever waits in Postgres for a lock.
const WAITING: &str = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";

/// A movement knows the customer whom its payment's record names only once it has read that payment; the customer's link
/// locks the customer and then the payments that wait for it. Both lock the customer first, so that they cannot deadlock.
#[test]
fn a_payments_customer_is_foreseen_and_locked_before_it() {
    run(async |site| {
        // One message each: whoever waits takes no other.
        let watched = Watched::<1>::new(&site);
        let bought = Payment {
            account: None,
            customer: Some(customer_id("paddle:ctm_1")),
            ..payment("txn_1", "unused")
        };
        let first = ledgers(&site, &watched, 1);
        site.state(exchange::FACTS, vec![envelope("paddle/evt_1", Fact::Payment(bought))]).await;
        site.until("select count(*) from payments where state = 'undelivered'", 1).await;
        stop(first).await;

        // Somebody holds the payment until the movement's ledger waits for it and the link's for what that holds.
        let mut holding = site.pool.begin().await.unwrap();
        sqlx::query("select from payments for update").execute(&mut *holding).await.unwrap();
        let both = ledgers(&site, &watched, 2);
        let moved = Fact::Movement(refund("adj_1", "txn_1", 400));
        site.state(exchange::FACTS, vec![envelope("paddle/evt_2", moved)]).await;
        site.until(WAITING, 1).await;
        let linked = customer("paddle:ctm_1", "acct_1");
        site.state(exchange::FACTS, vec![envelope("paddle/evt_3", linked)]).await;
        site.until(WAITING, 2).await;
        holding.commit().await.unwrap();

        site.until("select count(*) from outcomes", 3).await;
        stop(both).await;
        assert_eq!(watched.deadlocks(), 0);
        assert_eq!(site.dead_letters().await, []);
        let balances = "select concat_ws(' / ', trim_scale(available), trim_scale(held), trim_scale(debt)) from accounts";
        assert_eq!(site.texts(balances).await, ["630 / 0 / 0"]);
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
    });
}

/// A customer's address changes, and the event that tells the old one comes last: the new one is kept.
#[test]
fn a_customers_address_is_the_latest_whatever_the_order() {
    let (old, new) = (CustomerId::of_email("old@example.com"), CustomerId::of_email("new@example.com"));
    let ctm = customer_id("paddle:ctm_1");
    let said = |customer: &CustomerId, email: Option<CustomerId>, account: Option<&str>, minute| {
        Fact::Customer(Customer {
            reason: None,
            customer: customer.clone(),
            email,
            account: account.map(link),
            occurred_at: AT + time::Duration::minutes(minute),
        })
    };
    let facts = [
        said(&ctm, old, None, 0),
        said(&ctm, new.clone(), None, 1),
        said(&new.unwrap(), None, Some("acct_1"), 2),
        Fact::Payment(Payment { account: None, customer: Some(ctm.clone()), ..payment("txn_1", "unused") }),
    ];
    for order in [[0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0], [3, 1, 0, 2]] {
        assert_eq!(worth_of("acct_1", order.map(|place| &facts[place])), 1050, "{order:?}");
    }
}

/// Two operators move one payment, and the later word comes first: it stays where that brought it.
#[test]
fn the_last_move_of_a_payment_stands_whatever_the_order() {
    let moved = |account: &str, minute| {
        Fact::Assignment(Assignment {
            by_todays_catalog: false,
            payment: payment_id("paddle:txn_1"),
            act: AssignmentAct::Move,
            account: Some(account_id(account)),
            credits: None,
            reason: "bought for the other".to_owned(),
            by: "ada".to_owned(),
            occurred_at: AT + time::Duration::minutes(minute),
        })
    };
    let facts = [Fact::Payment(payment("txn_1", "acct_1")), moved("acct_2", 1), moved("acct_3", 2)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]] {
        let told = order.map(|place| &facts[place]);
        let worth = ["acct_1", "acct_2", "acct_3"].map(|account| worth_of(account, told));
        assert_eq!(worth, [0, 0, 1050], "{order:?}");
    }
}

/// What an account can spend after facts in this order, in memory.
fn worth_of<const N: usize>(account: &str, facts: [&Fact; N]) -> i64 {
    let numbered = facts.iter().enumerate();
    let told: Vec<Envelope> =
        numbered.map(|(number, fact)| envelope(&format!("any/{number}"), (*fact).clone())).collect();
    let accounts = vec![account_id(account)];
    let mut memory = InMemory::default();
    memory.tell(&rules(), &told);
    let story = Story { facts: told, acts: Vec::new(), accounts, payments: Vec::new() };
    let [available, ..] = memory.end(&story).balances[account];
    available.to_string().parse().unwrap()
}

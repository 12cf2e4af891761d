//! What went wrong elsewhere at this very job, and what must hold here: a test for each that needs the workers.
//!
//! Those that the pure rule alone decides stand beside it, in `domain`.

use crate::histories::story::Writer;
use crate::ledger::{
    STRIPE_OBJECTS, assert_proved, balances, kinds, ledger_with, moved, one, outcomes, paid, spent,
    stripe_event, without_account,
};
use bus::{Verdict, Worker, exchange};
use db::Work;
use domain::fact::{Movement, MovementStatus, Payment, PaymentStatus};
use domain::{Cause, Envelope, Fact};
use gate::{Door, Gate};
use ledger::Ledger;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::AssertSqlSafe;
use std::path::Path;
use testkit::facts::{catalog, envelope, grant, payment, refund, usage};
use testkit::{Running, Site, run};
use time::OffsetDateTime;

const SETTLED: &str = "select count(*) from outcomes";

/// The rules whose tests stand where their subject is: the mistake, the file, the test.
const ELSEWHERE: [(&str, &str, &str); 8] = [
    (
        "an event that was published after its commit, and lost",
        "ledger",
        "what_a_crash_left_in_the_outbox_the_sweeper_publishes",
    ),
    (
        "an answer before anything was durable",
        "door",
        "while_rabbitmq_is_away_deliveries_are_kept_in_postgres_and_published_later",
    ),
    (
        "an answer before anything was durable",
        "door",
        "with_both_away_the_sender_is_told_to_come_again_in_time",
    ),
    (
        "a signature that was stale in the queue",
        "door",
        "a_gateways_delivery_is_verified_against_the_time_at_which_it_arrived",
    ),
    (
        "a retry that was counted again",
        "crash",
        "a_fleet_that_is_killed_again_and_again_credits_every_purchase_exactly_once",
    ),
    (
        "a retry that was counted again",
        "gate",
        "a_delivery_is_admitted_once_however_many_gates_and_lanes_there_are",
    ),
    (
        "a paid purchase that other events told again",
        "ledger",
        "a_fact_told_again_by_other_events_has_one_effect",
    ),
    (
        "a claim without its effect",
        "histories",
        "a_ledger_that_dies_between_any_two_steps_changes_nothing_in_the_end",
    ),
];

#[test]
fn every_mistake_whose_test_stands_elsewhere_has_it() {
    for (mistake, file, test) in ELSEWHERE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).with_extension("rs");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{mistake}: no {test} in tests/{file}.rs");
    }
}

/// The gate and a ledger, both with one lane.
fn fleet(site: &Site) -> [Running; 2] {
    let gate =
        Gate::new(Door::Verified, site.namespace.clone(), processors::Settings::default(), site.readers());
    [site.start(gate, 1), one(site)]
}

async fn stop(workers: [Running; 2]) {
    for worker in workers {
        worker.stop().await;
    }
}

fn ledger(site: &Site) -> Ledger {
    ledger_with(site, catalog())
}

/// Settles facts as one batch, as a lane does up to its commit. Returns the verdicts, how many events it would publish,
/// and how many statements it took.
async fn settle(site: &Site, ledger: &Ledger, facts: &[Envelope]) -> (Vec<Verdict>, usize, u64) {
    let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
    let settled = ledger.handle(&mut work, facts).await.unwrap();
    let statements = work.statements();
    work.commit().await.unwrap();
    let events = settled.emitted.map_or(0, |emitted| emitted.messages.len());
    (settled.verdicts, events, statements)
}

/// Each retry of a webhook added its credits again (opencode, AutoGPT, llmgateway).
#[test]
fn a_webhook_that_is_retried_adds_its_credits_once() {
    run(async |site| {
        let workers = fleet(&site);
        let webhook = paid("evt_1", payment("txn_1", "acct_1"));
        for _ in 0..5 {
            site.state(exchange::VERIFIED, vec![webhook.clone()]).await;
        }
        site.until("select coalesce(sum(repeats), 0)::bigint from inbox", 4).await;
        site.until(SETTLED, 1).await;
        stop(workers).await;
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_proved(&site).await;
    });
}

/// An event that gave no credits marked its purchase as done, and the one that would have was taken for a repeat
/// (hackerai): a purchase is known by its own identity, and what is missing is posted.
#[test]
fn an_event_that_gave_no_credits_does_not_mark_its_purchase_done() {
    run(async |site| {
        let workers = fleet(&site);
        let described = |status| Payment { status, ..payment("txn_1", "acct_1") };
        let told = [
            paid("evt_1", described(PaymentStatus::Pending)),
            paid("evt_2", Payment { account: None, ..described(PaymentStatus::Paid) }),
            paid("evt_3", described(PaymentStatus::Paid)),
            paid("evt_4", described(PaymentStatus::Paid)),
        ];
        for (number, fact) in told.into_iter().enumerate() {
            assert_eq!(site.number("select count(*) from lots").await, if number < 3 { 0 } else { 2 });
            site.state(exchange::VERIFIED, vec![fact]).await;
            site.until(SETTLED, number as i64 + 1).await;
        }
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        stop(workers).await;
        assert_proved(&site).await;
    });
}

/// The marker was committed and the message was not (eliza, lago); the claim was made and the usage never counted
/// (openmeter): whichever statement fails, nothing of its batch holds, and the next attempt does all of it once.
#[test]
fn state_message_and_claim_are_one_transaction() {
    const TABLES: [&str; 6] = ["payments", "accounts", "lots", "outcomes", "events", "outbox"];
    run(async |site| {
        let facts = [paid("evt_1", payment("txn_1", "acct_1")), spent("use_1", "acct_1", 50)];
        for table in TABLES {
            rename(&site, table, &format!("{table}_away")).await;
            let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
            let failed = ledger(&site).handle(&mut work, &facts).await;
            work.abandon().await;
            rename(&site, &format!("{table}_away"), table).await;
            assert!(failed.is_err(), "without {table}");
            for left in TABLES {
                let count = format!("select count(*) from {left}");
                let count: i64 =
                    sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&site.pool).await.unwrap();
                assert_eq!(count, 0, "{left} holds something of a batch that failed without {table}");
            }
        }
        let (_, events, _) = settle(&site, &ledger(&site), &facts).await;
        assert_eq!(balances(&site, "acct_1").await, "1000 / 0 / 0");
        assert_eq!(site.number("select cardinality(events)::bigint from outbox").await, events as i64);
    });
}

async fn rename(site: &Site, from: &str, to: &str) {
    let statement = format!("alter table {from} rename to {to}");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&site.owner).await.unwrap();
}

/// A client library repeated a request by itself, and funds were applied twice (midaz): a batch that is carried out
/// again, whole or in parts, changes no row.
#[test]
fn every_statement_is_safe_to_repeat() {
    run(async |site| {
        let mut random = StdRng::seed_from_u64(7);
        let story = Writer::new("s", &mut random).write();
        let ledger = ledger(&site);
        let (verdicts, events, _) = settle(&site, &ledger, &story.facts).await;
        assert!(events > 0 && !verdicts.contains(&Verdict::Done(domain::Outcome::Repeated)));
        let rows = "select md5(string_agg(t::text, ' ' order by t::text)) from (
                        select p::text from payments p union all select a::text from accounts a
                        union all select l::text from lots l union all select t::text from transactions t
                        union all select e::text from events e union all select f::text from outcomes f
                        union all select c::text from customers c union all select o::text from outbox o) t";
        let before = site.texts(rows).await;
        for part in [&story.facts[..], &story.facts[..9], &story.facts[30..]] {
            let (verdicts, events, _) = settle(&site, &ledger, part).await;
            assert!(
                events == 0
                    && verdicts.iter().all(|verdict| *verdict == Verdict::Done(domain::Outcome::Repeated))
            );
            assert_eq!(site.texts(rows).await, before);
        }
    });
}

/// A repeated refund was answered as a conflict, and the first refund was reversed (blnk): told again, in the same words
/// or by an older state, it is a no-op, and the payment answers the same.
#[test]
fn a_refund_told_again_is_a_no_op_with_the_same_answer() {
    run(async |site| {
        let ledger = ledger(&site);
        settle(&site, &ledger, &[paid("evt_1", payment("txn_1", "acct_1"))]).await;
        let told = refund("adj_1", "txn_1", 400);
        let older = Movement { status: MovementStatus::Pending, ..told.clone() };
        let again =
            [("evt_2", &told), ("evt_2", &told), ("evt_3", &told), ("evt_4", &older), ("evt_5", &told)];
        let answer = "select concat_ws(' ', state, trim_scale(reversed_amount), trim_scale(held_amount)) from payments";
        for (place, (id, movement)) in again.into_iter().enumerate() {
            settle(&site, &ledger, &[moved(id, movement.clone())]).await;
            assert_eq!(balances(&site, "acct_1").await, "630 / 0 / 0", "time {place}");
            assert_eq!(site.texts(answer).await, ["delivered 4 0"], "time {place}");
        }
        assert_eq!(
            outcomes(&site).await,
            [
                "paddle/evt_1 applied",
                "paddle/evt_2 applied",
                "paddle/evt_3 no_op",
                "paddle/evt_4 no_op",
                "paddle/evt_5 no_op"
            ]
        );
        assert_eq!(site.number("select count(*) from transactions where kind = 'reversal'").await, 1);
        assert_proved(&site).await;
    });
}

/// A new value of an enum broke the webhook (django-paddle-billing): it is kept with what was not understood, is no dead
/// letter, and what came with it goes on.
#[test]
fn an_unknown_value_is_kept_and_reported_and_breaks_nothing() {
    run(async |site| {
        let workers = fleet(&site);
        let mut told = stripe_event("charge.dispute.created.unknown_status", 1);
        told.extend(STRIPE_OBJECTS.into_iter().flat_map(|name| stripe_event(name, 1)));
        let count = told.len() as i64;
        site.state_each(exchange::VERIFIED, told).await;
        site.until("select count(*) from inbox", count).await;
        site.until(SETTLED, 3).await;
        stop(workers).await;
        let kept = "select fact::json ->> 'detail' from inbox where kind = 'fact.unrecognised'";
        assert_eq!(
            site.texts(kept).await,
            ["data.object.status: expected a dispute's status, got arbitration"]
        );
        let raw = "select count(*) from raw_deliveries r join inbox i using (source, id) where kind = 'fact.unrecognised'";
        assert_eq!(site.number(raw).await, 1, "a later version can read it again");
        assert_eq!(site.dead_letters().await, []);
        assert_eq!(balances(&site, "acct_1").await, "1050 / 0 / 0");
        assert_proved(&site).await;
    });
}

/// Customers were charged and not credited for weeks, and somebody found it by hand (recoupable): every such payment is
/// told at once, and counted, with its age, until it is delivered.
#[test]
fn a_payment_that_gave_no_credits_raises_an_alarm_by_itself() {
    run(async |site| {
        let events = site.subscribe().await;
        let workers = fleet(&site);
        let mut unknown = payment("txn_2", "acct_2");
        unknown.items[0].price = "pri_unknown".to_owned();
        let told = [paid("evt_1", without_account("txn_1", "paddle:ctm_1")), paid("evt_2", unknown)];
        site.state_each(exchange::VERIFIED, told.to_vec()).await;
        let alarms = events.until(2).await;
        site.until(SETTLED, 2).await;
        stop(workers).await;
        assert_eq!(kinds(&alarms), ["payment.undelivered", "payment.undelivered"]);
        let reasons: Vec<_> = alarms.iter().map(|alarm| alarm.data["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons, ["account_unknown", "price_unknown"]);
        let mut connection = site.pool.acquire().await.unwrap();
        let gauges = ::ledger::read::gauges(&mut connection).await.unwrap();
        assert!(gauges.undelivered == 2 && gauges.undelivered_since.is_some(), "{gauges:?}");
    });
}

/// The refund of one of two payments for the same thing voided the whole order (pretix): a reversal belongs to the
/// payment that it names, and takes nothing of its twin.
#[test]
fn a_reversal_belongs_to_one_payment() {
    run(async |site| {
        let ledger = ledger(&site);
        let twins = ["txn_1", "txn_2"].map(|transaction| paid(transaction, payment(transaction, "acct_1")));
        settle(&site, &ledger, &twins).await;
        settle(&site, &ledger, &[spent("use_1", "acct_1", 300)]).await;
        settle(&site, &ledger, &[moved("evt_3", refund("adj_1", "txn_2", 1000))]).await;
        assert_eq!(balances(&site, "acct_1").await, "750 / 0 / 0");
        let reversed =
            "select payment || ' ' || trim_scale(sum(reversed)) from lots group by payment order by payment";
        assert_eq!(site.texts(reversed).await, ["paddle:txn_1 0", "paddle:txn_2 1050"]);
        assert_eq!(
            site.texts("select payment || ' ' || trim_scale(reversed_amount) from payments order by payment")
                .await,
            ["paddle:txn_1 0", "paddle:txn_2 10"]
        );
        assert_proved(&site).await;
    });
}

/// A lost dispute was recorded as won, because the event's name said that it was closed (hyperswitch): the object says how.
#[test]
fn a_dispute_ends_as_its_object_says_and_not_as_its_event_is_called() {
    run(async |site| {
        let ledger = ledger(&site);
        let ends = [
            (1, "charge.dispute.closed.lost", "0 / 0 / 0"),
            (2, "charge.dispute.closed.won", "1050 / 0 / 0"),
            (3, "charge.dispute.funds_reinstated.lost", "0 / 0 / 0"),
            (4, "charge.dispute.closed.inquiry", "1050 / 0 / 0"),
        ];
        for (number, end, expect) in ends {
            let begin = STRIPE_OBJECTS.into_iter().chain(["charge.dispute.created"]);
            let facts: Vec<Envelope> = begin
                .chain([end])
                .flat_map(|name| stripe_event(name, number))
                .map(|fact| of_dispute(fact, number))
                .collect();
            settle(&site, &ledger, &facts).await;
            assert_eq!(balances(&site, &format!("acct_{number}")).await, expect, "{end}");
        }
        assert_proved(&site).await;
    });
}

/// The payloads of disputes are of one dispute each: here they are all about the same.
fn of_dispute(mut envelope: Envelope, number: usize) -> Envelope {
    if let Fact::Movement(movement) = &mut envelope.fact {
        movement.movement = format!("du_{number}");
    }
    envelope
}

/// Most of the database's time went into waiting for the lock of one hot account (cala): a batch folds it in memory, so
/// that its statements depend neither on its size nor on how many accounts it touches.
#[test]
fn statements_of_a_batch_depend_neither_on_its_size_nor_on_its_accounts() {
    run(async |site| {
        let ledger = ledger(&site);
        let opening: Vec<Envelope> = (0..500)
            .map(|number| envelope(&format!("shop/open_{number}"), grant(&account(number), 10_000)))
            .collect();
        // The rules are recorded with the first batch, and known to be with the second.
        for batch in opening.chunks(250) {
            settle(&site, &ledger, batch).await;
        }
        let mut batches = 0;
        let mut statements = async |facts: usize, accounts: usize, buys: bool| {
            batches += 1;
            let batch: Vec<Envelope> = (0..facts)
                .map(|number| {
                    let account = account(number % accounts);
                    let fact = match buys {
                        true => Fact::Payment(payment(&format!("txn_{batches}_{number}"), &account)),
                        false => usage(&account, 1),
                    };
                    Envelope {
                        cause: Cause { source: "any".to_owned(), id: format!("{batches}_{number}") },
                        ..envelope("any/any", fact)
                    }
                })
                .collect();
            settle(&site, &ledger, &batch).await.2
        };
        for buys in [false, true] {
            let one = statements(1, 1, buys).await;
            for (facts, accounts) in [(10, 1), (10, 10), (500, 1), (500, 500)] {
                assert_eq!(
                    statements(facts, accounts, buys).await,
                    one,
                    "{facts} facts of {accounts} accounts, purchases: {buys}"
                );
            }
        }
        assert_proved(&site).await;
    });
}

fn account(number: usize) -> String {
    format!("acct_{number}")
}

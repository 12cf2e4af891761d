//! The proofs themselves: `ledger verify` catches every kind of corruption and names it, `ledger rebuild` replays every
//! fact to the same hash and shows what differs, and the journal refuses to be changed.

use bus::exchange;
use domain::fact::{
    Adjustment, AdjustmentKind, Assignment, AssignmentAct, Customer, Expiry, Grant, GrantKind, MovementKind,
    MovementStatus,
};
use domain::ledger::Rules;
use domain::{Credits, CustomerId, Envelope, Fact};
use gate::{Door, Gate};
use ledger::rebuild::{Rebuilt, rebuild};
use ledger::verify::{Report, verify};
use sqlx::AssertSqlSafe;
use std::time::Duration;
use testkit::facts::{
    AT, account_id, catalog, customer_id, envelope, link, payment, payment_id, refund, usage,
};
use testkit::{Running, Site, run};
use time::OffsetDateTime;

/// The gate and two ledgers with two lanes each.
fn fleet(site: &Site) -> [Running; 3] {
    let gate =
        Gate::new(Door::Verified, site.namespace.clone(), processors::Settings::default(), site.readers());
    let ledger = || ledger::Ledger::new(site.namespace.clone(), Rules::new(catalog()));
    [site.start(gate, 1), site.start(ledger(), 2), site.start(ledger(), 2)]
}

fn credits(text: &str) -> Credits {
    Credits::new(text.parse().unwrap())
}

async fn verified(site: &Site) -> Report {
    verify(&site.pool, 6, None, &facts::Readers::of(&site.topology, &site.namespace), &mut |_| {})
        .await
        .unwrap()
}

async fn rebuilt(site: &Site) -> Rebuilt {
    rebuild(&site.owner, &Rules::new(catalog()), 100, &mut |_| {}).await.unwrap()
}

/// Movements, usage, grants, operators' acts, a link by address and an expiry: a bit of everything, `a` to `c`.
fn history() -> Vec<Envelope> {
    let mut number = 0;
    let mut fact = |fact: Fact| {
        number += 1;
        envelope(&format!("paddle/evt_{number:03}"), fact)
    };
    let mut stranger = payment("txn_3", "nobody");
    stranger.account = None;
    stranger.customer = Some(customer_id("paddle:ctm_1"));
    let by_address = Customer {
        reason: None,
        customer: customer_id("paddle:ctm_1"),
        email: CustomerId::of_email("jane@example.com"),
        account: None,
        occurred_at: AT,
    };
    let address = Customer {
        reason: None,
        customer: CustomerId::of_email("jane@example.com").unwrap(),
        email: None,
        account: Some(link("c")),
        occurred_at: AT,
    };
    let mut pending = refund("adj_2", "txn_2", 400);
    pending.status = MovementStatus::Pending;
    let mut chargeback = refund("adj_3", "txn_1", 1000);
    chargeback.kind = MovementKind::Chargeback;
    let expiring = Grant {
        account: account_id("b"),
        credits: credits("75.5"),
        kind: GrantKind::Promotional,
        reason: "welcome".to_owned(),
        expires_at: Some(AT),
        by: None,
    };
    let adjustment = |account: &str, amount: &str, kind| Adjustment {
        account: account_id(account),
        credits: credits(amount),
        kind,
        reason: "counted twice".to_owned(),
        by: "ada".to_owned(),
    };
    let moved = Assignment {
        by_todays_catalog: false,
        payment: payment_id("paddle:txn_2"),
        act: AssignmentAct::Move,
        account: Some(account_id("b")),
        credits: None,
        reason: "bought for the other".to_owned(),
        by: "ada".to_owned(),
        occurred_at: AT,
    };
    vec![
        fact(Fact::Payment(payment("txn_1", "a"))),
        fact(Fact::Payment(payment("txn_2", "a"))),
        fact(Fact::Payment(stranger)),
        fact(Fact::Customer(by_address)),
        fact(Fact::Customer(address)),
        fact(usage("a", 1600)),
        fact(usage("c", 10)),
        fact(Fact::Movement(refund("adj_1", "txn_1", 333))),
        fact(Fact::Movement(pending)),
        fact(Fact::Movement(chargeback)),
        fact(Fact::Grant(expiring)),
        fact(usage("b", 5)),
        fact(Fact::Expiry(Expiry { account: account_id("b"), as_of: AT })),
        fact(Fact::Adjustment(adjustment("c", "12.25", AdjustmentKind::Correction))),
        fact(Fact::Adjustment(adjustment("c", "-2", AdjustmentKind::Correction))),
        fact(Fact::Adjustment(adjustment("a", "100", AdjustmentKind::WriteOff))),
        fact(Fact::Assignment(moved)),
        fact(Fact::Movement(refund("adj_4", "txn_3", 100))),
    ]
}

/// Tells the history through gate and ledgers, fact after fact, and ends with everything published.
async fn tell(site: &Site, facts: Vec<Envelope>) {
    let workers = fleet(site);
    for (number, fact) in facts.into_iter().enumerate() {
        site.state(exchange::VERIFIED, vec![fact]).await;
        site.until("select count(*) from outcomes", number as i64 + 1).await;
    }
    site.until("select count(*) from outbox", 0).await;
    for worker in workers {
        worker.stop().await;
    }
}

async fn change(site: &Site, statements: &str) {
    let mut transaction = site.owner.begin().await.unwrap();
    // Only whoever owns the tables can go past their triggers and what was revoked from him.
    let statements = format!(
        "grant all on transactions to current_user;
         alter table transactions disable trigger user; alter table events disable trigger user; {statements}"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Each after those that refer to it.
const TABLES: [&str; 10] = [
    "inbox",
    "outcomes",
    "payments",
    "accounts",
    "lots",
    "transactions",
    "events",
    "outbox",
    "rules_versions",
    "catalog_versions",
];

async fn keep(site: &Site) {
    for table in TABLES {
        change(site, &format!("create table kept_{table} as select * from {table}")).await;
    }
}

async fn restore(site: &Site) {
    let mut statements: Vec<String> = TABLES.map(|table| format!("delete from {table}")).to_vec();
    statements.extend(TABLES.iter().rev().map(|table| {
        let overriding = if *table == "outcomes" { "overriding system value" } else { "" };
        format!("insert into {table} {overriding} select * from kept_{table}")
    }));
    change(site, &statements.join("; ")).await;
}

#[test]
fn every_kind_of_corruption_is_caught_and_its_culprit_named() {
    run(async |site| {
        tell(&site, history()).await;
        let report = verified(&site).await;
        assert!(report.ok, "{report:#?}");
        keep(&site).await;
        // What is done to the database, the check that catches it, and whom it names.
        let corruptions = [
            (
                "an edited amount",
                "update transactions set entries = jsonb_set(entries::jsonb, '{1,2}', '\"1001\"') where (account, number) = ('a', 1)",
                "transactions_balance",
                "a #1",
            ),
            (
                "two edited amounts that balance",
                "update transactions t set entries = (select json_agg(json_build_array(book, lot, (amount * 2)::text) order by line)
                                                      from entries e where (e.account, e.number) = (t.account, t.number))
                   where (account, number) = ('a', 2)",
                "transactions_chained",
                "a #2",
            ),
            (
                "a deleted entry",
                "update transactions set entries = entries::jsonb - 0 where (account, number) = ('a', 1)",
                "transactions_balance",
                "a #1",
            ),
            (
                "a deleted transaction",
                "delete from transactions where (account, number) = ('c', 2)",
                "transactions_numbered",
                "c",
            ),
            (
                "a broken chain",
                "update transactions set cause_id = 'evt_forged' where (account, number) = ('a', 2)",
                "transactions_chained",
                "a #2",
            ),
            (
                "another head",
                "update accounts set head = decode(repeat('ab', 32), 'hex') where account = 'b'",
                "transactions_chained",
                "b",
            ),
            (
                "a lot that does not add up",
                "alter table lots drop constraint lots_check;
                 update lots set remaining = remaining + 0.000001 where lot = 'paddle:txn_3#purchase'",
                "lots",
                "paddle:txn_3#purchase",
            ),
            (
                "a balance that is not the sum of its entries",
                "update accounts set available = available + 1 where account = 'c'",
                "balances",
                "c",
            ),
            (
                "a payment whose reversal is off by the smallest unit",
                "update lots set reversed = reversed - 0.000001, consumed = consumed + 0.000001
                   where lot = 'paddle:txn_3#purchase'",
                "payments",
                "paddle:txn_3",
            ),
            (
                "a gap in a sequence",
                "delete from events where (account, sequence) = ('a', 2)",
                "events_numbered",
                "a",
            ),
            (
                "an event that says something else",
                "update events set data = replace(data::text, '1050', '1051')::json where (account, sequence) = ('a', 1)",
                "events_chained",
                "a event 1",
            ),
            (
                "an event of another time",
                "update events set time = time + interval '1 microsecond' where (account, sequence) = ('c', 1)",
                "events_chained",
                "c event 1",
            ),
            (
                "an event that is missing",
                "delete from events where (account, sequence) = ('a', 2)",
                "events_chained",
                "a event 2",
            ),
            (
                "the last event missing, and the account's number with it",
                "delete from events e using accounts a where (e.account, e.sequence) = (a.account, a.sequence) and a.account = 'b';
                 update accounts set sequence = sequence - 1 where account = 'b'",
                "events_chained",
                "b event",
            ),
            (
                "two events that changed places",
                "update events set sequence = 1000 where (account, sequence) = ('a', 2);
                 update events set sequence = 2 where (account, sequence) = ('a', 3);
                 update events set sequence = 3 where (account, sequence) = ('a', 1000)",
                "events_chained",
                "a event 3",
            ),
            (
                "an event of no account that says something else",
                "update events set data = '{}' where account is null",
                "events_chained",
                "event ",
            ),
            (
                "another head of the events",
                "update accounts set events_head = decode(repeat('ab', 32), 'hex') where account = 'b'",
                "events_chained",
                "b event",
            ),
            (
                "a catalog that grants more than its name says",
                "update catalog_versions set content = replace(content::text, '1000', '1001')::jsonb",
                "rules_named",
                "catalog ",
            ),
            (
                "rules of another scale than their name says",
                "update rules_versions set content = jsonb_set(content, '{scale}', '5')",
                "rules_named",
                "rules ",
            ),
            (
                "an accepted delivery without an outcome",
                "update inbox set admitted_at = admitted_at - interval '1 hour';
                 delete from outcomes where id = 'evt_006'",
                "facts_settled",
                "paddle/evt_006",
            ),
            (
                "an outcome that nobody admitted",
                "update outcomes set settled_at = settled_at - interval '1 hour';
                 delete from inbox where id = 'evt_007'",
                "outcomes_admitted",
                "paddle/evt_007",
            ),
            (
                "a usage of another amount than was stated",
                "update inbox set fact = replace(fact, '1600', '1500') where id = 'evt_006'",
                "facts_posted",
                "paddle/evt_006",
            ),
            (
                "a usage of another account than was stated",
                "update inbox set fact = replace(fact, '\"a\"', '\"b\"') where id = 'evt_006'",
                "facts_posted",
                "paddle/evt_006",
            ),
            (
                "a fact that was changed after it was admitted",
                "update inbox set fact = replace(fact, 'paid', 'pending') where id = 'evt_001'",
                "facts_intact",
                "paddle/evt_001",
            ),
            (
                "a payment whose record is gone",
                "delete from payments where payment = 'paddle:txn_3'",
                "payments_known",
                "paddle/evt_003",
            ),
            (
                "a lot of somebody else",
                "update lots set account = 'c' where lot = 'paddle:txn_1#purchase'",
                "lots_owned",
                "paddle:txn_1#purchase",
            ),
            (
                "credits beside debt",
                "alter table accounts drop constraint accounts_check;
                 update accounts set available = 1, debt = 1 where account = 'a'",
                "credits_beside_debt",
                "a",
            ),
            (
                "an event that never went out",
                "insert into outbox select id, now() - interval '1 hour', array[id] from events limit 1",
                "events_published",
                "event",
            ),
        ];
        for (what, statements, expect_check, expect_culprit) in corruptions {
            change(&site, statements).await;
            let report = verified(&site).await;
            let check = report.checks.iter().find(|check| check.name == expect_check).unwrap();
            let named = check.failed.iter().any(|culprit| culprit.subject.starts_with(expect_culprit));
            assert!(!report.ok && !check.ok && named, "{what}: {check:#?}");
            restore(&site).await;
        }
        assert!(verified(&site).await.ok);
    });
}

#[test]
fn a_rebuild_of_a_sound_ledger_ends_in_the_same_hashes() {
    run(async |site| {
        tell(&site, history()).await;
        let rebuilt = rebuilt(&site).await;
        assert!(rebuilt.ok, "{rebuilt:#?}");
        assert_eq!((rebuilt.facts, rebuilt.missing, rebuilt.without_rules), (18, 0, 0));
        let schemas = "select count(*) from pg_namespace where nspname like 'bursar_rebuild%'";
        assert_eq!(site.number(schemas).await, 0);
    });
}

#[test]
fn a_rebuild_shows_what_differs_by_account_and_payment() {
    run(async |site| {
        tell(&site, history()).await;
        change(
            &site,
            "update inbox set fact = replace(fact, '1600', '1500') where id = 'evt_006';
             update payments set reversed_amount = 2 where payment = 'paddle:txn_3'",
        )
        .await;
        let rebuilt = rebuilt(&site).await;
        let subjects = |differences: &ledger::rebuild::Differences| -> Vec<String> {
            differences.first.iter().map(|difference| difference.subject.clone()).collect()
        };
        assert!(!rebuilt.ok);
        assert_eq!(subjects(&rebuilt.accounts), ["a"]);
        assert_eq!(subjects(&rebuilt.payments), ["paddle:txn_3"]);
        assert_eq!(rebuilt.journal.count, 1);
        assert!(rebuilt.outcomes.first.is_empty());
    });
}

/// The hash beside a fact says nothing to whoever can write both: what was made of the fact does.
#[test]
fn a_fact_forged_with_its_hash_is_found_by_a_rebuild() {
    run(async |site| {
        tell(&site, history()).await;
        let forged = "update inbox set fact = replace(fact, '3.33', '3.32') where id = 'evt_008';
                      update inbox set hash = sha256(convert_to(fact, 'UTF8')) where id = 'evt_008'";
        change(&site, forged).await;
        let payments = rebuilt(&site).await.payments.first;
        assert_eq!(payments.iter().map(|one| one.subject.as_str()).collect::<Vec<_>>(), ["paddle:txn_1"]);
    });
}

#[test]
fn a_rebuild_decides_each_fact_by_the_catalog_of_its_time() {
    run(async |site| {
        tell(&site, vec![envelope("paddle/evt_1", Fact::Payment(payment("txn_1", "a")))]).await;
        let mut dearer = catalog();
        let prices = dearer.prices.values_mut().flat_map(|prices| prices.values_mut());
        prices.for_each(|price| price.credits = credits("7"));
        let rebuilt = rebuild(&site.owner, &Rules::new(dearer), 10, &mut |_| {}).await.unwrap();
        assert!(rebuilt.ok, "{rebuilt:#?}");
    });
}

#[test]
fn the_journal_refuses_to_be_changed_by_trigger_and_by_privilege() {
    run(async |site| {
        let paid = payment("txn_1", "a");
        tell(&site, vec![envelope("paddle/evt_1", Fact::Payment(paid))]).await;
        for statement in
            ["update transactions set kind = 'usage'", "delete from transactions", "truncate transactions"]
        {
            for role in [&site.pool, &site.owner] {
                let refused = sqlx::query(statement).execute(role).await.unwrap_err();
                assert!(refused.to_string().contains("permission denied"), "{statement}: {refused}");
            }
        }
        sqlx::query("grant all on transactions to current_user").execute(&site.owner).await.unwrap();
        for statement in
            ["update transactions set kind = 'usage'", "delete from transactions", "truncate transactions"]
        {
            let refused = sqlx::query(statement).execute(&site.owner).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
        }
    });
}

#[test]
fn a_ledger_of_the_first_release_is_taken_over() {
    run(async |site| {
        let mut transaction = site.owner.begin().await.unwrap();
        let mut scripts: Vec<String> =
            db::MIGRATIONS.iter().map(|migration| migration.sql.as_str().to_owned()).collect();
        scripts.insert(
            1,
            "insert into transactions values ('acct_1', 1, 'usage', 'gateway/eu', 'use_1', null, now(), sha256('x'));
             insert into entries values
               ('acct_1', 1, 0, 'available', 'promo \"x\"', -12.50), ('acct_1', 1, 1, 'consumed', 'promo \"x\"', 12.50),
               ('acct_1', 1, 2, 'debt', null, 0.000001), ('acct_1', 1, 3, 'overdrawn', null, -0.000001);
             insert into events values (gen_random_uuid(), 'acct_1', 1, 'credits.consumed', now(),
               '{\"source\":\"bursar/ledger\",\"cause\":\"gateway/eu/use_1\",\"data\":{\"credits\":\"12.5\"}}');
             insert into payments (payment, state, customer, record, created_at, updated_at)
               values ('paddle:txn_1', 'undelivered', 'paddle:ctm_1', '{}', now(), now());"
                .to_owned(),
        );
        scripts.insert(0, "create schema first; set local search_path = first;".to_owned());
        for script in scripts {
            sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *transaction).await.unwrap();
        }
        let entries: Vec<String> = sqlx::query_scalar(
            "select concat_ws(' ', account, number, line, book, lot, amount) from entries order by line",
        )
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        let expect = [
            "acct_1 1 0 available promo \"x\" -12.5",
            "acct_1 1 1 consumed promo \"x\" 12.5",
            "acct_1 1 2 debt 0.000001",
            "acct_1 1 3 overdrawn -0.000001",
        ];
        assert_eq!(entries, expect);
        let rest: String = sqlx::query_scalar(
            "select concat_ws(' ', source, cause, traceparent, data, customers) from events, payments",
        )
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
        assert_eq!(rest, r#"bursar/ledger gateway/eu/use_1 {"credits":"12.5"} {paddle:ctm_1}"#);
    });
}

/// The migration says in SQL what the fleet says in Rust.
#[test]
fn the_events_of_an_older_fleet_are_chained_by_the_migration() {
    run(async |site| {
        let mut transaction = site.owner.begin().await.unwrap();
        let (before, after): (Vec<_>, Vec<_>) =
            db::MIGRATIONS.iter().partition(|migration| migration.version < CHAINED);
        let told = "insert into accounts (account, sequence) values ('acct_1', 2), ('acct_2', 1), ('acct_3', 0);
            insert into events (id, account, sequence, type, time, source, cause, traceparent, data) values
              (gen_random_uuid(), 'acct_1', 2, 'credits.consumed', '2026-11-20T10:00:00.000001Z', 'bursar/ledger', 'gateway/eu/1', null, '{\"credits\":  \"1.50\"}'),
              (gen_random_uuid(), 'acct_1', 1, 'credits.granted', '1969-11-20T10:00:00.999999Z', 'bursar/ledger', 'paddle/evt_ü', '00-a-b-01', '{\"lot\":\"ü\\n\"}'),
              (gen_random_uuid(), 'acct_2', 1, 'credits.granted', now(), 'bursar/ledger', 'paddle/evt_2', null, '{}'),
              (gen_random_uuid(), null, null, 'alert.raised', now(), 'bursar/dead-letters', 'bursar/dead-letters/x', null, '{}'),
              (gen_random_uuid(), null, null, 'alert.raised', now(), 'bursar/dead-letters', 'bursar/dead-letters/y', null, '{}')";
        let scripts = before.iter().map(|migration| migration.sql.as_str());
        let scripts = std::iter::once("create schema older; set local search_path = older")
            .chain(scripts)
            .chain([told]);
        for script in scripts.chain(after.iter().map(|migration| migration.sql.as_str())) {
            sqlx::raw_sql(AssertSqlSafe(script.to_owned())).execute(&mut *transaction).await.unwrap();
        }
        let mut heads = std::collections::BTreeMap::new();
        let events = stored_events(&mut transaction).await;
        assert_eq!(events.len(), 5);
        for event in events {
            let account = event.account.clone().unwrap_or_else(|| event.id.to_string());
            let head = heads.entry(account).or_insert(db::chain::GENESIS);
            assert_eq!(event.hash, event.chained_hash(head), "{event:?}");
            *head = event.hash;
        }
        let kept: Vec<(String, Vec<u8>)> =
            sqlx::query_as("select account, events_head from accounts order by account")
                .fetch_all(&mut *transaction)
                .await
                .unwrap();
        for (account, head) in kept {
            assert_eq!(head, heads.get(&account).unwrap_or(&db::chain::GENESIS), "{account}");
        }
    });
}

/// The migration that began the chain of events.
const CHAINED: i64 = 11;

async fn stored_events(connection: &mut sqlx::PgConnection) -> Vec<db::outbox::StoredEvent> {
    use sqlx::Row;
    let rows =
        sqlx::query("select * from events order by account, sequence").fetch_all(connection).await.unwrap();
    let read = |row: &sqlx::postgres::PgRow| db::outbox::StoredEvent {
        id: row.get("id"),
        source: row.get("source"),
        account: row.get("account"),
        sequence: row.get("sequence"),
        kind: row.get("type"),
        time: row.get("time"),
        cause: row.get("cause"),
        traceparent: row.get("traceparent"),
        data: row.get("data"),
        hash: row.get("hash"),
    };
    rows.iter().map(read).collect()
}

/// A letter of a fact, and a letter that it became.
async fn letter(site: &Site, worker: &str, fact: &str, state: &str, previous: Option<&str>) {
    let closed = if matches!(state, "open" | "replaying") { "null" } else { "now()" };
    let previous = previous.map_or_else(
        || "null".to_owned(),
        |fact| format!("(select letter from dead_letters where id = '{fact}' order by letter limit 1)"),
    );
    let statement = format!(
        "insert into dead_letters (letter, key, state, worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at,
             recorded_at, exchange, routing_key, message_id, headers, body, source, id, previous, closed_at, closed_by)
         select letter, sha256(letter::text::bytea), '{state}', '{worker}', '{worker}', 'unknown', 'it fell', 'f', '[]', now(),
             now(), now(), 'facts', 'fact.usage', '{fact}', '{{}}', '', 'paddle', '{fact}', {previous}, {closed}, 'ada'
         from (select gen_random_uuid() as letter) l"
    );
    change(site, &statement).await;
}

async fn failed(site: &Site, check: &str) -> Vec<String> {
    let report = verified(site).await;
    let others = report.checks.iter().filter(|other| !other.ok && other.name != check);
    assert_eq!(others.count(), 0, "{report:#?}");
    let check = report.checks.iter().find(|found| found.name == check).unwrap();
    check.failed.iter().map(|culprit| culprit.subject.clone()).collect()
}

#[test]
fn a_fact_without_outcome_is_lost_unless_a_dead_letter_stands_for_it() {
    run(async |site| {
        let gate = Gate::new(
            Door::Verified,
            site.namespace.clone(),
            processors::Settings::default(),
            site.readers(),
        );
        let gate = site.start(gate, 1);
        let facts = (1..=9).map(|number| envelope(&format!("paddle/evt_{number}"), usage("a", 1)));
        site.state(exchange::VERIFIED, facts.collect()).await;
        site.until("select count(*) from inbox", 9).await;
        gate.stop().await;
        assert!(failed(&site, "facts_settled").await.is_empty(), "they are in flight");
        // Nothing of evt_1; each of the others with what became of it, and whether it is accounted for.
        letter(&site, "ledger", "evt_2", "open", None).await;
        letter(&site, "ledger", "evt_3", "replaying", None).await;
        letter(&site, "ledger", "evt_4", "discarded", None).await;
        letter(&site, "ledger", "evt_5", "dead_again", None).await;
        letter(&site, "ledger", "evt_5", "open", Some("evt_5")).await;
        letter(&site, "ledger", "evt_6", "edited", None).await;
        letter(&site, "ledger", "another", "open", Some("evt_6")).await;
        let accounted = 5;
        letter(&site, "ledger", "evt_7", "dead_again", None).await;
        letter(&site, "ledger", "evt_7", "resolved", Some("evt_7")).await;
        letter(&site, "ledger", "evt_8", "resolved", None).await;
        letter(&site, "gate", "evt_9", "open", None).await;
        change(&site, "update inbox set admitted_at = admitted_at - interval '1 hour'").await;
        let lost = ["paddle/evt_1", "paddle/evt_7", "paddle/evt_8", "paddle/evt_9"];
        assert_eq!(failed(&site, "facts_settled").await, lost);

        let counts = verified(&site).await.checks.into_iter().find_map(|check| check.counts).unwrap();
        assert_eq!((counts.dead_lettered, counts.in_flight), (accounted, lost.len() as i64));
        let sum = counts.unread + counts.settled() + counts.dead_lettered + counts.in_flight;
        assert_eq!(counts.admitted, sum, "{counts:?}");

        // What was discarded is accounted for when its letter is long gone.
        let retention = dead_letters::LetterRetention {
            resolved: Duration::from_secs(60),
            discarded: Duration::from_secs(60),
        };
        let in_a_year = OffsetDateTime::now_utc() + Duration::from_secs(365 * 86_400);
        change(&site, "update dead_letters set state = 'discarded', closed_at = now(), closed_by = 'ada' where id = 'another'").await;
        while dead_letters::purge(&site.pool, retention, in_a_year, 100).await.unwrap() > 0 {}
        assert_eq!(site.number("select count(*) from dead_letters where worker = 'ledger'").await, 4);
        assert_eq!(failed(&site, "facts_settled").await, lost);
    });
}

#[test]
fn a_refused_fact_without_a_dead_letter_is_named() {
    run(async |site| {
        let workers = fleet(&site);
        let keeper = site.start(
            dead_letters::DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES),
            1,
        );
        let grant = |number: u32| {
            let credits = credits("999999999999999");
            let (kind, reason) = (GrantKind::Promotional, "welcome".to_owned());
            let grant = Grant { account: account_id("a"), credits, kind, reason, expires_at: None, by: None };
            envelope(&format!("paddle/evt_{number}"), Fact::Grant(grant))
        };
        for number in 1..=2 {
            site.state(exchange::VERIFIED, vec![grant(number)]).await;
            site.until("select count(*) from outcomes", number.into()).await;
        }
        site.until("select count(*) from outcomes where outcome = 'refused'", 1).await;
        site.until("select count(*) from dead_letters", 1).await;
        for worker in workers.into_iter().chain([keeper]) {
            worker.stop().await;
        }
        let ago = async |interval: &str| {
            change(&site, &format!("update outcomes set settled_at = now() - interval '{interval}'")).await;
            failed(&site, "refusals_kept").await
        };
        assert!(ago("1 hour").await.is_empty(), "its letter is there");
        change(&site, "delete from dead_letters").await;
        assert!(ago("10 seconds").await.is_empty(), "its letter is on its way");
        assert_eq!(ago("1 hour").await, ["paddle/evt_2"]);
        assert!(ago("31 days").await.is_empty(), "retention may have deleted it");
    });
}

//! Plans on a real Postgres, by the fleet's own workers: what they tell, and that they change nothing.

use super::{Part, Pending, Plan, Planner, Replayed, Verdict, plan};
use crate::config::{Config, Masked};
use crate::session::Session;
use bus::{Decoded, Incoming, Settled, Topology, Worker, exchange, header, queue};
use db::{Doing, Work};
use dead_letters::DeadLetters;
use dead_letters::read::Filter;
use domain::envelope::CONTENT_TYPE_BATCH;
use domain::fact::{Assignment, AssignmentAct, LineItem, Payment};
use domain::{Credits, Envelope, Fact, FactKind, Outcome, envelope};
use gate::{Door, Gate};
use jobs::{Consumer, Consumes};
use ledger::{CatalogEntry, Ledger};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::facts::{
    AT, PRICE, account_id, customer, customer_id, envelope as stated, grant, payment, payment_id, refund,
    usage,
};
use testkit::{Site, eventually, run};
use time::OffsetDateTime;

const SECRET: &str = "correct horse battery staple";

/// A purchase at Paddle, of [`PAYLOAD_PRICE`] for acct_42.
const PAYLOAD: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../processors/payloads/paddle/transaction.completed.json"
));
const PAYLOAD_PRICE: &str = "pri_01h1vjes1y163xfj1rh1tkfb65";

fn session(site: &Site) -> Session {
    let entry = |price: &str| CatalogEntry {
        amount: Default::default(),
        processor: "paddle".to_owned(),
        price: price.to_owned(),
        credits: Credits::whole(1000),
        bonus: Credits::whole(50),
        expires_after: None,
    };
    let config = Config {
        namespace: site.namespace.as_str().to_owned(),
        database_url: Masked::new(site.database_url.expose_secret()),
        amqp_url: Masked::new(site.amqp_url.expose_secret()),
        catalog: vec![entry(PRICE), entry(PAYLOAD_PRICE)],
        webhook_secrets: BTreeMap::from([("paddle".to_owned(), vec![Masked::new(SECRET)])]),
        ..Config::default()
    };
    Session::new(config, false).unwrap()
}

fn message(queue: &str, routing_key: &str, content_type: &str, body: String) -> Replayed {
    Replayed {
        label: "letter".to_owned(),
        queue: queue.to_owned(),
        message: Incoming {
            routing_key: routing_key.to_owned(),
            content_type: Some(content_type.to_owned()),
            body: body.into_bytes(),
            ..Incoming::default()
        },
    }
}

fn letter(queue: &str, fact: &Envelope) -> Replayed {
    let sent = message(queue, fact.fact.kind().as_str(), envelope::CONTENT_TYPE, fact.to_json());
    Replayed { label: fact.cause.id.clone(), ..sent }
}

fn spent(id: &str, account: &str, credits: i64) -> Envelope {
    stated(&format!("gateway/{id}"), usage(account, credits))
}

fn given(id: &str, account: &str, credits: i64) -> Envelope {
    stated(&format!("desk/{id}"), grant(account, credits))
}

fn paid(id: &str, payment: Payment) -> Envelope {
    stated(&format!("paddle/{id}"), Fact::Payment(payment))
}

fn gate(site: &Site, session: &Session) -> Gate {
    Gate::new(Door::Verified, site.namespace.clone(), session.config.settings(), site.readers())
}

/// Lets the fleet settle facts for good.
async fn settle(site: &Site, session: &Session, facts: Vec<Envelope>) {
    let ledger = Ledger::new(site.namespace.clone(), session.config.rules().unwrap());
    let workers = (site.start(gate(site, session), 1), site.start(ledger, 1));
    let count = site.number("select count(*) from outcomes").await + facts.len() as i64;
    site.state_each(exchange::VERIFIED, facts).await;
    site.until("select count(*) from outcomes", count).await;
    site.until("select count(*) from outbox", 0).await;
    workers.0.stop().await;
    workers.1.stop().await;
}

/// Every table with the hash of what is in it.
async fn contents(site: &Site) -> BTreeMap<String, String> {
    let tables =
        site.texts("select tablename::text from pg_tables where schemaname = 'public' order by 1").await;
    let mut contents = BTreeMap::new();
    for table in tables {
        let query = format!(
            "select count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t"
        );
        let content = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&site.pool).await.unwrap();
        contents.insert(table, content);
    }
    assert!(contents.len() > 10, "{contents:?}");
    contents
}

/// Plans, and holds that nothing was changed and nothing was sent.
async fn planned(site: &Site, session: &Session, messages: &[Replayed]) -> Plan {
    let before = contents(site).await;
    let plan = plan(session, messages).await.unwrap();
    assert_eq!(contents(site).await, before, "a plan writes nothing");
    for queue in [queue::GATE, queue::GATE_INBOUND, ledger::QUEUE, queue::DEAD_LETTERS] {
        assert_eq!(site.depth(queue).await, 0, "a plan publishes nothing, {queue}");
    }
    plan
}

/// `<verdict> <fact>: <outcomes>; <code>`, a line for each fact.
fn told(plan: &Plan) -> Vec<String> {
    let line = |part: &Part| {
        let outcomes: Vec<String> =
            part.outcomes.iter().map(|outcome| format!("{} {}", outcome.worker, outcome.outcome)).collect();
        let code = part
            .failure
            .as_ref()
            .map(|failure| format!("; {} {}", failure.worker, failure.code))
            .unwrap_or_default();
        format!("{} {}: {}{code}", part.verdict.as_str(), part.name(), outcomes.join(", "))
    };
    plan.messages.iter().flat_map(|message| &message.parts).map(line).collect()
}

/// `<account>: <before> -> <after>`, each as available / held / debt.
fn balances(part: &Part) -> Vec<String> {
    let text = |balances: &domain::event::Balances| {
        format!("{} / {} / {}", balances.available, balances.held, balances.debt)
    };
    let line = |change: &ledger::read::BalanceChange| {
        format!("{}: {} -> {}", change.account, text(&change.before), text(&change.after))
    };
    part.balances.iter().map(line).collect()
}

#[test]
fn what_would_apply_is_told_with_its_journal_balances_and_events_and_nothing_is_changed() {
    run(async |site| {
        let session = session(&site);
        settle(&site, &session, vec![given("g_1", "acct_1", 100)]).await;
        let plan =
            planned(&site, &session, &[letter(queue::GATE_INBOUND, &spent("use_1", "acct_1", 130))]).await;

        assert_eq!(told(&plan), ["would_apply gateway/use_1: gate admitted, ledger applied"]);
        let part = &plan.messages[0].parts[0];
        assert_eq!(balances(part), ["acct_1: 100 / 0 / 0 -> 0 / 0 / 30"]);
        let [transaction] = &part.transactions[..] else { panic!("{part:#?}") };
        assert_eq!((transaction.number, transaction.kind.as_str()), (2, "usage"));
        let change = ["available", "consumed", "debt"].map(|book| transaction.change(book).to_string());
        assert_eq!(change, ["-100", "100", "30"]);
        let events: Vec<(&str, Option<u64>)> =
            part.events.iter().map(|event| (event.kind.as_str(), event.sequence)).collect();
        assert_eq!(
            events,
            [("credits.consumed", Some(2)), ("debt.incurred", Some(3)), ("balance.exhausted", Some(4))]
        );
        assert_eq!(part.events[0].account.as_deref(), Some("acct_1"));
        assert_eq!(part.events[0].data["debt"], "30");

        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(json["sums"]["verdicts"], json!({ "would_apply": 1 }));
        assert_eq!(json["sums"]["credits"]["consumed"], "100");
        assert_eq!(
            json["sums"]["accounts"],
            json!([{ "account": "acct_1", "available": "-100", "held": "0", "debt": "30" }])
        );
        let text = plan.text(true);
        for expect in [
            "would apply",
            "available -100, consumed +100, debt +30",
            "balance.exhausted",
            "nothing was changed",
        ] {
            assert!(text.contains(expect), "{expect}: {text}");
        }
    });
}

#[test]
fn what_was_settled_before_is_already_applied_at_whatever_door_it_comes() {
    run(async |site| {
        let session = session(&site);
        let told_before = paid("evt_1", payment("txn_1", "acct_1"));
        settle(&site, &session, vec![told_before.clone()]).await;
        let same_payment = paid("evt_2", payment("txn_1", "acct_1"));
        let messages = [
            letter(queue::GATE, &told_before),
            letter(ledger::QUEUE, &told_before),
            letter(queue::GATE, &same_payment),
        ];
        let plan = planned(&site, &session, &messages).await;
        assert_eq!(
            told(&plan),
            [
                "already_applied paddle/evt_1: gate repeated",
                "already_applied paddle/evt_1: ledger repeated",
                "already_applied paddle/evt_2: gate admitted, ledger no_op",
            ]
        );
        assert!(plan.messages.iter().all(|message| message.parts[0].transactions.is_empty()));
        assert_eq!(plan.sums.verdicts, BTreeMap::from([("already_applied", 3)]));
    });
}

/// The gate knows it, and that is all: a replay at the door would bring nothing about.
#[test]
fn a_fact_that_is_known_and_was_given_up_on_is_not_called_applied() {
    run(async |site| {
        let session = session(&site);
        let nearly = 999_999_999_999_999;
        settle(&site, &session, vec![spent("use_1", "acct_1", nearly), spent("use_2", "acct_1", nearly)])
            .await;
        let letters =
            site.start(DeadLetters::new(processors::Settings::default(), &crate::workers::NAMES), 1);
        site.until("select count(*) from dead_letters", 1).await;
        letters.stop().await;
        let [line] = &dead_letters::read::letters(&site.pool, &Filter::default(), 10).await.unwrap()[..]
        else {
            panic!("expected one letter")
        };
        let refused = line.fact.as_deref().unwrap().strip_prefix("gateway/").unwrap().to_owned();
        let applied = if refused == "use_1" { "use_2" } else { "use_1" };
        site.state_each(exchange::VERIFIED, vec![spent("use_3", "acct_2", 1)]).await;
        let gate = gate(&site, &session);
        let gate = site.start(gate, 1);
        site.until("select count(*) from inbox", 3).await;
        gate.stop().await;
        drop(site.take(ledger::QUEUE).await);

        let again = [
            letter(queue::GATE, &spent(&refused, "acct_1", nearly)),
            letter(queue::GATE, &spent(applied, "acct_1", nearly)),
            letter(queue::GATE, &spent("use_3", "acct_2", 1)),
            letter(ledger::QUEUE, &spent("use_4", "acct_1", nearly)),
            letter(queue::GATE, &spent("use_4", "acct_1", nearly)),
        ];
        let plan = planned(&site, &session, &again).await;
        assert_eq!(
            told(&plan),
            [
                format!("known_not_applied gateway/{refused}: gate repeated"),
                format!("already_applied gateway/{applied}: gate repeated"),
                "known_not_applied gateway/use_3: gate repeated".to_owned(),
                "would_fail gateway/use_4: ; ledger too_many_credits".to_owned(),
                "would_fail gateway/use_4: gate admitted; ledger too_many_credits".to_owned(),
            ]
        );
        let pending: Vec<_> = plan.messages.iter().map(|message| message.parts[0].pending.clone()).collect();
        let Some(Pending::GivenUp { letter, worker, code, .. }) = &pending[0] else { panic!("{pending:?}") };
        assert_eq!((*letter, worker.as_str(), code.as_str()), (line.letter, "ledger", "too_many_credits"));
        assert_eq!(pending[1..3], [None, Some(Pending::InFlight)]);
        let text = plan.text(false);
        assert!(
            text.contains(&format!("ledger gave up on it (too_many_credits): see letter {letter}")),
            "{text}"
        );
    });
}

/// The topology with a second reader of grants.
fn with_counter(site: &Site) -> Topology {
    let mut topology = site.topology.clone();
    let mut queue = topology.queues.iter().find(|queue| queue.reader == Some("ledger")).unwrap().clone();
    (queue.name, queue.reader) = (site.namespace.name("counter"), Some("counter"));
    let mut binding =
        topology.bindings.iter().find(|binding| binding.routing_key == "fact.grant").unwrap().clone();
    binding.queue = queue.name.clone();
    topology.queues.push(queue);
    topology.bindings.push(binding);
    topology
}

/// The ledger has applied all three; the other reader one of them.
#[test]
fn what_one_of_two_readers_has_not_applied_is_not_applied() {
    run(async |site| {
        let session = session(&site);
        let facts = ["one", "two", "three"].map(|id| given(id, "acct_1", 5));
        settle(&site, &session, facts.to_vec()).await;
        let of_counter = "insert into readers values ('counter', 'fact.grant', '-infinity');
            insert into outcomes (source, id, reader, kind, outcome, settled_at) values
                ('desk', 'one', 'counter', 'fact.grant', 'ignored', now()),
                ('desk', 'two', 'counter', 'fact.grant', 'refused', now())";
        sqlx::raw_sql(of_counter).execute(&site.pool).await.unwrap();
        let planner = Planner::new(site.pool.clone(), with_counter(&site), site.namespace.clone());
        let floor = session.idle_floor("plan").unwrap();
        let again = facts.map(|fact| letter(queue::GATE, &fact));
        let plan = planner.plan(|| super::consumers(&session, &floor), &again).await.unwrap();
        assert_eq!(
            told(&plan),
            [
                "already_applied desk/one: gate repeated",
                "known_not_applied desk/two: gate repeated",
                "known_not_applied desk/three: gate repeated",
            ]
        );
    });
}

/// A plan speaks for its own configuration, and says where the fleet has another.
#[test]
fn a_plan_says_that_the_fleet_has_another_configuration() {
    run(async |site| {
        let session = session(&site);
        let fleets = |config: Config| Session::new(config, false).unwrap().worker_pool().unwrap();
        let same = fleets(session.config.clone()).acquire().await.unwrap();
        let fact = [letter(queue::GATE, &spent("use_1", "acct_1", 1))];
        let plan = planned(&site, &session, &fact).await;
        assert!(!plan.fleet_differs && !plan.text(false).contains("another configuration"));
        let other = fleets(Config { catalog: Vec::new(), ..session.config.clone() });
        let connected = other.acquire().await.unwrap();
        let plan = planned(&site, &session, &fact).await;
        assert!(plan.fleet_differs && plan.text(false).contains("another configuration"));
        drop((same, connected));
    });
}

#[test]
fn what_would_fail_again_is_told_with_its_code_and_reason() {
    run(async |site| {
        let session = session(&site);
        let nearly = 999_999_999_999_999;
        settle(&site, &session, vec![spent("use_1", "acct_1", 5), spent("use_2", "acct_2", nearly)]).await;
        let foreign = stated("paddle/evt_9", usage("acct_1", 1));
        let messages = [
            letter(queue::GATE_INBOUND, &spent("use_1", "acct_1", 6)),
            message(queue::GATE, "fact.usage", envelope::CONTENT_TYPE, "not a fact".to_owned()),
            letter(queue::GATE_INBOUND, &foreign),
            letter(ledger::QUEUE, &spent("use_3", "acct_2", nearly)),
            message(queue::INGESTER, "raw.paddle", "application/json", PAYLOAD.to_owned()),
        ];
        let plan = planned(&site, &session, &messages).await;
        assert_eq!(
            told(&plan),
            [
                "would_fail gateway/use_1: ; gate conflict",
                "would_fail not a fact: ; gate malformed",
                "would_fail paddle/evt_9: ; gate forbidden",
                "would_fail gateway/use_3: ; ledger too_many_credits",
                "would_fail not a fact: ; ingester malformed",
            ]
        );
        let failure = plan.messages[0].failure.as_ref().unwrap();
        assert!(failure.reason.contains("what was admitted under"), "{failure:?}");
        let codes = [("conflict", 1), ("forbidden", 1), ("malformed", 2), ("too_many_credits", 1)];
        assert_eq!(plan.sums.codes, BTreeMap::from(codes));
        assert!(plan.text(false).contains("too_many_credits: expected"), "{}", plan.text(false));
    });
}

#[test]
fn a_payment_whose_price_no_catalog_knows_waits_and_says_why() {
    run(async |site| {
        let session = session(&site);
        let unknown =
            Payment { items: vec![LineItem::new("pri_unknown".to_owned(), 1)], ..payment("txn_1", "acct_1") };
        let plan = planned(&site, &session, &[letter(queue::GATE, &paid("evt_1", unknown))]).await;
        assert_eq!(told(&plan), ["would_apply paddle/evt_1: gate admitted, ledger waiting"]);
        let part = &plan.messages[0].parts[0];
        assert!(part.transactions.is_empty() && part.balances.is_empty(), "{part:#?}");
        assert_eq!(part.events[0].kind, "payment.undelivered");
        assert_eq!(part.events[0].data["reason"], "price_unknown");
        assert_eq!(plan.sums.outcomes["ledger"], BTreeMap::from([("waiting", 1)]));
    });
}

#[test]
fn a_later_message_sees_what_an_earlier_one_would_do() {
    run(async |site| {
        let session = session(&site);
        let back = stated("paddle/evt_2", Fact::Movement(refund("adj_1", "txn_1", 400)));
        let contradicting =
            paid("evt_3", Payment { object: "txn_1b".to_owned(), ..payment("txn_1", "acct_2") });
        let messages = [
            letter(queue::GATE, &paid("evt_1", payment("txn_1", "acct_1"))),
            letter(ledger::QUEUE, &back),
            letter(queue::GATE_INBOUND, &spent("use_1", "acct_1", 700)),
            letter(queue::GATE_INBOUND, &spent("use_1", "acct_1", 700)),
            letter(queue::GATE, &contradicting),
        ];
        let plan = planned(&site, &session, &messages).await;
        assert_eq!(
            told(&plan),
            [
                "would_apply paddle/evt_1: gate admitted, ledger applied",
                "would_apply paddle/evt_2: ledger applied",
                "would_apply gateway/use_1: gate admitted, ledger applied",
                "already_applied gateway/use_1: gate repeated",
                "would_apply paddle/evt_3: gate admitted, ledger contradicts",
            ]
        );
        let part = |place: usize| balances(&plan.messages[place].parts[0]);
        assert_eq!(part(0), ["acct_1: 0 / 0 / 0 -> 1050 / 0 / 0"]);
        assert_eq!(part(1), ["acct_1: 1050 / 0 / 0 -> 630 / 0 / 0"]);
        assert_eq!(part(2), ["acct_1: 630 / 0 / 0 -> 0 / 0 / 70"]);
        assert!(part(3).is_empty() && part(4).is_empty());
        let credits: Vec<String> =
            plan.sums.credits.named().iter().map(|(name, credits)| format!("{name} {credits}")).collect();
        assert_eq!(
            credits,
            ["granted 1050", "available 0", "held 0", "consumed 630", "reversed 420", "expired 0", "debt 70"]
        );
    });
}

/// Accounts that the fact itself does not name.
#[test]
fn a_fact_is_told_with_every_account_that_it_changes() {
    run(async |site| {
        let session = session(&site);
        let waiting = |id: &str| Payment {
            account: None,
            customer: Some(customer_id("paddle:ctm_1")),
            ..payment(id, "-")
        };
        let facts = vec![
            paid("evt_1", payment("txn_1", "acct_1")),
            paid("evt_2", waiting("txn_2")),
            paid("evt_3", waiting("txn_3")),
        ];
        settle(&site, &session, facts).await;
        let moved = Assignment {
            by_todays_catalog: false,
            payment: payment_id("paddle:txn_1"),
            act: AssignmentAct::Move,
            account: Some(account_id("acct_2")),
            credits: None,
            reason: "bought by the other".to_owned(),
            by: "ada".to_owned(),
            occurred_at: AT,
        };
        let messages = [
            letter(queue::GATE, &stated("operator/ada/move_1", Fact::Assignment(moved))),
            letter(ledger::QUEUE, &stated("paddle/evt_4", Fact::Movement(refund("adj_1", "txn_1", 1000)))),
            letter(ledger::QUEUE, &stated("shop/link_1", customer("paddle:ctm_1", "acct_3"))),
        ];
        let plan = planned(&site, &session, &messages).await;
        let part = |place: usize| balances(&plan.messages[place].parts[0]);
        let moved = ["acct_1: 1050 / 0 / 0 -> 0 / 0 / 0", "acct_2: 0 / 0 / 0 -> 1050 / 0 / 0"];
        assert_eq!(part(0), moved);
        assert_eq!(part(1), ["acct_2: 1050 / 0 / 0 -> 0 / 0 / 0"]);
        assert_eq!(part(2), ["acct_3: 0 / 0 / 0 -> 2100 / 0 / 0"]);
        let changes: Vec<&str> = plan.sums.accounts.iter().map(|change| change.account.as_str()).collect();
        assert_eq!(changes, ["acct_3", "acct_1"], "acct_2 ends as it began");
    });
}

#[test]
fn each_fact_of_a_message_is_told_and_the_worst_is_the_messages_own() {
    run(async |site| {
        let session = session(&site);
        settle(&site, &session, vec![spent("use_1", "acct_1", 5)]).await;
        let facts = [spent("use_1", "acct_1", 5), spent("use_2", "acct_1", 6), spent("use_1", "acct_1", 7)];
        let body = format!("[{}]", facts.map(|fact| fact.to_json()).join(","));
        let batch = message(queue::GATE_INBOUND, FactKind::Usage.as_str(), CONTENT_TYPE_BATCH, body.clone());
        let plan = planned(&site, &session, &[batch]).await;
        assert_eq!(
            told(&plan),
            [
                "would_fail gateway/use_1: gate repeated; gate conflict",
                "would_apply gateway/use_2: gate admitted, ledger applied",
            ]
        );
        assert_eq!(plan.messages[0].verdict, Verdict::WouldFail);
        assert_eq!(plan.messages[0].failure.as_ref().unwrap().code, "conflict");
    });
}

#[test]
fn a_raw_delivery_is_followed_all_the_way_to_the_ledger() {
    run(async |site| {
        let session = session(&site);
        let now = OffsetDateTime::now_utc();
        let paddle = processors::find("paddle").unwrap();
        let headers = (paddle.sign)(&SECRET.to_owned().into(), PAYLOAD.as_bytes(), now).unwrap();
        let mut raw = message(queue::INGESTER, "raw.paddle", "application/json", PAYLOAD.to_owned());
        raw.message
            .headers
            .extend(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)));
        raw.message.headers.insert(header::RECEIVED_AT.to_owned(), now.unix_timestamp().to_string());
        let plan = planned(&site, &session, &[raw]).await;
        assert_eq!(
            told(&plan),
            [
                "would_apply paddle/evt_01kajadrpk2y53v2h0ygcy8dkw: ingester translated, gate admitted, ledger applied"
            ]
        );
        let part = &plan.messages[0].parts[0];
        assert_eq!(part.kind, Some("fact.payment"));
        assert_eq!(balances(part), ["acct_42: 0 / 0 / 0 -> 1050 / 0 / 0"]);
        assert!(part.publications.is_empty(), "{part:#?}");
    });
}

/// A worker that writes, and then fails in whatever way its item asks for.
struct Failing;

impl Worker for Failing {
    const NAME: &'static str = "failing";
    const PREFETCH: u16 = 1;
    const CODES: &'static [&'static str] = &[];
    type Item = String;
    type Error = db::Error;

    fn queue(&self) -> &'static str {
        "failing"
    }

    fn decode(&self, message: &Incoming, _now: OffsetDateTime) -> Vec<Decoded<String>> {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        assert_ne!(text, "undecodable", "no good");
        vec![Decoded::Item(text)]
    }

    fn encode(&self, item: &String) -> (&'static str, Vec<u8>) {
        ("text/plain", item.clone().into_bytes())
    }

    fn received_at(&self, _item: &String) -> Option<OffsetDateTime> {
        None
    }

    async fn handle(&self, work: &mut Work, items: &[String]) -> Result<Settled, db::Error> {
        let count = |query| sqlx::query_scalar::<_, i64>(query);
        let there = count("select count(*) from customers").fetch_one(work.connection().await?).await;
        let there = there.doing("counting")?;
        let write = sqlx::query("insert into customers (customer) values ($1)").bind(&items[0]);
        write.execute(work.connection().await?).await.doing("writing")?;
        match items[0].as_str() {
            "panic" => panic!("out of its depth"),
            "error" => {
                count("select 1 / 0::bigint").fetch_one(work.connection().await?).await.doing("dividing")?;
            }
            _ => {}
        }
        let outcome = if there == 0 { Outcome::Applied } else { Outcome::Recorded };
        Ok(Settled { verdicts: vec![bus::Verdict::Done(outcome)], ..Settled::default() })
    }
}

#[test]
fn a_panic_or_an_error_is_that_messages_alone_and_leaves_nothing_behind() {
    run(async |site| {
        let make = || Ok(vec![Arc::new(Consumes::new(Failing)) as Arc<dyn Consumer>]);
        let messages = ["undecodable", "panic", "error", "one", "two"]
            .map(|text| message("failing", "", "text/plain", text.to_owned()));
        let planner = Planner::new(site.pool.clone(), site.topology.clone(), site.namespace.clone());
        let before = contents(&site).await;
        let plan = planner.plan(make, &messages).await.unwrap();
        assert_eq!(
            told(&plan),
            [
                "would_fail not a fact: ; failing panic",
                "would_fail not a fact: ; failing panic",
                "would_fail not a fact: ; failing unknown",
                "would_apply not a fact: failing applied",
                "would_apply not a fact: failing recorded",
            ]
        );
        let reason = |place: usize| &plan.messages[place].failure.as_ref().unwrap().reason;
        assert!(reason(0).starts_with("decoding it panicked: ") && reason(0).contains("no good"));
        assert_eq!(reason(1), "it panicked: out of its depth");
        assert!(reason(2).contains("division by zero"), "{}", reason(2));
        assert_eq!(contents(&site).await, before);
    });
}

#[test]
fn a_plan_of_too_many_messages_or_of_too_long_a_time_says_so() {
    run(async |site| {
        let make = || Ok(vec![Arc::new(Consumes::new(Failing)) as Arc<dyn Consumer>]);
        let planner = || Planner::new(site.pool.clone(), site.topology.clone(), site.namespace.clone());
        let messages = ["one", "two"].map(|text| message("failing", "", "text/plain", text.to_owned()));
        let check = async |planner: Planner, expect: &str| {
            let error = planner.plan(make, &messages).await.unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(Planner { messages_max: 1, ..planner() }, "at most 1 messages in a plan").await;
        check(Planner { time_limit: Duration::ZERO, ..planner() }, "takes longer: plan fewer").await;
    });
}

#[test]
fn a_message_for_a_queue_that_nobody_reads_is_an_error_that_names_the_others() {
    run(async |site| {
        let stray = message("mails", "", "text/plain", String::new());
        let error = plan(&session(&site), &[stray]).await.unwrap_err().to_string();
        assert!(error.contains("ingester, gate, gate.inbound, ledger") && error.contains("mails"), "{error}");
    });
}

/// Backends of the site that wait for a lock.
const WAITING: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

#[test]
fn a_plan_gives_way_to_whoever_holds_a_row_and_begins_again_once_it_is_let_go() {
    run(async |site| {
        let session = session(&site);
        settle(&site, &session, vec![given("g_1", "acct_1", 100)]).await;
        let messages = [letter(ledger::QUEUE, &spent("use_1", "acct_1", 30))];
        let hold = "select 1 from accounts where account = 'acct_1' for update";

        let mut held = site.pool.begin().await.unwrap();
        sqlx::query(hold).execute(&mut *held).await.unwrap();
        let error = plan(&session, &messages).await.unwrap_err().to_string();
        assert!(error.contains("gave way 5 times") && error.contains("lock timeout"), "{error}");

        // The holder changes the account while the plan waits: it plans on what it finds in the end.
        let release = async {
            eventually("the plan to wait", async || (site.number(WAITING).await > 0).then_some(())).await;
            sqlx::query("update accounts set available = 70 where account = 'acct_1'")
                .execute(&mut *held)
                .await
                .unwrap();
            held.commit().await.unwrap();
        };
        let (planned, ()) = tokio::join!(plan(&session, &messages), release);
        assert_eq!(balances(&planned.unwrap().messages[0].parts[0]), ["acct_1: 70 / 0 / 0 -> 40 / 0 / 0"]);
    });
}

#[test]
fn an_attempt_that_gave_way_leaves_the_next_one_nothing_that_it_remembers() {
    run(async |site| {
        // No rules and no catalog are recorded yet: a ledger that thought it had kept them would be refused by the database.
        let session = session(&site);
        sqlx::query("insert into accounts (account) values ('acct_2')").execute(&site.pool).await.unwrap();
        let mut held = site.pool.begin().await.unwrap();
        let hold = "select 1 from accounts where account = 'acct_2' for update";
        sqlx::query(hold).execute(&mut *held).await.unwrap();
        let facts = ["acct_1", "acct_1", "acct_2"];
        let messages: Vec<Replayed> = facts
            .iter()
            .enumerate()
            .map(|(place, account)| {
                letter(
                    ledger::QUEUE,
                    &paid(&format!("evt_{place}"), payment(&format!("txn_{place}"), account)),
                )
            })
            .collect();
        let release = async {
            eventually("the plan to wait", async || (site.number(WAITING).await > 0).then_some(())).await;
            // Until it has given way at least once.
            eventually("the plan to give way", async || (site.number(WAITING).await == 0).then_some(()))
                .await;
            held.rollback().await.unwrap();
        };
        let (planned, ()) = tokio::join!(plan(&session, &messages), release);
        let planned = planned.unwrap();
        assert_eq!(planned.sums.verdicts, BTreeMap::from([("would_apply", 3)]));
        assert_eq!(planned.sums.credits.granted, Credits::whole(3 * 1050));
        assert_eq!(planned.sums.accounts[0].account, account_id("acct_1").as_str());
    });
}

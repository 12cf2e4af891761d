//! Items that panic and items that hang, in a worker of this process, for the fleet's own have none that do. On the
//! servers that are there for all tests: what a worker does to itself breaks no server.

use super::place::Form;
use super::proof::{Proof, count, dead_letters, dead_letters_waiting};
use super::table::Row;
use bus::{Context, Decoded, Fate, Fated, Incoming, Message, Settled, Verdict, Worker, exchange};
use db::{Doing, Work};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Site, within};
use time::OffsetDateTime;
use tokio::time::Instant;

/// Until the culprits of either row are given up on.
const LIMIT: Duration = Duration::from_secs(300);

const GOOD: usize = 5_000;

/// Good items in each message.
const PACKED: usize = 10;

pub async fn faults(_: Form) -> Vec<Row> {
    // Batches of one culprit's size: a batch with one that hangs is cut after a time, and so is each part of it again.
    vec![
        row::<200>("messages that panic", "panic", 5).await,
        row::<1>("a message that hangs", "hang", 1).await,
    ]
}

async fn row<const PREFETCH: u16>(fault: &'static str, act: &str, culprits: usize) -> Row {
    let site = Site::open().await;
    let told = AssertUnwindSafe(tell::<PREFETCH>(&site, fault, act, culprits)).catch_unwind().await;
    site.remove().await;
    told.unwrap_or_else(|panic| Row::given_up(fault, &*panic))
}

async fn tell<const PREFETCH: u16>(site: &Site, fault: &'static str, act: &str, culprits: usize) -> Row {
    sqlx::query("create table seen (item text not null)").execute(&site.owner).await.unwrap();
    // What hangs is tried on each rung of the ladder.
    let context = Context { time_limit: Duration::from_secs(2), ..site.context() };
    let running = site.start_with(Arc::new(Scripted::<PREFETCH>), 2, context);
    let dead: Vec<String> = (0..culprits).map(|number| format!("{act} {number}")).collect();
    let mut messages = good(site);
    for (number, culprit) in dead.iter().enumerate() {
        messages
            .insert((number + 1) * messages.len() / (culprits + 2), message(site, culprit, culprit.clone()));
    }
    let from = Instant::now();
    site.publisher.publish_all(messages).await.unwrap();
    // The other lane goes on meanwhile.
    site.until("select count(*) from (select from seen limit 1000) s", 1_000).await;
    let recovered = from.elapsed();
    within(LIMIT, "everything to be settled", async || {
        let settled = site.number("select count(distinct item) from seen").await == GOOD as i64;
        (settled && dead_letters_waiting(site).await == Some(culprits)).then_some(())
    })
    .await;
    let drained = from.elapsed();
    site.until_depth(ledger::QUEUE, 0).await;
    running.stop().await;
    let (seen, distinct) = (
        site.number("select count(*) from seen").await,
        site.number("select count(distinct item) from seen").await,
    );
    let found = dead_letters(site).await;
    let ids = count(found.iter().map(|letter| &letter.message_id));
    let wrong = (ids != count(&dead)).then(|| format!("dead letters: {found:?}"));
    Row {
        fault,
        facts: GOOD,
        proof: Proof {
            lost: GOOD - usize::try_from(distinct).unwrap(),
            doubled: usize::try_from(seen - distinct).unwrap(),
            dead: found.len(),
            wrong: wrong.into_iter().collect(),
        },
        dead_expected: culprits,
        recovered: Some(recovered),
        drained: Some(drained),
        ..Row::default()
    }
}

fn good(site: &Site) -> Vec<Message> {
    let numbers: Vec<usize> = (0..GOOD).collect();
    let packs = numbers.chunks(PACKED).map(|some| {
        let items: Vec<String> = some.iter().map(|number| format!("good {number}")).collect();
        message(site, &items[0], items.join("\n"))
    });
    packs.collect()
}

fn message(site: &Site, id: &str, body: String) -> Message {
    let to = site.namespace.name(exchange::FACTS);
    Message::new(to, "fact.usage", id.to_owned(), "text/x-script", None, body)
}

/// Does what its items say. A message holds one in each line; what is settled is a row of `seen`.
struct Scripted<const PREFETCH: u16>;

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failed(#[from] db::Error);

impl Fated for Failed {
    fn fate(&self) -> Fate {
        self.0.fate()
    }
}

impl<const PREFETCH: u16> Worker for Scripted<PREFETCH> {
    const NAME: &'static str = "ledger";
    const PREFETCH: u16 = PREFETCH;
    const CODES: &'static [&'static str] = &[];

    type Item = String;
    type Error = Failed;

    fn queue(&self) -> &'static str {
        ledger::QUEUE
    }

    fn decode(&self, message: &Incoming, _: OffsetDateTime) -> Vec<Decoded<String>> {
        let text = str::from_utf8(&message.body).unwrap();
        text.lines().map(|line| Decoded::Item(line.to_owned())).collect()
    }

    fn encode(&self, item: &String) -> (&'static str, Vec<u8>) {
        ("text/plain", item.as_bytes().to_vec())
    }

    fn received_at(&self, _: &String) -> Option<OffsetDateTime> {
        None
    }

    async fn handle(&self, work: &mut Work, items: &[String]) -> Result<Settled, Failed> {
        if items.iter().any(|item| item.starts_with("hang")) {
            std::future::pending::<()>().await;
        }
        let culprit = items.iter().find(|item| item.starts_with("panic"));
        assert!(culprit.is_none(), "no way to do {culprit:?}");
        sqlx::query("insert into seen (item) select unnest($1::text[])")
            .bind(items)
            .execute(work.connection().await?)
            .await
            .doing("noting items")?;
        Ok(Settled {
            verdicts: vec![Verdict::Done(domain::Outcome::Applied); items.len()],
            ..Settled::default()
        })
    }
}

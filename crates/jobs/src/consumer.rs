//! A worker's consumer of one queue, whatever its items are: the loop in `bus` runs it, and a plan asks it.
//!
//! A plan asks the worker itself, wired as the fleet wires it. What differs is around it: one item at a time, no commit, no
//! publisher. An item's errors are treated by their fate as the loop does.

use crate::effects::Posted;
use crate::pass::PassError;
use bus::{Context, Decoded, Fate, Fated, Incoming, Message, Verdict, Worker, code, panic_text};
use db::{PgConnection, Work};
use domain::{Cause, Envelope, Fact, FactKind, Outcome, envelope};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// An item that takes longer hangs. The fleet waits longer, but a plan must not hold its locks that long.
const ITEM_TIME_LIMIT: Duration = Duration::from_secs(5);

/// A consumer of one queue.
pub trait Consumer: Send + Sync {
    fn worker(&self) -> &'static str;

    /// Without the namespace.
    fn queue(&self) -> &'static str;

    /// Runs so many lanes until the context's token is cancelled and their batches in hand are settled.
    fn run(self: Arc<Self>, lanes: usize, context: Context) -> BoxFuture<'static, ()>;

    /// What the worker makes of each part of a message. What it did stays in the transaction, but for what fails.
    ///
    /// # Errors
    /// [`Trouble`], where the attempt as a whole came to nothing.
    fn take<'a>(
        &'a self,
        work: &'a mut Work,
        message: &'a Incoming,
    ) -> BoxFuture<'a, Result<Vec<TakenItem>, Trouble>>;
}

/// Why an attempt at a plan came to nothing.
#[derive(Debug)]
pub enum Trouble {
    /// Another transaction holds a row, or a server is away: a later attempt can succeed.
    Passing(String),
    Lasting(PassError),
}

impl From<db::Error> for Trouble {
    fn from(error: db::Error) -> Self {
        if error.is_transient() {
            Trouble::Passing(error.to_string())
        } else {
            Trouble::Lasting(error.into())
        }
    }
}

/// What a fact posted to the journal at a moment, asked in the transaction that posted it: the fact, and the accounts of the
/// events that were emitted for it.
pub type PostedBy = for<'a> fn(
    &'a mut PgConnection,
    &'a Cause,
    &'a Fact,
    Vec<String>,
    OffsetDateTime,
) -> BoxFuture<'a, Result<Posted, db::Error>>;

/// What would follow from an item once it is settled, in words, asked before the worker settles it.
pub type ForeseenBy<W> = for<'a> fn(
    &'a W,
    &'a mut Work,
    &'a <W as Worker>::Item,
) -> BoxFuture<'a, Result<Option<String>, db::Error>>;

/// A worker as a consumer.
pub struct Consumes<W: Worker> {
    pub worker: Arc<W>,
    /// Of the worker that writes the journal.
    pub posted: Option<PostedBy>,
    /// Of what leads to calls to the outside, which a plan does not make.
    pub foreseen: Option<ForeseenBy<W>>,
}

impl<W: Worker> Consumes<W> {
    pub fn new(worker: W) -> Self {
        Self { worker: Arc::new(worker), posted: None, foreseen: None }
    }
}

/// What a worker made of one part of a message.
pub struct TakenItem {
    /// `None` if the part is no fact.
    pub fact: Option<NamedFact>,
    pub outcome: Result<Outcome, (&'static str, String)>,
    /// Messages for the next workers.
    pub forward: Vec<Message>,
    /// Messages for the world.
    pub publish: Vec<Message>,
    pub posted: Posted,
    /// What would follow from it, in words.
    pub foreseen: Option<String>,
}

/// A fact, and what it is called.
pub struct NamedFact {
    pub cause: Cause,
    pub kind: FactKind,
    fact: Fact,
}

impl NamedFact {
    fn read(body: &[u8], work: &Work) -> Option<Self> {
        let Envelope { cause, fact, .. } = facts::read_one(body, work.now)?;
        Some(Self { cause, kind: fact.kind(), fact })
    }
}

impl TakenItem {
    fn failed(fact: Option<NamedFact>, code: &'static str, reason: String) -> Self {
        Self {
            fact,
            outcome: Err((code, reason)),
            forward: Vec::new(),
            publish: Vec::new(),
            posted: Posted::default(),
            foreseen: None,
        }
    }
}

impl<W: Worker> Consumer for Consumes<W> {
    fn worker(&self) -> &'static str {
        W::NAME
    }

    fn queue(&self) -> &'static str {
        self.worker.queue()
    }

    fn run(self: Arc<Self>, lanes: usize, context: Context) -> BoxFuture<'static, ()> {
        bus::run(self.worker.clone(), lanes, context).boxed()
    }

    fn take<'a>(
        &'a self,
        work: &'a mut Work,
        message: &'a Incoming,
    ) -> BoxFuture<'a, Result<Vec<TakenItem>, Trouble>> {
        async move {
            let came_at = message.returned.as_ref().map_or(work.now, |returned| returned.first_failed_at);
            let decode = AssertUnwindSafe(|| self.worker.decode(message, came_at));
            let decoded = match catch_unwind(decode) {
                Ok(decoded) => decoded,
                Err(panic) => {
                    let reason = format!("decoding it panicked: {}", panic_text(&*panic));
                    return Ok(vec![TakenItem::failed(None, code::PANIC, reason)]);
                }
            };
            let mut taken = Vec::with_capacity(decoded.len());
            for entry in decoded {
                taken.push(match entry {
                    Decoded::Item(item) => self.take_item(work, &item).await?,
                    Decoded::Bad { body, code, reason, .. } => {
                        TakenItem::failed(NamedFact::read(&body, work), code, reason)
                    }
                });
            }
            Ok(taken)
        }
        .boxed()
    }
}

impl<W: Worker> Consumes<W> {
    /// Decides one item as the loop would, in a savepoint in the place of a transaction.
    async fn take_item(&self, work: &mut Work, item: &W::Item) -> Result<TakenItem, Trouble> {
        let fact = match self.worker.encode(item) {
            (envelope::CONTENT_TYPE, body) => NamedFact::read(&body, work),
            _ => None,
        };
        // A moment of its own, as each batch has: it tells what the item posted from what was posted before.
        work.now += Duration::from_micros(1);
        let foreseen = match self.foreseen {
            Some(foreseen_by) => foreseen_by(&self.worker, work, item).await?,
            None => None,
        };
        work.savepoint().await?;
        let handled = tokio::time::timeout(ITEM_TIME_LIMIT, self.worker.handle(work, slice::from_ref(item)));
        let (code, reason) = match AssertUnwindSafe(handled).catch_unwind().await {
            Ok(Ok(Ok(settled))) if settled.verdicts.len() == 1 => {
                work.release_savepoint().await?;
                let taken = self.decided(work, fact, settled).await?;
                return Ok(TakenItem { foreseen, ..taken });
            }
            Ok(Ok(Ok(_))) => (code::UNKNOWN, "it did not give one verdict for each item".to_owned()),
            Ok(Ok(Err(error))) => match error.fate() {
                Fate::Transient => return Err(Trouble::Passing(error.to_string())),
                Fate::Poison(code) => (code, error.to_string()),
                Fate::Hung => (code::TIME_LIMIT, error.to_string()),
                Fate::Unknown => (code::UNKNOWN, error.to_string()),
            },
            Ok(Err(_)) => (code::TIME_LIMIT, format!("it took longer than {} s", ITEM_TIME_LIMIT.as_secs())),
            Err(panic) => (code::PANIC, format!("it panicked: {}", panic_text(&*panic))),
        };
        work.roll_back_to_savepoint().await?;
        Ok(TakenItem::failed(fact, code, reason))
    }

    /// What a worker decided, and what that posted. A worker that gives up may have noted so: the fleet commits that too.
    async fn decided(
        &self,
        work: &mut Work,
        fact: Option<NamedFact>,
        settled: bus::Settled,
    ) -> Result<TakenItem, Trouble> {
        let publish = settled.emitted.map(|emitted| emitted.messages).unwrap_or_default();
        let posted = match (&fact, self.posted) {
            (Some(named), Some(posted_by)) => {
                let (accounts, at) = (publish.iter().filter_map(account_of).collect(), work.now);
                posted_by(work.connection().await?, &named.cause, &named.fact, accounts, at).await?
            }
            (Some(_) | None, _) => Posted::default(),
        };
        let outcome = settled.verdicts.into_iter().next().map(|verdict| match verdict {
            Verdict::Done(outcome) => Ok(outcome),
            Verdict::Dead { code, reason } => Err((code, reason)),
        });
        Ok(TakenItem {
            fact,
            outcome: outcome.expect("its caller has counted one verdict"),
            forward: settled.forward,
            publish,
            posted,
            foreseen: None,
        })
    }
}

/// The account of an event as it would be published.
fn account_of(event: &Message) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(&event.body).ok()?;
    Some(event.get("subject")?.as_str()?.to_owned())
}

//! The fleet's workers as a plan asks them: one item at a time, whatever its type.
//!
//! They are the workers themselves, wired as the fleet wires them. What differs is around them: no batch, no commit, no
//! publisher. An item's errors are treated by their fate as the loop in `bus` does.

use super::Trouble;
use crate::fleet::WorkerName;
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::Result;
use bus::{Decoded, Fate, Fated, Incoming, Message, Verdict, Worker, code, panic_text};
use db::Work;
use domain::{Cause, Envelope, Fact, FactKind, Outcome, envelope};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ingester::{Intake, RawQueue};
use ledger::Ledger;
use ledger::read::{BalanceChange, Posted, TransactionView};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::time::Duration;

/// An item that takes longer hangs. The fleet is more patient, but nobody waits for its locks in vain.
const ITEM_TIME_LIMIT: Duration = Duration::from_secs(5);

/// What is said of a part that is no fact.
pub const NAMELESS: &str = "not a fact";

/// The workers of the fleet. To add one: the arm that the compiler asks for, as in `fleet::start_worker`.
pub fn readers(session: &Session, intake: &Intake) -> Result<Vec<Box<dyn Reader>>> {
    let mut readers: Vec<Box<dyn Reader>> = Vec::new();
    for worker in WorkerName::ALL {
        match worker {
            WorkerName::Ingester => readers.push(Box::new(RawQueue::new(intake.clone()))),
            WorkerName::Gate => {
                for gate in session.gates()? {
                    readers.push(Box::new(gate));
                }
            }
            WorkerName::Ledger => readers.push(Box::new(session.ledger()?)),
            // It reads nothing that a worker decides about, and a plan's failures are not recorded.
            WorkerName::DeadLetters => {}
        }
    }
    Ok(readers)
}

/// What reads raw deliveries. Nothing is published through it.
pub fn intake(session: &Session) -> Result<Intake> {
    session.intake(&session.broker("plan"), CONFIRM_TIMEOUT)
}

/// A worker, whatever it works on.
pub trait Reader: Send + Sync {
    fn worker(&self) -> &'static str;

    /// Without the namespace.
    fn queue(&self) -> &'static str;

    /// What it makes of each part of a message. What it did stays in the transaction, but for what fails.
    fn take<'a>(
        &'a self,
        work: &'a mut Work,
        message: &'a Incoming,
    ) -> BoxFuture<'a, Result<Vec<Taken>, Trouble>>;
}

/// What a worker made of one part of a message.
pub struct Taken {
    /// Nothing where it is not one.
    pub fact: Option<Named>,
    pub outcome: Result<Outcome, (&'static str, String)>,
    /// Messages for those who read on.
    pub forward: Vec<Message>,
    /// Messages for the world.
    pub publish: Vec<Message>,
    pub transactions: Vec<TransactionView>,
    pub balances: Vec<BalanceChange>,
}

/// A fact, and what it is called.
pub struct Named {
    pub cause: Cause,
    pub kind: FactKind,
    fact: Fact,
}

impl Named {
    fn read(body: &[u8], work: &Work) -> Option<Self> {
        let Envelope { cause, fact, .. } = facts::read_one(body, work.now)?;
        Some(Self { cause, kind: fact.kind(), fact })
    }
}

impl Taken {
    fn failed(fact: Option<Named>, code: &'static str, reason: String) -> Self {
        Self {
            fact,
            outcome: Err((code, reason)),
            forward: Vec::new(),
            publish: Vec::new(),
            transactions: Vec::new(),
            balances: Vec::new(),
        }
    }
}

impl<W: Worker> Reader for W {
    fn worker(&self) -> &'static str {
        W::NAME
    }

    fn queue(&self) -> &'static str {
        Worker::queue(self)
    }

    fn take<'a>(
        &'a self,
        work: &'a mut Work,
        message: &'a Incoming,
    ) -> BoxFuture<'a, Result<Vec<Taken>, Trouble>> {
        async move {
            let came_at = message.returned.as_ref().map_or(work.now, |returned| returned.first_failed_at);
            let decode = AssertUnwindSafe(|| self.decode(message, came_at));
            let decoded = match catch_unwind(decode) {
                Ok(decoded) => decoded,
                Err(panic) => {
                    let reason = format!("decoding it panicked: {}", panic_text(&*panic));
                    return Ok(vec![Taken::failed(None, code::PANIC, reason)]);
                }
            };
            let mut taken = Vec::with_capacity(decoded.len());
            for entry in decoded {
                taken.push(match entry {
                    Decoded::Item(item) => take_item(self, work, &item).await?,
                    Decoded::Bad { body, code, reason, .. } => {
                        Taken::failed(Named::read(&body, work), code, reason)
                    }
                });
            }
            Ok(taken)
        }
        .boxed()
    }
}

/// Decides one item as the loop would, in a savepoint in the place of a transaction.
async fn take_item<W: Worker>(worker: &W, work: &mut Work, item: &W::Item) -> Result<Taken, Trouble> {
    let fact = match worker.encode(item) {
        (envelope::CONTENT_TYPE, body) => Named::read(&body, work),
        _ => None,
    };
    // A moment of its own, as each batch has: by it what the item posted is told from what was posted before.
    work.now += Duration::from_micros(1);
    work.savepoint().await?;
    let handled = tokio::time::timeout(ITEM_TIME_LIMIT, worker.handle(work, slice::from_ref(item)));
    let (code, reason) = match AssertUnwindSafe(handled).catch_unwind().await {
        Ok(Ok(Ok(settled))) if settled.verdicts.len() == 1 => {
            work.release_savepoint().await?;
            return decided::<W>(work, fact, settled).await;
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
    Ok(Taken::failed(fact, code, reason))
}

/// What a worker decided, and what that posted. A worker that gives up may have noted so: the fleet commits that too.
async fn decided<W: Worker>(
    work: &mut Work,
    fact: Option<Named>,
    settled: bus::Settled,
) -> Result<Taken, Trouble> {
    let publish = settled.announce.map(|announcement| announcement.messages).unwrap_or_default();
    let posted = match &fact {
        // Nobody else writes to the journal.
        Some(named) if W::NAME == Ledger::NAME => posted(work, named, &publish).await?,
        Some(_) | None => Posted::default(),
    };
    let outcome = settled.verdicts.into_iter().next().map(|verdict| match verdict {
        Verdict::Done(outcome) => Ok(outcome),
        Verdict::Dead { code, reason } => Err((code, reason)),
    });
    Ok(Taken {
        fact,
        outcome: outcome.expect("its caller has counted one verdict"),
        forward: settled.forward,
        publish,
        transactions: posted.transactions,
        balances: posted.balances,
    })
}

async fn posted(work: &mut Work, named: &Named, publish: &[Message]) -> Result<Posted, Trouble> {
    let at = work.now;
    let told = publish.iter().filter_map(|message| super::Event::read(&message.body)?.account).collect();
    Ok(ledger::read::posted(work.connection().await?, &named.cause, &named.fact, told, at).await?)
}

//! Jobs that come back as replayed dead letters: a worker of the fleet's loop, which reads the owner's queue.

use super::kind::Kinds;
use super::letter::read_message_id;
use super::store::{self, JobState, Met};
use super::{Owner, code};
use bus::{Decoded, Incoming, ReplayedLetter, Settled, Verdict};
use db::{Error, Work};
use domain::Outcome;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// Puts replayed jobs back to due. One whose last call has an unknown end is asked about first: no replay calls twice.
///
/// It makes no call itself: what is due is taken by [`run`](super::run).
pub struct PutBack<O> {
    kinds: Kinds<O>,
}

/// A job that comes back.
pub struct Returning {
    pub kind: String,
    pub id: String,
    intent: Box<RawValue>,
    replayed: Option<ReplayedLetter>,
    came_at: OffsetDateTime,
}

/// What putting a job back would lead to, for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreseen {
    /// This would be called, as the attempt of this number.
    Called(String, u32),
    /// It would be asked what became of this attempt of this call; a call follows only where it is known to have failed.
    Asked(String, u32),
    /// It is at work or done already.
    Nothing(JobState),
    /// It would be a dead letter again, with this code.
    Refused(&'static str),
}

impl Foreseen {
    /// What would follow, in words; `None` if nothing would.
    pub fn in_words(&self) -> Option<String> {
        match self {
            Foreseen::Called(what, attempt) => Some(format!("attempt {attempt} would call {what}")),
            Foreseen::Asked(what, attempt) => {
                Some(format!("what became of attempt {attempt} would be asked: {what}"))
            }
            Foreseen::Nothing(_) | Foreseen::Refused(_) => None,
        }
    }
}

impl<O: Owner> Kinds<O> {
    /// The worker that reads what comes back to the owner's queue.
    pub fn put_back(&self) -> PutBack<O> {
        PutBack { kinds: self.clone() }
    }
}

impl<O: Owner> PutBack<O> {
    /// What [`handle`](bus::Worker::handle) would do with one, and what comes of it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn foresee(&self, work: &mut Work, item: &Returning) -> Result<Foreseen, Error> {
        let Some(kind) = self.kinds.find(&item.kind) else {
            return Ok(Foreseen::Refused(code::UNKNOWN_KIND));
        };
        let met = store::meet(work, &item.kind, &item.id, item.intent.get()).await?;
        let Some(met) = met else { return Ok(Foreseen::Refused(code::NO_SUCH_JOB)) };
        Ok(match judge(&met, item) {
            Judged::Refused(code) => Foreseen::Refused(code),
            Judged::Nothing => Foreseen::Nothing(met.state),
            Judged::PutBack => {
                let attempt = u32::try_from(met.attempt).unwrap_or_default();
                match (kind.describe(item.intent.get()), met.is_unknown) {
                    (Ok(what), true) => Foreseen::Asked(what, attempt),
                    (Ok(what), false) => Foreseen::Called(what, attempt + 1),
                    (Err(_), _) => Foreseen::Refused(code::UNREADABLE_INTENT),
                }
            }
        })
    }

    async fn put_back(&self, work: &mut Work, item: &Returning) -> Result<Verdict, Error> {
        let gone = || Verdict::Dead {
            code: code::NO_SUCH_JOB,
            reason: "there is no such job: it was purged, or never was".to_owned(),
        };
        if self.kinds.find(&item.kind).is_none() {
            let known = self.kinds.names().join(", ");
            let reason = format!("this process has no jobs of the kind {:?}: it has {known}", item.kind);
            return Ok(Verdict::Dead { code: code::UNKNOWN_KIND, reason });
        }
        let met = store::meet(work, &item.kind, &item.id, item.intent.get()).await?;
        let Some(met) = met else { return Ok(gone()) };
        Ok(match judge(&met, item) {
            Judged::PutBack => {
                store::put_back(work, &item.kind, &item.id, item.replayed).await?;
                Verdict::Done(Outcome::Applied)
            }
            Judged::Nothing => Verdict::Done(Outcome::NoOp),
            Judged::Refused(code) => {
                let reason =
                    "expected the job's own intent: a changed one is scheduled anew, under another id";
                Verdict::Dead { code, reason: reason.to_owned() }
            }
        })
    }
}

enum Judged {
    PutBack,
    Nothing,
    Refused(&'static str),
}

fn judge(met: &Met, item: &Returning) -> Judged {
    // The same message once more: it has put the job back before, whatever became of it.
    let is_repeat = item.replayed.is_some_and(|replayed| met.replay == Some(replayed.replay));
    match (met.is_same_intent, met.state) {
        (false, _) => Judged::Refused(code::CHANGED_INTENT),
        (true, JobState::Dead) if !is_repeat => Judged::PutBack,
        (true, _) => Judged::Nothing,
    }
}

impl<O: Owner> bus::Worker for PutBack<O> {
    const NAME: &'static str = O::WORKER;
    const PREFETCH: u16 = 100;
    const CODES: &'static [&'static str] = &code::ALL;

    type Item = Returning;
    type Error = Error;

    fn queue(&self) -> &'static str {
        O::QUEUE
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Returning>> {
        let name = message.message_id.as_deref().and_then(read_message_id);
        let intent = serde_json::from_slice::<Box<RawValue>>(&message.body);
        let (Some((kind, id)), Ok(intent)) = (name, intent) else {
            let reason = "expected a job: its kind and id as message id, its intent as body".to_owned();
            let (body, code) = (message.body.clone(), code::NO_SUCH_JOB);
            return vec![Decoded::Bad { body, content_type: None, code, reason }];
        };
        let replayed = message.returned.as_ref().and_then(|returned| returned.replayed);
        let (kind, id) = (kind.to_owned(), id.to_owned());
        vec![Decoded::Item(Returning { kind, id, intent, replayed, came_at: now })]
    }

    fn encode(&self, item: &Returning) -> (&'static str, Vec<u8>) {
        ("application/json", item.intent.get().as_bytes().to_vec())
    }

    fn received_at(&self, item: &Returning) -> Option<OffsetDateTime> {
        Some(item.came_at)
    }

    /// One statement or two for each: operators replay by the hundred, not by the second.
    async fn handle(&self, work: &mut Work, items: &[Returning]) -> Result<Settled, Error> {
        let mut verdicts = Vec::with_capacity(items.len());
        for item in items {
            verdicts.push(self.put_back(work, item).await?);
        }
        Ok(Settled { verdicts, ..Settled::default() })
    }
}

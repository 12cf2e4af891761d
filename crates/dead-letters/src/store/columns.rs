//! Letters of a batch as columns, as a statement takes them. All have one row for each letter, in the order of their keys: two
//! batches that meet do not wait for each other in a circle.

use crate::fingerprint;
use crate::letter::{AsItCame, Letter};
use bus::{Attempt, ReplayOutcome};
use rust_decimal::Decimal;
use sqlx::types::Json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// The letters of a batch, each once.
pub(crate) struct Distinct<'a>(BTreeMap<[u8; 32], Counted<'a>>);

struct Counted<'a> {
    letter: &'a Letter,
    copies: i32,
}

impl<'a> Distinct<'a> {
    pub fn of(letters: &[&'a Letter]) -> Self {
        let mut distinct: BTreeMap<[u8; 32], Counted<'a>> = BTreeMap::new();
        for letter in letters {
            distinct
                .entry(letter.key())
                .and_modify(|counted| counted.copies += 1)
                .or_insert(Counted { letter, copies: 1 });
        }
        Self(distinct)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn copies(&self) -> Vec<i32> {
        self.0.values().map(|counted| counted.copies).collect()
    }

    fn column<T>(&self, value: impl Fn(&'a Letter) -> T) -> Vec<T> {
        self.0.values().map(|counted| value(counted.letter)).collect()
    }
}

/// What Postgres can hold as text.
fn text(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

fn text_of(value: Option<&String>) -> Option<Cow<'_, str>> {
    value.map(|value| text(value))
}

fn headers_of(letter: &Letter) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    letter.message.headers.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn attempts_of(letter: &Letter) -> Vec<Attempt> {
    letter.attempts.iter().map(|made| Attempt { at: made.at, why: text(&made.why).into_owned() }).collect()
}

/// A column of texts, and one of texts that may be missing.
type Texts<'a> = Vec<Cow<'a, str>>;
type MaybeTexts<'a> = Vec<Option<Cow<'a, str>>>;

/// What a death says that may be another the next time.
pub(super) struct Deaths<'a> {
    pub keys: Vec<&'a [u8]>,
    pub dead: Vec<OffsetDateTime>,
    pub codes: Texts<'a>,
    pub reasons: Texts<'a>,
    pub fingerprints: Vec<String>,
    pub attempts: Vec<Json<Vec<Attempt>>>,
    pub headers: Vec<Json<BTreeMap<Cow<'a, str>, Cow<'a, str>>>>,
    pub bodies: Vec<&'a [u8]>,
}

impl<'a> Deaths<'a> {
    pub fn of(letters: &'a Distinct<'a>) -> Self {
        Self {
            keys: letters.0.keys().map(<[u8; 32]>::as_slice).collect(),
            dead: letters.column(|letter| letter.dead_at),
            codes: letters.column(|letter| text(&letter.code)),
            reasons: letters.column(|letter| text(&letter.reason)),
            fingerprints: letters.column(Letter::fingerprint),
            attempts: letters.column(|letter| Json(attempts_of(letter))),
            headers: letters.column(|letter| Json(headers_of(letter))),
            bodies: letters.column(|letter| letter.message.body.as_slice()),
        }
    }
}

/// Where letters came from: what of them stays as it was first recorded.
pub(super) struct Origins<'a> {
    pub ids: Vec<Uuid>,
    pub copies: Vec<i32>,
    pub workers: Texts<'a>,
    pub queues: Texts<'a>,
    pub first_failed: Vec<OffsetDateTime>,
    /// The letter it was before, and the replay in which it died again.
    pub previous: Vec<Option<Uuid>>,
    pub replays: Vec<Option<Uuid>>,
}

impl<'a> Origins<'a> {
    pub fn of(letters: &'a Distinct<'a>) -> Self {
        Self {
            ids: letters.column(|_| Uuid::now_v7()),
            copies: letters.copies(),
            workers: letters.column(|letter| text(&letter.worker)),
            queues: letters.column(|letter| text(&letter.queue)),
            first_failed: letters.column(|letter| letter.first_failed_at),
            previous: letters.column(|letter| letter.replayed.map(|replayed| replayed.letter)),
            replays: letters.column(|letter| letter.replayed.map(|replayed| replayed.replay)),
        }
    }
}

/// How the messages came, but for their headers and bodies.
pub(super) struct Properties<'a> {
    pub exchanges: Texts<'a>,
    pub routing_keys: Texts<'a>,
    pub message_ids: Texts<'a>,
    pub content_types: MaybeTexts<'a>,
    pub users: MaybeTexts<'a>,
    pub unreadable: Vec<Option<Json<AsItCame>>>,
}

impl<'a> Properties<'a> {
    pub fn of(letters: &'a Distinct<'a>) -> Self {
        Self {
            exchanges: letters.column(|letter| text(&letter.message.exchange)),
            routing_keys: letters.column(|letter| text(&letter.message.routing_key)),
            message_ids: letters.column(|letter| text(letter.message.message_id.as_deref().unwrap_or(""))),
            content_types: letters.column(|letter| text_of(letter.message.content_type.as_ref())),
            users: letters.column(|letter| text_of(letter.message.user_id.as_ref())),
            unreadable: letters
                .column(|letter| letter.message.unreadable.as_ref().map(|read| Json(read.into()))),
        }
    }
}

/// What the letters are about.
pub(super) struct Subjects<'a> {
    pub traces: Vec<Option<&'a str>>,
    pub types: MaybeTexts<'a>,
    pub sources: MaybeTexts<'a>,
    pub fact_ids: MaybeTexts<'a>,
    pub accounts: MaybeTexts<'a>,
    pub payments: MaybeTexts<'a>,
    pub amounts: Vec<Option<Decimal>>,
    pub currencies: Vec<Option<&'static str>>,
    pub credits: Vec<Option<Decimal>>,
}

impl<'a> Subjects<'a> {
    pub fn of(letters: &'a Distinct<'a>) -> Self {
        let subjects = || letters.column(|letter| &letter.subject).into_iter();
        Self {
            traces: subjects().map(|subject| subject.traceparent.as_deref()).collect(),
            types: subjects().map(|subject| text_of(subject.fact_type.as_ref())).collect(),
            sources: subjects()
                .map(|subject| subject.cause.as_ref().map(|cause| text(&cause.source)))
                .collect(),
            fact_ids: subjects().map(|subject| subject.cause.as_ref().map(|cause| text(&cause.id))).collect(),
            accounts: subjects().map(|subject| text_of(subject.account.as_ref())).collect(),
            payments: subjects().map(|subject| text_of(subject.payment.as_ref())).collect(),
            amounts: subjects().map(|subject| subject.money.map(|money| money.amount())).collect(),
            currencies: subjects()
                .map(|subject| subject.money.map(|money| money.currency().code()))
                .collect(),
            credits: subjects().map(|subject| subject.credits.map(|credits| credits.decimal())).collect(),
        }
    }
}

/// The kinds of failures that letters are of.
pub(super) struct KindColumns<'a> {
    pub fingerprints: Vec<String>,
    pub workers: Texts<'a>,
    pub types: Vec<Option<&'static str>>,
    pub codes: Texts<'a>,
    pub reasons: Vec<String>,
}

impl<'a> KindColumns<'a> {
    pub fn of(letters: &'a Distinct<'a>) -> Self {
        Self {
            fingerprints: letters.column(Letter::fingerprint),
            workers: letters.column(|letter| text(&letter.worker)),
            types: letters.column(Letter::fact_kind),
            codes: letters.column(|letter| text(&letter.code)),
            reasons: letters.column(|letter| text(&fingerprint::masked(&letter.reason)).into_owned()),
        }
    }
}

/// What became of replayed letters, as far as it is the last word. Where a letter was resolved and died again, it died.
#[derive(Default)]
pub(super) struct LastWords {
    pub letters: Vec<Uuid>,
    pub replays: Vec<Uuid>,
    pub states: Vec<&'static str>,
    pub outcomes: Vec<String>,
    pub times: Vec<OffsetDateTime>,
}

impl LastWords {
    pub fn of(letters: &Distinct<'_>, outcomes: &[&ReplayOutcome]) -> Self {
        let mut settled: BTreeMap<(Uuid, Uuid), (&'static str, String, OffsetDateTime)> = BTreeMap::new();
        for outcome in outcomes {
            let key = (outcome.replayed.letter, outcome.replayed.replay);
            settled.insert(key, ("resolved", text(&outcome.outcome).into_owned(), outcome.at));
        }
        for Counted { letter, .. } in letters.0.values() {
            if let Some(replayed) = letter.replayed {
                let why = text(&letter.code).into_owned();
                settled.insert((replayed.letter, replayed.replay), ("dead_again", why, letter.dead_at));
            }
        }
        let mut words = Self::default();
        for ((letter, replay), (state, outcome, at)) in settled {
            words.letters.push(letter);
            words.replays.push(replay);
            words.states.push(state);
            words.outcomes.push(outcome);
            words.times.push(at);
        }
        words
    }
}

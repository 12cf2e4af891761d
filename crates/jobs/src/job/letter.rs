//! Jobs that were given up, as dead letters.
//!
//! The row is the letter's outbox: it has a time until the broker has confirmed the letter. A crash in between publishes it
//! again, the same to the last byte, and it is recorded once.

use super::kind::Kinds;
use super::servers::JobServers;
use super::store::{self, Given};
use super::{JobSubject, Owner};
use bus::{Death, Incoming, Message, Namespace, PublishError, Publisher, ReplayedLetter, Returned, header};
use db::{Doing, Error};
use std::collections::BTreeMap;
use std::time::Duration;

/// In one step.
const STEP: i64 = 50;

/// What the broker does not take now is published again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// Publishes the letters that are due, and returns whether more may be due at once.
pub(super) async fn publish<O: Owner>(kinds: &Kinds<O>, servers: &JobServers) -> Result<bool, Error> {
    let mut transaction = servers.pool.begin().await.map_err(Error::Away)?;
    let given = store::given_up(&mut transaction, &kinds.names(), STEP).await?;
    if given.is_empty() {
        return Ok(false);
    }
    let messages: Vec<Message> =
        given.iter().map(|given| message(kinds, &servers.namespace, given)).collect();
    let outcomes = publish_each(&servers.publisher, messages).await;
    let (mut published, mut failed) = (Vec::new(), Vec::new());
    for (given, outcome) in given.iter().zip(outcomes) {
        let name = (given.kind.as_str(), given.id.as_str());
        match outcome {
            Ok(()) => {
                metrics::counter!("bursar_dead_lettered_total", "worker" => O::WORKER, "code" => given.code.clone())
                    .increment(1);
                published.push(name);
            }
            Err(error) => {
                log(given, &error);
                failed.push(name);
            }
        }
    }
    store::handed_over(&mut transaction, &published, &failed, AGAIN).await?;
    transaction.commit().await.doing("committing what letters are published")?;
    Ok(given.len() as i64 == STEP && failed.is_empty())
}

/// All at once. One that the broker objects to takes the channel down with the others: they are published once more then, each
/// by itself. A letter that arrives twice is recorded once.
async fn publish_each(publisher: &Publisher, messages: Vec<Message>) -> Vec<Result<(), PublishError>> {
    let mut outcomes = publisher.publish(messages.clone()).await;
    let is_objected = |outcome: &Result<(), PublishError>| matches!(outcome, Err(PublishError::Objected(_)));
    if messages.len() > 1 && outcomes.iter().any(is_objected) {
        for (outcome, message) in outcomes.iter_mut().zip(messages).filter(|(outcome, _)| outcome.is_err()) {
            *outcome = publisher.publish_all(vec![message]).await;
        }
    }
    outcomes
}

fn log(given: &Given, error: &PublishError) {
    let (kind, id) = (&*given.kind, &*given.id);
    tracing::error!(kind, id, %error, "the letter of a job cannot be published yet");
}

/// What a job is called in messages.
pub(super) fn message_id(kind: &str, id: &str) -> String {
    format!("{kind}/{id}")
}

pub(super) fn read_message_id(message_id: &str) -> Option<(&str, &str)> {
    message_id.split_once('/')
}

/// What the job is about, as headers of its message: they go with it whatever becomes of it.
fn headers(subject: &JobSubject) -> BTreeMap<String, String> {
    let JobSubject { account, payment, money } = subject;
    let account = account.as_ref().map(|account| (header::ABOUT_ACCOUNT, account.to_string()));
    let payment = payment.as_ref().map(|payment| (header::ABOUT_PAYMENT, payment.to_string()));
    let money = money.and_then(|money| serde_json::to_string(&money).ok());
    let money = money.map(|money| (header::ABOUT_MONEY, money));
    let headers = [account, payment, money].into_iter().flatten();
    headers.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn message<O: Owner>(kinds: &Kinds<O>, namespace: &Namespace, given: &Given) -> Message {
    let subject = kinds.find(&given.kind).map(|kind| kind.about(given.intent.0.get())).unwrap_or_default();
    let attempts = given.failures.0.clone();
    let replayed = given.replay.zip(given.letter).map(|(replay, letter)| ReplayedLetter { replay, letter });
    let first_failed_at = attempts.first().map_or(given.ended_at, |first| first.at);
    let came = Incoming {
        routing_key: format!("job.{}", given.kind),
        message_id: Some(message_id(&given.kind, &given.id)),
        content_type: Some("application/json".to_owned()),
        headers: headers(&subject),
        returned: Some(Returned { first_failed_at, attempts, replayed }),
        body: given.intent.0.get().as_bytes().to_vec(),
        ..Incoming::default()
    };
    let death = Death {
        worker: O::WORKER.to_owned(),
        queue: O::QUEUE.to_owned(),
        code: given.code.clone(),
        reason: given.reason.clone(),
        at: Some(given.ended_at),
    };
    came.given_up(namespace, &death)
}

//! The chain of events: computed again from what each event says, in the order of accounts and sequences.

use super::{Audit, CULPRITS_MAX, Culprit};
use db::chain::EventHash;
use db::outbox::StoredEvent;
use db::{Doing, Error, PgConnection};
use serde_json::value::RawValue;
use sqlx::types::Json;

/// Events in memory at a time.
const CHUNK: i64 = 2000;

/// Where the chain stands: the account that is being checked, and the number and hash of its last event.
#[derive(Default)]
struct EventChain {
    account: String,
    sequence: i64,
    previous: EventHash,
}

/// Adds to `found` every event that does not follow from the one before, or that is missing before another.
pub(super) async fn check(audit: &mut Audit<'_>, found: &mut Vec<Culprit>) -> Result<(), Error> {
    let mut chain = EventChain::default();
    let mut after = (audit.scope.unwrap_or("").to_owned(), 0);
    let mut checked = 0;
    loop {
        let events = events(audit.connection, audit.scope, &after).await?;
        let Some(last) = events.last() else { return Ok(()) };
        after = place(last);
        checked += events.len() as i64;
        let culprits = events.into_iter().filter_map(|event| chain.follow(&event));
        let room = (CULPRITS_MAX + 1).saturating_sub(found.len());
        // All of them are followed, whatever there is room for.
        found.extend(culprits.collect::<Vec<_>>().into_iter().take(room));
        audit.progress(checked);
    }
}

fn place(event: &StoredEvent) -> (String, i64) {
    (event.account.clone().unwrap_or_default(), event.sequence.unwrap_or_default())
}

impl EventChain {
    /// Goes one event further. After a break the chain goes on from what is stored: each break is named once.
    fn follow(&mut self, event: &StoredEvent) -> Option<Culprit> {
        let (account, sequence) = place(event);
        if self.account != account {
            *self = Self { account, ..Self::default() };
        }
        let expected = event.chained_hash(&self.previous);
        let before = std::mem::replace(&mut self.sequence, sequence);
        self.previous = event.hash;
        if sequence != before + 1 {
            let (subject, expected) = (self.name(before + 1), "an event of this number".to_owned());
            let got = format!("{sequence} after {before}");
            return Some(Culprit { subject, expected, got });
        }
        let (expected, got) = (hex(&expected), hex(&event.hash));
        (expected != got).then(|| Culprit { subject: self.name(sequence), expected, got })
    }

    fn name(&self, sequence: i64) -> String {
        format!("{} event {sequence}", self.account)
    }
}

fn hex(hash: &EventHash) -> String {
    hex::encode(hash)
}

async fn events(
    connection: &mut PgConnection,
    scope: Option<&str>,
    after: &(String, i64),
) -> Result<Vec<StoredEvent>, Error> {
    sqlx::query_as!(
        StoredEvent,
        r#"select id, source, account, sequence, type as kind, time, cause, traceparent,
                  data as "data: Json<Box<RawValue>>", hash as "hash: _"
           from events
           where (account, sequence) > ($1, $2) and ($3::text is null or account = $3)
           order by account, sequence limit $4"#,
        after.0,
        after.1,
        scope,
        CHUNK,
    )
    .fetch_all(connection)
    .await
    .doing("reading events")
}

#[cfg(test)]
mod tests {
    use super::*;
    use db::chain::GENESIS;
    use time::OffsetDateTime;

    fn event(account: &str, sequence: i64, head: &mut EventHash) -> StoredEvent {
        StoredEvent {
            id: uuid::Uuid::nil(),
            source: "bursar/ledger".to_owned(),
            account: Some(account.to_owned()),
            sequence: Some(sequence),
            kind: "credits.granted".to_owned(),
            time: OffsetDateTime::UNIX_EPOCH,
            cause: format!("paddle/evt_{sequence}"),
            traceparent: None,
            data: Json(serde_json::value::to_raw_value("x").unwrap()),
            hash: GENESIS,
        }
        .chained(head)
    }

    /// Three events of an account and two of another, in their order.
    fn sound() -> Vec<StoredEvent> {
        let (mut first, mut second) = (GENESIS, GENESIS);
        let mut events: Vec<StoredEvent> = (1..=3).map(|sequence| event("a", sequence, &mut first)).collect();
        events.extend((1..=2).map(|sequence| event("b", sequence, &mut second)));
        events
    }

    #[track_caller]
    fn check(events: &[StoredEvent], expect: &[&str]) {
        let mut chain = EventChain::default();
        let named: Vec<String> =
            events.iter().filter_map(|event| chain.follow(event)).map(|culprit| culprit.subject).collect();
        assert_eq!(named, expect);
    }

    #[test]
    fn a_sound_chain_is_followed_from_account_to_account() {
        check(&sound(), &[]);
    }

    #[test]
    fn a_changed_event_is_named_once() {
        let mut events = sound();
        events[1].cause.push('x');
        check(&events, &["a event 2"]);
    }

    #[test]
    fn a_missing_event_is_named_by_its_number() {
        let mut events = sound();
        events.remove(1);
        check(&events, &["a event 2"]);
        events.remove(0);
        check(&events, &["a event 1"]);
    }

    #[test]
    fn events_that_changed_places_are_both_named() {
        let mut events = sound();
        events.swap(0, 1);
        (events[0].sequence, events[1].sequence) = (Some(1), Some(2));
        check(&events, &["a event 1", "a event 2", "a event 3"]);
    }
}

//! Events of accounts, emitted by whichever worker commits them.
//!
//! A worker that emits an event of an account locks that account's row, numbers the event behind the account's last one and
//! chains it to that one's hash; events, numbers and the change that they report are committed together. So several workers
//! emit at once, and an account's sequence has no gap. Accounts come last in the order of locks.

mod store;

use bus::{EmittedEvents, Namespace};
use db::chain::{EventHash, GENESIS};
use db::outbox::StoredEvent;
use db::{Error, Work};
use domain::event::{Event, EventKind};
use domain::{AccountId, Cause};
use serde_json::value::RawValue;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use uuid::Uuid;

/// An event to be published. It gets its id, its number and its hash when it is emitted.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Of none: it has no number, and is a chain of its own.
    account: Option<AccountId>,
    kind: EventKind,
    time: OffsetDateTime,
    cause: Cause,
    traceparent: Option<String>,
    data: Box<RawValue>,
}

impl NewEvent {
    /// The event as it was decided: its kind is that of its data. `traceparent`: of the message that it comes of.
    pub fn of(event: &Event, traceparent: Option<&str>) -> Self {
        Self {
            account: event.account.clone(),
            kind: event.kind(),
            time: event.time,
            cause: event.cause.clone(),
            traceparent: traceparent.map(str::to_owned),
            data: event.data_to_json(),
        }
    }
}

/// Where the chain of an account's events ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountHead {
    /// The number of the last event; 0 before the first.
    pub sequence: i64,
    pub hash: EventHash,
}

impl AccountHead {
    /// Before an account's first event.
    pub const BEGINNING: AccountHead = AccountHead { sequence: 0, hash: GENESIS };
}

/// The heads of accounts whose rows this transaction holds, while it emits events.
#[derive(Debug, Default)]
pub struct Heads {
    /// The worker that emits: `bursar/ledger`.
    source: &'static str,
    heads: BTreeMap<AccountId, AccountHead>,
    moved: BTreeSet<AccountId>,
}

impl Heads {
    /// Locks the rows of these accounts, in their order; inserts those that have no row yet. `source` names the
    /// worker that emits. At most two statements.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lock(
        work: &mut Work,
        source: &'static str,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<Self, Error> {
        let heads = store::lock(work, accounts).await?;
        Ok(Self::held(source, heads))
    }

    /// Of accounts whose rows the caller has locked, and will write, by statements of its own.
    pub fn held(source: &'static str, heads: impl IntoIterator<Item = (AccountId, AccountHead)>) -> Self {
        Self { source, heads: heads.into_iter().collect(), moved: BTreeSet::new() }
    }

    pub fn get(&self, account: &AccountId) -> Option<&AccountHead> {
        self.heads.get(account)
    }

    /// The accounts that events were emitted of.
    pub fn moved(&self) -> &BTreeSet<AccountId> {
        &self.moved
    }

    /// The event as the next of its account. It is in memory alone, as its head is: see [`Heads::save`].
    ///
    /// Fails where the account's row is not held.
    ///
    /// # Errors
    /// An event of an account whose row is not locked here.
    pub fn emit(&mut self, event: NewEvent) -> Result<StoredEvent, Error> {
        let stored = StoredEvent {
            id: Uuid::now_v7(),
            source: self.source.to_owned(),
            account: None,
            sequence: None,
            kind: event.kind.as_str().to_owned(),
            time: event.time,
            cause: event.cause.to_string(),
            traceparent: event.traceparent,
            data: Json(event.data),
            hash: GENESIS,
        };
        let Some(account) = event.account else { return Ok(stored.alone()) };
        let Some(head) = self.heads.get_mut(&account) else {
            let why = format!("an event of {account} was to be emitted without the lock of its row");
            return Err(Error::stored("an account", why));
        };
        head.sequence += 1;
        let (name, sequence) = (Some(account.as_str().to_owned()), Some(head.sequence));
        self.moved.insert(account);
        Ok(StoredEvent { account: name, sequence, ..stored }.chained(&mut head.hash))
    }

    /// Writes the heads that have moved. The caller then stores the events ([`db::outbox::put`]) in the same transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn save(&self, work: &mut Work) -> Result<(), Error> {
        let moved = self.moved.iter().filter_map(|account| Some((account, self.heads.get(account)?)));
        store::save(work, &moved.collect::<Vec<_>>()).await
    }
}

/// Events that are stored and go out once the transaction is committed.
#[derive(Debug)]
pub struct Emitted {
    pub events: Vec<StoredEvent>,
    /// The row of the outbox that stands for them.
    row: Uuid,
}

impl Emitted {
    /// Stores events that were numbered, and the row that stands for them; `None` if there are no events.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn store(work: &mut Work, events: Vec<StoredEvent>) -> Result<Option<Self>, Error> {
        let row = db::outbox::put(work, &events).await?;
        Ok(row.map(|row| Self { events, row }))
    }

    /// What the consumer loop publishes after the commit.
    pub fn emitted(&self, namespace: &Namespace) -> EmittedEvents {
        let messages = self.events.iter().map(|event| bus::outbox::message(namespace, event)).collect();
        EmittedEvents { row: self.row, messages }
    }
}

/// Emits events in one call: locks their accounts, numbers and chains them, stores them. For a worker that holds no other lock
/// of an account and takes none after it. At most five statements, however many events.
///
/// # Errors
/// Those of the database.
pub async fn emit(
    work: &mut Work,
    source: &'static str,
    events: Vec<NewEvent>,
) -> Result<Option<Emitted>, Error> {
    let accounts = events.iter().filter_map(|event| event.account.clone()).collect();
    let mut heads = Heads::lock(work, source, &accounts).await?;
    let stored = events.into_iter().map(|event| heads.emit(event)).collect::<Result<Vec<_>, _>>()?;
    heads.save(work).await?;
    Emitted::store(work, stored).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Credits;
    use domain::event::DebtCovered;

    fn event(account: Option<&str>) -> NewEvent {
        let event = Event {
            account: account.map(|account| AccountId::new(account).unwrap()),
            cause: Cause { source: "paddle".to_owned(), id: "evt_1".to_owned() },
            time: OffsetDateTime::UNIX_EPOCH,
            data: DebtCovered { credits: Credits::whole(3) }.into(),
            balances: None,
        };
        NewEvent::of(&event, Some("00-trace"))
    }

    #[test]
    fn an_event_is_stored_under_the_kind_of_its_data() {
        let stored = Heads::default().emit(event(None)).unwrap();
        assert_eq!((stored.kind.as_str(), stored.data.0.get()), ("debt.covered", r#"{"credits":"3"}"#));
        assert_eq!(stored.traceparent.as_deref(), Some("00-trace"));
    }

    #[test]
    fn events_of_an_account_are_numbered_and_chained_in_the_order_in_which_they_are_emitted() {
        let account = AccountId::new("acct_1").unwrap();
        let began = AccountHead { sequence: 7, hash: [1; 32] };
        let mut heads = Heads::held("bursar/test", [(account.clone(), began)]);
        let first = heads.emit(event(Some("acct_1"))).unwrap();
        let second = heads.emit(event(Some("acct_1"))).unwrap();
        assert_eq!((first.sequence, second.sequence), (Some(8), Some(9)));
        assert_eq!(first.hash, first.chained_hash(&[1; 32]));
        assert_eq!(second.hash, second.chained_hash(&first.hash));
        assert_eq!(heads.get(&account), Some(&AccountHead { sequence: 9, hash: second.hash }));
        let of_nobody = heads.emit(event(None)).unwrap();
        assert_eq!((of_nobody.sequence, of_nobody.hash), (None, of_nobody.chained_hash(&GENESIS)));
        assert!(heads.emit(event(Some("acct_2"))).is_err(), "an account that is not held");
    }
}

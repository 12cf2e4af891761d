//! A payment's record: what its facts say of it, merged.
//!
//! Merging is commutative and idempotent: the record is a function of the *set* of facts, whatever their order and
//! however often they come. Every choice between two statements is by a total order that ends with the event's id.

mod gone;

pub use gone::{Gone, LineGone};

use crate::catalog::{Catalog, Sold, Unknown, Worth};
use crate::fact::{
    self, AccountLink, AssignmentAct, HoldStatus, Item, LinkProof, MovedLine, MovementKind, MovementStatus,
    PaymentStatus, Purpose, is_false,
};
use crate::ids::{AccountId, CustomerId};
use crate::money::{Credits, Money, SCALE_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// How a record is understood. What was decided by an earlier reading stays as it is until a fact about the payment comes,
/// or an operator has it restated; a rebuild reads as was read then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "i16", try_from = "i16")]
pub enum Reading {
    /// Of chargebacks and backs the sums were clamped, not each movement; nothing named a line; what was said before it
    /// was paid told nothing of its tax.
    #[default]
    First,
    Second,
}

impl Reading {
    pub const TODAY: Reading = Reading::Second;

    pub fn is_first(&self) -> bool {
        *self == Reading::First
    }
}

impl From<Reading> for i16 {
    fn from(reading: Reading) -> i16 {
        match reading {
            Reading::First => 1,
            Reading::Second => 2,
        }
    }
}

impl TryFrom<i16> for Reading {
    type Error = String;

    fn try_from(number: i16) -> Result<Self, String> {
        match number {
            1 => Ok(Reading::First),
            2 => Ok(Reading::Second),
            _ => Err(format!("expected a reading that this version knows, 1 or 2, got {number}")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// By the processor's object that says it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<String, Stated<Description>>,
    /// By the processor's own id of the movement.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub movements: BTreeMap<String, Stated<Movement>>,
    /// Placed by the refund desk, by the hold's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holds: BTreeMap<String, Stated<Hold>>,
    /// Operators' words on whose it is and what it grants, by the fact's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub assignments: BTreeMap<String, Stated<Assigned>>,
    /// Operators' words on what movements in another currency are in this one, by the movement's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub valuations: BTreeMap<String, Stated<Valued>>,
}

/// What an event said, and when: enough to choose between two statements about the same object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stated<T> {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub event: String,
    #[serde(flatten)]
    pub what: T,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub precedence: u8,
    pub status: PaymentStatus,
    pub amount: Money,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_tax: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_discounts: Option<Money>,
    #[serde(default, skip_serializing_if = "Purpose::is_not_asked")]
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountLink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Movement {
    pub kind: MovementKind,
    pub status: MovementStatus,
    pub amount: Money,
    #[serde(default)]
    pub full: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<MovedLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    pub amount: Money,
    pub status: HoldStatus,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    #[serde(default)]
    pub act: AssignmentAct,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_todays_catalog: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Valued {
    pub amount: Money,
}

/// What was paid and for what, once a description says that it was paid.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// What movements count against: `T` of the rule.
    pub total: Money,
    pub before_tax: Money,
    pub before_discounts: Option<Money>,
    pub purpose: Purpose,
    pub items: Vec<Item>,
    pub account: Option<AccountLink>,
    /// Whoever it is said to be by, in the order in which they are asked for their account: the processor's own customers,
    /// then the addresses of guests.
    pub customers: Vec<CustomerId>,
    /// What it grants by an operator's word, whatever catalog and rate say.
    pub credits: Option<Credits>,
    /// When the processor says it was paid: the leading description's time.
    pub at: OffsetDateTime,
}

impl Terms {
    /// What a delivered payment grants: nothing where a rate would tell it and it is known to be for something else. What
    /// was delivered before that was known is taken back, so that the order of facts does not matter.
    pub fn worth_delivered(&self, processor: &str, catalog: &Catalog, scale: u32) -> Result<Worth, Unknown> {
        match self.worth(processor, catalog, scale) {
            Err(Unknown::NotAPurchaseOfCredits) if self.purpose == Purpose::Other => Ok(Worth::default()),
            worth => worth,
        }
    }

    /// What the payment grants: by an operator's word, else by the catalog. Why it is unknown where neither knows, or
    /// where it is more than an account can hold.
    pub fn worth(&self, processor: &str, catalog: &Catalog, scale: u32) -> Result<Worth, Unknown> {
        let worth = match self.credits {
            Some(credits) => Worth { purchase: credits, ..Worth::default() },
            None => catalog.worth(processor, &self.sold(), scale)?,
        };
        worth.total().within(SCALE_MAX).map_err(|_| Unknown::Price)?;
        Ok(worth)
    }

    /// What each line grants, where the catalog's prices tell it: what an operator or a rate says has no lines.
    pub fn credits_by_line(
        &self,
        processor: &str,
        catalog: &Catalog,
        scale: u32,
    ) -> Option<BTreeMap<String, Credits>> {
        match self.credits {
            Some(_) => None,
            None => catalog.credits_by_line(processor, &self.sold(), scale),
        }
    }

    /// It was paid for something that sells no credits, and says so: nothing is to be delivered, whoever it is.
    pub fn sells_nothing(&self) -> bool {
        self.credits.is_none() && self.sold().is_nothing()
    }

    fn sold(&self) -> Sold<'_> {
        Sold {
            items: &self.items,
            purpose: self.purpose,
            total: self.total,
            before_tax: self.before_tax,
            before_discounts: self.before_discounts,
        }
    }
}

impl Record {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .expect("a record holds only strings, numbers and times, which JSON can spell")
    }

    pub fn describe(&mut self, event: &str, fact: &fact::Payment) {
        let what = Description {
            precedence: fact.precedence,
            status: fact.status,
            amount: fact.amount,
            before_tax: fact.before_tax,
            before_discounts: fact.before_discounts,
            purpose: fact.purpose,
            items: fact.items.clone(),
            account: fact.account.clone(),
            customer: fact.customer.clone(),
        };
        let stated = Stated { at: fact.occurred_at, event: event.to_owned(), what };
        keep_later(&mut self.descriptions, fact.object.clone(), stated, description_order);
    }

    pub fn note_movement(&mut self, event: &str, fact: &fact::Movement) {
        let what = Movement {
            kind: fact.kind,
            status: fact.status,
            amount: fact.amount,
            full: fact.full,
            hold: fact.hold.clone(),
            lines: fact.lines.clone(),
        };
        let stated = Stated { at: fact.occurred_at, event: event.to_owned(), what };
        keep_later(&mut self.movements, fact.movement.clone(), stated, movement_order);
    }

    pub fn note_hold(&mut self, event: &str, fact: &fact::Hold) {
        let what = Hold { amount: fact.amount, status: fact.status };
        let stated = Stated { at: fact.occurred_at, event: event.to_owned(), what };
        keep_later(&mut self.holds, fact.hold.clone(), stated, hold_order);
    }

    pub fn note_assignment(&mut self, event: &str, fact: &fact::Assignment) {
        let what = Assigned {
            act: fact.act,
            account: fact.account.clone(),
            credits: fact.credits,
            by_todays_catalog: fact.by_todays_catalog,
        };
        let stated = Stated { at: fact.occurred_at, event: event.to_owned(), what };
        keep_later(&mut self.assignments, event.to_owned(), stated, time_order);
    }

    pub fn note_valuation(&mut self, event: &str, fact: &fact::Valuation) {
        let stated =
            Stated { at: fact.occurred_at, event: event.to_owned(), what: Valued { amount: fact.amount } };
        keep_later(&mut self.valuations, fact.movement.clone(), stated, time_order);
    }

    /// Whether two records say the same, whichever events they have it from.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: &BTreeMap<String, Stated<T>>, b: &BTreeMap<String, Stated<T>>) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.what == b.1.what)
        }
        same(&self.descriptions, &other.descriptions)
            && same(&self.movements, &other.movements)
            && same(&self.holds, &other.holds)
            && same(&self.assignments, &other.assignments)
            && same(&self.valuations, &other.valuations)
    }

    /// Takes over what another record says: the two turned out to be one payment.
    pub fn absorb(&mut self, other: Record) {
        for (object, stated) in other.descriptions {
            keep_later(&mut self.descriptions, object, stated, description_order);
        }
        for (movement, stated) in other.movements {
            keep_later(&mut self.movements, movement, stated, movement_order);
        }
        for (hold, stated) in other.holds {
            keep_later(&mut self.holds, hold, stated, hold_order);
        }
        for (event, stated) in other.assignments {
            keep_later(&mut self.assignments, event, stated, time_order);
        }
        for (movement, stated) in other.valuations {
            keep_later(&mut self.valuations, movement, stated, time_order);
        }
    }

    /// The last word of an operator that tells something of the payment.
    fn assigned<T>(&self, tells: impl Fn(&Assigned) -> Option<T>) -> Option<T> {
        let mut words: Vec<&Stated<Assigned>> = self.assignments.values().collect();
        words.sort_by(|a, b| time_order(b, a));
        words.into_iter().find_map(|stated| tells(&stated.what))
    }

    fn assigned_account(&self) -> Option<AccountId> {
        self.assigned(|word| word.account.clone())
    }

    /// Where it goes by an operator's last word, if that was a move: of two moves the later one holds, whichever comes
    /// last.
    pub fn moved_to(&self) -> Option<AccountId> {
        let word = self.assigned(|word| word.account.clone().map(|account| (word.act, account)));
        word.filter(|(act, _)| *act == AssignmentAct::Move).map(|(_, account)| account)
    }

    /// What was paid, field by field from the leading description that tells it; nothing while no description says
    /// that it was paid. Also what was said before it was paid may tell whose it is and what was sold; what it says of
    /// amounts counts only where that very amount was paid: less may have been captured.
    pub fn terms(&self, reading: Reading) -> Option<Terms> {
        let all = self.described();
        let said = || all.iter().map(|stated| &stated.what);
        let paid = || said().filter(|what| what.status == PaymentStatus::Paid);
        let leading = all.iter().find(|stated| stated.what.status == PaymentStatus::Paid)?;
        let total = leading.what.amount;
        let foretold = said().filter(|what| what.status != PaymentStatus::Paid && what.amount == total);
        let foretold = || foretold.clone().filter(|_| !reading.is_first());
        let in_its_currency = |money: &Money| money.currency() == total.currency();
        let before_tax = paid().chain(foretold()).filter_map(|what| what.before_tax).find(in_its_currency);
        let before_discounts =
            paid().chain(foretold()).filter_map(|what| what.before_discounts).find(in_its_currency);
        let mut customers: Vec<CustomerId> = said().filter_map(|what| what.customer.clone()).collect();
        customers.sort_by_key(CustomerId::is_email);
        customers.dedup();
        Some(Terms {
            total,
            before_tax: before_tax.unwrap_or(total),
            before_discounts,
            purpose: self.purpose(),
            items: self.items(total),
            account: self
                .assigned_account()
                .map(|account| AccountLink { by_reference: false, account, proof: LinkProof::Stated })
                .or_else(|| self.links().next().cloned()),
            customers,
            credits: self.assigned(|word| word.credits),
            at: leading.at,
        })
    }

    /// What the leading object says it was for: a session knows its mode. Else other goods, whoever says so, since metadata
    /// alone says credits of a subscription's fee as well; else credits. As long as one of those that say nothing was
    /// described before anybody asked, it is as it was then.
    fn purpose(&self) -> Purpose {
        let said = || self.descriptions.values().map(|stated| &stated.what);
        let leading = self.described().into_iter().filter(|stated| stated.what.precedence == 0);
        let says = |purpose| said().any(|what| what.purpose == purpose).then_some(purpose);
        leading
            .filter_map(|stated| stated.what.purpose.stated())
            .next()
            .or_else(|| says(Purpose::Other))
            .or_else(|| says(Purpose::Credits))
            .or_else(|| says(Purpose::NotAsked))
            .unwrap_or(Purpose::Unstated)
    }

    /// What was sold, as the leading description that tells it says; how many, as any says that does not only assume it.
    /// What was said before it was paid tells nothing of each one's part where another amount was paid.
    fn items(&self, total: Money) -> Vec<Item> {
        let all = self.described();
        let said = || all.iter().map(|stated| &stated.what);
        let Some(leading) = said().find(|what| !what.items.is_empty()) else { return Vec::new() };
        let mut items = leading.items.clone();
        if leading.status != PaymentStatus::Paid && leading.amount != total {
            items.iter_mut().for_each(|item| (item.amount, item.before_discounts) = (None, None));
        }
        let stated = |price: &str| {
            let is_it = |item: &&Item| item.price == price && !item.quantity_assumed;
            said().find_map(|what| what.items.iter().find(is_it)).map(|item| item.quantity)
        };
        for item in items.iter_mut().filter(|item| item.quantity_assumed) {
            if let Some(quantity) = stated(&item.price) {
                (item.quantity, item.quantity_assumed) = (quantity, false);
            }
        }
        items
    }

    /// Descriptions, the leading one first.
    fn described(&self) -> Vec<&Stated<Description>> {
        let mut all: Vec<(&String, &Stated<Description>)> = self.descriptions.iter().collect();
        all.sort_by(|a, b| (a.1.what.precedence, a.0).cmp(&(b.1.what.precedence, b.0)));
        all.into_iter().map(|(_, stated)| stated).collect()
    }

    /// The accounts that descriptions name, the leading one first: those under the configured key, whichever object says
    /// them; only where there is none, those of a field that only serves.
    fn links(&self) -> impl Iterator<Item = &AccountLink> {
        let named: Vec<&AccountLink> =
            self.described().into_iter().filter_map(|stated| stated.what.account.as_ref()).collect();
        let serving = named.iter().all(|link| link.by_reference);
        named.into_iter().filter(move |link| link.by_reference == serving)
    }

    /// Two descriptions name different accounts, and no operator has decided: never guessed. One that only serves
    /// contradicts no explicit one.
    pub fn contradicts_itself(&self) -> bool {
        if self.assigned_account().is_some() {
            return false;
        }
        let mut links = self.links();
        let first = links.next();
        links.any(|link| Some(&link.account) != first.map(|first| &first.account))
    }

    /// Two descriptions say that different amounts were paid. The leading one's is counted, and somebody must look.
    pub fn contradicts_its_amount(&self) -> bool {
        let mut amounts = self
            .descriptions
            .values()
            .filter(|stated| stated.what.status == PaymentStatus::Paid)
            .map(|stated| stated.what.amount);
        let first = amounts.next();
        amounts.any(|amount| Some(amount) != first)
    }
}

type Order<T> = fn(&Stated<T>, &Stated<T>) -> std::cmp::Ordering;

fn keep_later<T>(map: &mut BTreeMap<String, Stated<T>>, key: String, stated: Stated<T>, order: Order<T>) {
    match map.entry(key) {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(stated);
        }
        std::collections::btree_map::Entry::Occupied(mut place) => {
            if order(&stated, place.get()).is_gt() {
                place.insert(stated);
            }
        }
    }
}

fn description_order(a: &Stated<Description>, b: &Stated<Description>) -> std::cmp::Ordering {
    (a.what.status, a.at, &a.event).cmp(&(b.what.status, b.at, &b.event))
}

/// A refund goes by rank, then time: processors stamp events milliseconds out of causal order, and a refund's states
/// only go forward. A dispute is won, lost and reopened: it goes by time, then rank.
fn movement_order(a: &Stated<Movement>, b: &Stated<Movement>) -> std::cmp::Ordering {
    // One id with two kinds is an adapter's mistake; the order must be total all the same.
    if a.what.kind != b.what.kind {
        return a.what.kind.cmp(&b.what.kind);
    }
    match a.what.kind {
        MovementKind::Refund => (a.what.status, a.at, &a.event).cmp(&(b.what.status, b.at, &b.event)),
        MovementKind::Chargeback | MovementKind::Back => {
            (a.at, a.what.status, &a.event).cmp(&(b.at, b.what.status, &b.event))
        }
    }
}

fn hold_order(a: &Stated<Hold>, b: &Stated<Hold>) -> std::cmp::Ordering {
    (a.what.status, a.at, &a.event).cmp(&(b.what.status, b.at, &b.event))
}

fn time_order<T>(a: &Stated<T>, b: &Stated<T>) -> std::cmp::Ordering {
    (a.at, &a.event).cmp(&(b.at, &b.event))
}

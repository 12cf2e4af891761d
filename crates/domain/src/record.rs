//! A payment's record: what its facts say of it, merged.
//!
//! Merging is commutative and idempotent: the record is a function of the *set* of facts, whatever their order and
//! however often they come. Every choice between two statements is by a total order that ends with the event's id.

use crate::catalog::{Catalog, Worth};
use crate::fact::{
    self, AccountLink, AssignmentAct, HoldStatus, Item, LinkProof, MovementKind, MovementStatus,
    PaymentStatus,
};
use crate::ids::{AccountId, CustomerId};
use crate::money::{Credits, Money, SCALE_MAX};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

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

/// How much of a payment's money is gone, and how much is in question; both within `0..=T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gone {
    /// `R` of the rule.
    pub reversed: Decimal,
    /// `H` of the rule.
    pub held: Decimal,
    /// A movement is in another currency than the payment: its amount cannot be counted, so the rest is held until
    /// an operator states it.
    pub foreign_currency: bool,
}

impl Terms {
    /// What the payment grants: by an operator's word, else by the catalog. Nothing where neither knows, or where it is
    /// more than an account can hold.
    pub fn worth(&self, processor: &str, catalog: &Catalog, scale: u32) -> Option<Worth> {
        let worth = match self.credits {
            Some(credits) => Worth { purchase: credits, ..Worth::default() },
            None => catalog.worth(processor, &self.items, self.before_tax, scale)?,
        };
        worth.total().within(SCALE_MAX).is_ok().then_some(worth)
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
        let what = Assigned { act: fact.act, account: fact.account.clone(), credits: fact.credits };
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
    /// that it was paid.
    pub fn terms(&self) -> Option<Terms> {
        let mut paid: Vec<(&String, &Stated<Description>)> = self
            .descriptions
            .iter()
            .filter(|(_, stated)| stated.what.status == PaymentStatus::Paid)
            .collect();
        paid.sort_by(|a, b| (a.1.what.precedence, a.0).cmp(&(b.1.what.precedence, b.0)));
        let leading = paid.first()?.1;
        // Also what was said before it was paid may name the account: an intent's metadata, a session's reference.
        let mut all: Vec<(&String, &Stated<Description>)> = self.descriptions.iter().collect();
        all.sort_by(|a, b| (a.1.what.precedence, a.0).cmp(&(b.1.what.precedence, b.0)));
        let said = || all.iter().map(|(_, stated)| &stated.what);
        let total = leading.what.amount;
        let before_tax = paid
            .iter()
            .filter_map(|(_, stated)| stated.what.before_tax)
            .find(|money| money.currency() == total.currency())
            .unwrap_or(total);
        let mut customers: Vec<CustomerId> = said().filter_map(|what| what.customer.clone()).collect();
        customers.sort_by_key(CustomerId::is_email);
        customers.dedup();
        Some(Terms {
            total,
            before_tax,
            items: said()
                .map(|what| &what.items)
                .find(|items| !items.is_empty())
                .cloned()
                .unwrap_or_default(),
            account: self
                .assigned_account()
                .map(|account| AccountLink { by_reference: false, account, proof: LinkProof::Stated })
                .or_else(|| said().find_map(|what| what.account.clone())),
            customers,
            credits: self.assigned(|word| word.credits),
            at: leading.at,
        })
    }

    /// Two descriptions name different accounts, and no operator has decided: never guessed.
    pub fn contradicts_itself(&self) -> bool {
        if self.assigned_account().is_some() {
            return false;
        }
        let mut accounts = self.descriptions.values().filter_map(|stated| stated.what.account.as_ref());
        let first = accounts.next();
        accounts.any(|link| Some(&link.account) != first.map(|first| &first.account))
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

    /// `R` and `H` of the rule, for a payment of `total`.
    pub fn gone(&self, total: Money) -> Gone {
        let whole = total.amount();
        let clamp = |amount: Decimal| amount.clamp(Decimal::ZERO, whole);
        let sum = |kind, status| -> Decimal {
            self.movements_of(kind, status)
                .filter_map(|(id, movement)| self.counted(id, movement, total))
                .sum()
        };
        let refunds = clamp(sum(MovementKind::Refund, MovementStatus::Final));
        let (chargebacks, backs) = self.standing_chargebacks_and_backs(total);
        let counted = |amounts: &[Option<Decimal>]| -> Decimal { amounts.iter().flatten().sum() };
        let disputed = clamp(counted(&chargebacks)) - clamp(counted(&backs));
        let reversed = clamp(refunds + disputed.max(Decimal::ZERO));

        let pending = sum(MovementKind::Refund, MovementStatus::Pending)
            + sum(MovementKind::Chargeback, MovementStatus::Pending);
        let rest = whole - reversed;
        // Final chargebacks and backs count as far as they do not cancel each other, everything else by itself.
        let is_unknown = |(kind, status)| {
            self.movements_of(kind, status).any(|(id, movement)| self.counted(id, movement, total).is_none())
        };
        let foreign_currency = chargebacks.iter().chain(&backs).any(Option::is_none)
            || [
                (MovementKind::Refund, MovementStatus::Final),
                (MovementKind::Refund, MovementStatus::Pending),
                (MovementKind::Chargeback, MovementStatus::Pending),
                (MovementKind::Back, MovementStatus::Pending),
            ]
            .into_iter()
            .any(is_unknown);
        let held = if foreign_currency {
            rest
        } else {
            (pending + self.holds_placed(total)).clamp(Decimal::ZERO, rest)
        };
        Gone { reversed, held, foreign_currency }
    }

    fn movements_of(
        &self,
        kind: MovementKind,
        status: MovementStatus,
    ) -> impl Iterator<Item = (&str, &Movement)> {
        self.movements
            .iter()
            .map(|(id, stated)| (id.as_str(), &stated.what))
            .filter(move |(_, m)| m.kind == kind && m.status == status)
    }

    /// What a movement counts against the payment: its amount, or for one in another currency what an operator stated
    /// of it; nothing until then.
    fn counted(&self, movement: &str, moved: &Movement, total: Money) -> Option<Decimal> {
        let own = |money: Money| (money.currency() == total.currency()).then(|| money.amount());
        own(moved.amount).or_else(|| self.valuations.get(movement).and_then(|stated| own(stated.what.amount)))
    }

    /// Final chargebacks and final backs, as they count, nothing where that is unknown. A back that is full cancels one
    /// chargeback whatever the two amounts are (an exchange rate moved between them) and in whatever currency: one of
    /// unknown amount, else the greatest still standing, so that the order of facts does not matter.
    fn standing_chargebacks_and_backs(&self, total: Money) -> (Vec<Option<Decimal>>, Vec<Option<Decimal>>) {
        let mut chargebacks: Vec<Option<Decimal>> = self
            .movements_of(MovementKind::Chargeback, MovementStatus::Final)
            .map(|(id, movement)| self.counted(id, movement, total))
            .collect();
        chargebacks.sort_by_key(|amount| (amount.is_none(), *amount));
        let mut backs = Vec::new();
        for (id, back) in self.movements_of(MovementKind::Back, MovementStatus::Final) {
            if !(back.full && chargebacks.pop().is_some()) {
                backs.push(self.counted(id, back, total));
            }
        }
        (chargebacks, backs)
    }

    /// Holds of the refund desk that stand and that no movement has replaced.
    fn holds_placed(&self, total: Money) -> Decimal {
        let replaced =
            |hold: &str| self.movements.values().any(|stated| stated.what.hold.as_deref() == Some(hold));
        self.holds
            .iter()
            .filter(|(hold, stated)| stated.what.status == HoldStatus::Placed && !replaced(hold))
            .filter(|(_, stated)| stated.what.amount.currency() == total.currency())
            .map(|(_, stated)| stated.what.amount.amount())
            .sum()
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

//! A payment's record: what its facts say of it, merged.
//!
//! Merging is commutative and idempotent: the record is a function of the *set* of facts, whatever their order and
//! however often they come. Every choice between two statements is by a total order that ends with the event's id.

mod gone;
mod reading;
mod statement;
mod terms;
mod understanding;

pub use gone::{Gone, LineGone, Returned};
pub use reading::Reading;
pub use statement::{Assigned, Description, RecordedHold, RecordedMovement, Stated, Valued};
pub use terms::Terms;

use crate::fact;
use serde::{Deserialize, Serialize};
use statement::{description_order, hold_order, keep_later, movement_order, time_order};
use std::collections::BTreeMap;

/// What the facts of one payment say.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PaymentRecord {
    /// By the processor's object that says it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<String, Stated<Description>>,
    /// By the processor's own id of the movement.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub movements: BTreeMap<String, Stated<RecordedMovement>>,
    /// Placed by the refund desk, by the hold's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holds: BTreeMap<String, Stated<RecordedHold>>,
    /// Operators' words on whose it is and what it grants, by the fact's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub assignments: BTreeMap<String, Stated<Assigned>>,
    /// Operators' words on what movements in another currency are in this one, by the movement's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub valuations: BTreeMap<String, Stated<Valued>>,
}

impl PaymentRecord {
    /// As it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .expect("a record holds only strings, numbers and times, which JSON can spell")
    }

    /// Takes over what one of the processor's objects says of the purchase.
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

    /// Takes over how a movement looks now.
    pub fn note_movement(&mut self, event: &str, fact: &fact::Movement) {
        let what = RecordedMovement {
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

    /// Takes over how a hold looks now.
    pub fn note_hold(&mut self, event: &str, fact: &fact::Hold) {
        let what = RecordedHold { amount: fact.amount, status: fact.status };
        let stated = Stated { at: fact.occurred_at, event: event.to_owned(), what };
        keep_later(&mut self.holds, fact.hold.clone(), stated, hold_order);
    }

    /// Takes over an operator's word on whose it is and what it grants.
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

    /// Takes over what an operator says a movement in another currency is worth.
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
    pub fn absorb(&mut self, other: PaymentRecord) {
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
}

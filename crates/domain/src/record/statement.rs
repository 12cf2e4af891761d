//! What an event said of a payment, and which of two statements about one object is kept.

use crate::fact::{
    AccountLink, AssignmentAct, HoldStatus, LineItem, MovedLine, MovementKind, MovementStatus, PaymentStatus,
    Purpose, is_false,
};
use crate::ids::{AccountId, CustomerId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

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
    pub items: Vec<LineItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountLink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedMovement {
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
pub struct RecordedHold {
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

type StatementOrder<T> = fn(&Stated<T>, &Stated<T>) -> std::cmp::Ordering;

pub(super) fn keep_later<T>(
    map: &mut BTreeMap<String, Stated<T>>,
    key: String,
    stated: Stated<T>,
    order: StatementOrder<T>,
) {
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

pub(super) fn description_order(a: &Stated<Description>, b: &Stated<Description>) -> std::cmp::Ordering {
    (a.what.status, a.at, &a.event).cmp(&(b.what.status, b.at, &b.event))
}

/// A refund goes by rank, then time: processors stamp events milliseconds out of causal order, and a refund's states
/// only go forward. A dispute is won, lost and reopened: it goes by time, then rank.
pub(super) fn movement_order(
    a: &Stated<RecordedMovement>,
    b: &Stated<RecordedMovement>,
) -> std::cmp::Ordering {
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

pub(super) fn hold_order(a: &Stated<RecordedHold>, b: &Stated<RecordedHold>) -> std::cmp::Ordering {
    (a.what.status, a.at, &a.event).cmp(&(b.what.status, b.at, &b.event))
}

pub(super) fn time_order<T>(a: &Stated<T>, b: &Stated<T>) -> std::cmp::Ordering {
    (a.at, &a.event).cmp(&(b.at, &b.event))
}

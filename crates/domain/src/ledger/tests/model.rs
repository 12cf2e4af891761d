//! The reference model: what the design says must hold, computed the slow way. It keeps the facts in a plain list and
//! works everything out from that list anew each time it is asked; it knows no lots, no burn order and no journal, and
//! shares no code with the rule but the facts' own types.
//!
//! Credits are counted in units of the deployment's scale, money in units of 10^-4.

use crate::catalog::Catalog;
use crate::fact::{
    self, AdjustmentKind, Fact, HoldStatus, Item, MovementKind, MovementStatus, PaymentStatus,
};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Currency, Money};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Model {
    pub scale: u32,
    pub catalog: Catalog,
    told: Vec<(String, Fact)>,
    /// What each write-off forgave. That depends on the debt there was, so it is told, not worked out.
    pub forgiven: BTreeMap<String, Credits>,
}

/// What must be true of one purchase, which may have several ids.
#[derive(Debug, PartialEq)]
pub(super) struct Expected {
    pub ids: BTreeSet<PaymentId>,
    /// None as long as no credits were given.
    pub account: Option<AccountId>,
    pub granted: Credits,
    pub reversed: Credits,
    /// How much is in question: held, as far as it has not been used.
    pub in_question: Credits,
}

/// All that was ever said of one purchase.
struct Purchase<'a> {
    ids: BTreeSet<PaymentId>,
    said: Vec<(&'a str, &'a Fact)>,
}

impl Model {
    pub fn new(scale: u32, catalog: Catalog) -> Self {
        Self { scale, catalog, told: Vec::new(), forgiven: BTreeMap::new() }
    }

    pub fn tell(&mut self, event: &str, fact: &Fact) {
        if !self.told.iter().any(|(known, _)| known == event) {
            self.told.push((event.to_owned(), fact.clone()));
        }
    }

    pub fn expected(&self) -> Vec<Expected> {
        self.purchases().iter().map(|purchase| self.expect(purchase)).collect()
    }

    /// `available + held - debt` (and what has expired, which left the account in another way).
    pub fn left(&self, account: &AccountId) -> Credits {
        let mut left = Credits::ZERO;
        for (event, fact) in &self.told {
            match fact {
                Fact::Usage(usage) if usage.account == *account => left -= usage.credits,
                Fact::Grant(grant) if grant.account == *account => left += grant.credits,
                Fact::Adjustment(word) if word.account == *account => match word.kind {
                    AdjustmentKind::Correction => left += word.credits,
                    AdjustmentKind::WriteOff => left += self.forgiven.get(event).copied().unwrap_or_default(),
                },
                _ => {}
            }
        }
        for purchase in self.expected() {
            if purchase.account.as_ref() == Some(account) {
                left += purchase.granted - purchase.reversed;
            }
        }
        left
    }

    /// Facts that name an id in common speak of one purchase.
    fn purchases(&self) -> Vec<Purchase<'_>> {
        let mut groups: Vec<BTreeSet<PaymentId>> = Vec::new();
        for (_, fact) in &self.told {
            let mut named: BTreeSet<PaymentId> = fact.payment_ids().into_iter().cloned().collect();
            let (same, mut others): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|group| !group.is_disjoint(&named));
            named.extend(same.into_iter().flatten());
            others.extend(Some(named).filter(|named| !named.is_empty()));
            groups = others;
        }
        groups.sort();
        let of = |ids: &BTreeSet<PaymentId>| {
            let about = |fact: &Fact| fact.payment_ids().first().is_some_and(|id| ids.contains(id));
            self.told.iter().filter(|(_, fact)| about(fact)).map(|(id, fact)| (id.as_str(), fact)).collect()
        };
        groups.into_iter().map(|ids| Purchase { said: of(&ids), ids }).collect()
    }

    fn expect(&self, purchase: &Purchase<'_>) -> Expected {
        let nothing = Expected {
            ids: purchase.ids.clone(),
            account: None,
            granted: Credits::ZERO,
            reversed: Credits::ZERO,
            in_question: Credits::ZERO,
        };
        let (Some(total), Some(account)) = (purchase.total(), self.account(purchase)) else { return nothing };
        let Some(granted) = self.granted(purchase) else { return nothing };
        let (gone, in_question) = purchase.gone_and_in_question(total);
        let whole = cents(total.amount());
        let reversed = share(granted, gone, whole);
        let both = share(granted, gone + in_question, whole);
        let credits = |units| Credits::new(Decimal::from_i128_with_scale(units, self.scale));
        Expected {
            account: Some(account),
            granted: credits(granted),
            reversed: credits(reversed),
            in_question: credits(both - reversed),
            ..nothing
        }
    }

    /// By an operator's last word, else by what the purchase says, else by its customer.
    fn account(&self, purchase: &Purchase<'_>) -> Option<AccountId> {
        let described = purchase.descriptions();
        let named = described.iter().find_map(|said| said.account.as_ref().map(|link| link.account.clone()));
        let customers: Vec<&CustomerId> =
            described.iter().filter_map(|said| said.customer.as_ref()).collect();
        let linked = || customers.iter().find_map(|customer| self.linked(customer));
        purchase.last_word(|word| word.account.clone()).or(named).or_else(linked)
    }

    /// A customer's own account, else that of its address.
    fn linked(&self, customer: &CustomerId) -> Option<AccountId> {
        let said = |of: &CustomerId| -> Vec<&fact::Customer> {
            let customers = self.told.iter().filter_map(|(_, fact)| match fact {
                Fact::Customer(customer) => Some(customer),
                _ => None,
            });
            customers.filter(|customer| customer.customer == *of).collect()
        };
        let own = |of| said(of).into_iter().find_map(|said| said.account.as_ref().map(|l| l.account.clone()));
        let by_address = || said(customer).into_iter().filter_map(|said| said.email.as_ref()).find_map(own);
        own(customer).or_else(by_address)
    }

    /// Bonus included.
    fn granted(&self, purchase: &Purchase<'_>) -> Option<i128> {
        if let Some(credits) = purchase.last_word(|word| word.credits) {
            return Some(units(credits.decimal(), self.scale));
        }
        let described = purchase.descriptions();
        let items: &[Item] =
            described.iter().map(|said| &said.items[..]).find(|items| !items.is_empty()).unwrap_or(&[]);
        let processor = purchase.ids.first()?.processor();
        let prices = self.catalog.prices.get(processor);
        let mut of_catalog = None;
        for item in items {
            if let Some(price) = prices.and_then(|prices| prices.get(&item.price)) {
                let one = units((price.credits + price.bonus).decimal(), self.scale);
                *of_catalog.get_or_insert(0) += one * i128::from(item.quantity);
            }
        }
        of_catalog.or_else(|| {
            let total = purchase.total()?;
            let paid = described.iter().filter(|said| said.status == PaymentStatus::Paid);
            let before_tax =
                paid.filter_map(|said| said.before_tax).find(|m| m.currency() == total.currency());
            let rate = self.catalog.rates.get(total.currency().code())?;
            // In units of 10^-8, a scale's own digits behind it.
            let exact = units(before_tax.unwrap_or(total).amount(), 4) * units(*rate, 4);
            Some(half_even(exact * 10i128.pow(self.scale), 10i128.pow(8)))
        })
    }
}

impl Purchase<'_> {
    /// Of each object the furthest description, those of the lowest precedence number first.
    fn descriptions(&self) -> Vec<&fact::Payment> {
        let mut all: Vec<(&str, &fact::Payment)> = Vec::new();
        for (event, fact) in &self.said {
            if let Fact::Payment(payment) = fact {
                all.push((event, payment));
            }
        }
        all.sort_by_key(|(event, said)| {
            (said.precedence, &said.object, said.status, said.occurred_at, *event)
        });
        let is_last = |(at, said): (usize, &(&str, &fact::Payment))| {
            all.get(at + 1).is_none_or(|(_, next)| next.object != said.1.object)
        };
        (0..all.len()).filter(|at| is_last((*at, &all[*at]))).map(|at| all[at].1).collect()
    }

    /// `T`: what the leading of the descriptions that say it was paid says was paid.
    fn total(&self) -> Option<Money> {
        self.descriptions()
            .into_iter()
            .find(|said| said.status == PaymentStatus::Paid)
            .map(|said| said.amount)
    }

    fn last_word<T>(&self, tells: impl Fn(&fact::Assignment) -> Option<T>) -> Option<T> {
        let mut words: Vec<(&str, &fact::Assignment)> = Vec::new();
        for (event, fact) in &self.said {
            if let Fact::Assignment(word) = fact {
                words.push((event, word));
            }
        }
        words.sort_by_key(|(event, word)| (word.occurred_at, *event));
        words.into_iter().rev().find_map(|(_, word)| tells(word))
    }

    /// How each movement looks now, by its id.
    fn movements(&self) -> BTreeMap<&str, &fact::Movement> {
        let mut all: BTreeMap<&str, Vec<(&str, &fact::Movement)>> = BTreeMap::new();
        for (event, fact) in &self.said {
            if let Fact::Movement(movement) = fact {
                all.entry(&movement.movement).or_default().push((event, movement));
            }
        }
        let last = |mut said: Vec<_>| {
            said.sort_by_key(|(event, m): &(&str, &fact::Movement)| match m.kind {
                // A refund by rank, then time.
                MovementKind::Refund => (m.kind, m.status as i64, m.occurred_at.unix_timestamp(), *event),
                // A dispute by time, then rank.
                MovementKind::Chargeback | MovementKind::Back => {
                    (m.kind, m.occurred_at.unix_timestamp(), m.status as i64, *event)
                }
            });
            said.pop().map(|(_, movement)| movement)
        };
        all.into_iter().filter_map(|(id, said)| Some((id, last(said)?))).collect()
    }

    /// A movement's amount in the payment's currency; for one in another currency what an operator last said.
    fn amount(&self, movement: &fact::Movement, currency: Currency) -> Option<i128> {
        let mut words: Vec<_> = Vec::new();
        for (event, fact) in &self.said {
            if let Fact::Valuation(word) = fact
                && word.movement == movement.movement
            {
                words.push((word.occurred_at, *event, word.amount));
            }
        }
        words.sort_by_key(|(at, event, _)| (*at, *event));
        let stated = words.pop().map(|(_, _, amount)| amount);
        let known = [Some(movement.amount), stated].into_iter().flatten();
        known.filter(|amount| amount.currency() == currency).map(|amount| cents(amount.amount())).next()
    }

    /// `R` and `H`.
    fn gone_and_in_question(&self, total: Money) -> (i128, i128) {
        let whole = cents(total.amount());
        let (mut refunds, mut backs, mut pending) = (0, 0, 0);
        let mut chargebacks: Vec<Option<i128>> = Vec::new();
        let mut full_backs: Vec<Option<i128>> = Vec::new();
        let mut unknown = false;
        for movement in self.movements().into_values() {
            let amount = self.amount(movement, total.currency());
            let mut count = |sum: &mut i128| match amount {
                Some(amount) => *sum += amount,
                None => unknown = true,
            };
            match (movement.kind, movement.status) {
                (_, MovementStatus::Void) => {}
                (MovementKind::Refund, MovementStatus::Final) => count(&mut refunds),
                (MovementKind::Chargeback, MovementStatus::Final) => chargebacks.push(amount),
                (MovementKind::Back, MovementStatus::Final) if movement.full => full_backs.push(amount),
                (MovementKind::Back, MovementStatus::Final) => count(&mut backs),
                (MovementKind::Refund | MovementKind::Chargeback, MovementStatus::Pending) => {
                    count(&mut pending)
                }
                // Money on its way back puts nothing in question, as long as its amount is known.
                (MovementKind::Back, MovementStatus::Pending) => count(&mut 0),
            }
        }
        // A back in full cancels a chargeback whatever the amounts are: first those of which no amount is known, then
        // the greatest.
        chargebacks.sort_by_key(|amount| (amount.is_none(), *amount));
        let cancelled = full_backs.len().min(chargebacks.len());
        chargebacks.truncate(chargebacks.len() - cancelled);
        let left = chargebacks.iter().chain(&full_backs[cancelled..]);
        unknown |= left.into_iter().any(Option::is_none);
        let chargebacks: i128 = chargebacks.into_iter().flatten().sum();
        backs += full_backs[cancelled..].iter().flatten().sum::<i128>();
        let clamp = |sum: i128| sum.clamp(0, whole);
        let gone = clamp(clamp(refunds) + (clamp(chargebacks) - clamp(backs)).max(0));
        let in_question = if unknown { whole } else { pending + self.holds(total.currency()) };
        (gone, in_question.clamp(0, whole - gone))
    }

    /// Holds of the refund desk that stand; a movement that carries a hold's marker replaces it.
    fn holds(&self, currency: Currency) -> i128 {
        let mut last: BTreeMap<&str, (_, &fact::Hold)> = BTreeMap::new();
        for (event, fact) in &self.said {
            if let Fact::Hold(hold) = fact {
                let order = (hold.status, hold.occurred_at, *event);
                match last.get(hold.hold.as_str()) {
                    Some((known, _)) if *known > order => {}
                    _ => drop(last.insert(&hold.hold, (order, hold))),
                }
            }
        }
        let movements = self.movements();
        let is_replaced = |id: &str| movements.values().any(|movement| movement.hold.as_deref() == Some(id));
        let mut sum = 0;
        for (id, (_, hold)) in last {
            if hold.status == HoldStatus::Placed && !is_replaced(id) && hold.amount.currency() == currency {
                sum += cents(hold.amount.amount());
            }
        }
        sum
    }
}

fn units(amount: Decimal, scale: u32) -> i128 {
    let mut amount = amount;
    amount.rescale(scale);
    amount.mantissa()
}

fn cents(amount: Decimal) -> i128 {
    units(amount, 4)
}

/// `granted * part / whole`; of a payment of nothing no part can go back.
fn share(granted: i128, part: i128, whole: i128) -> i128 {
    if whole == 0 { 0 } else { half_even(granted * part, whole) }
}

fn half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let up = rest * 2 > divisor || (rest * 2 == divisor && quotient % 2 == 1);
    if up { quotient + 1 } else { quotient }
}

//! The reference model: what the design says must hold, computed the slow way. It keeps the facts in a plain list and
//! works everything out from that list anew each time it is asked; it knows no lots, no burn order and no journal, and
//! shares no code with the rule but the facts' own types.
//!
//! Credits are counted in units of the deployment's scale, money in units of 10^-4.

use crate::catalog::{Catalog, Price, RateAppliesTo};
use crate::fact::{
    self, AdjustmentKind, Fact, HoldStatus, LineItem, MovementKind, MovementStatus, PaymentStatus, Purpose,
};
use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Currency, Money};
use num_bigint::BigInt;
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
    /// Only a rate would tell what it grants, and it is known to be no purchase of credits.
    pub is_for_something_else: bool,
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
            is_for_something_else: purchase.purpose() == Purpose::Other,
            in_question: Credits::ZERO,
        };
        let (Some(total), Some(account)) = (purchase.total(), self.account(purchase)) else { return nothing };
        let Some(granted) = self.granted(purchase) else { return nothing };
        let by_line = self.granted_by_line(purchase);
        let lines = purchase.lines(total);
        let whole = cents(total.amount());
        let (gone, both) = purchase.gone_and_both(total, &lines);
        let reversed = reversed_of(granted, &by_line, &lines, &gone, whole);
        let both = reversed_of(granted, &by_line, &lines, &both, whole);
        let credits = |units| Credits::new(Decimal::from_i128_with_scale(units, self.scale));
        Expected {
            account: Some(account),
            granted: credits(granted),
            reversed: credits(reversed),
            in_question: credits(both - reversed),
            ..nothing
        }
    }

    /// By an operator's last word, else by what the purchase says (a field that only serves is asked last, whichever object
    /// has it), else by its customer.
    fn account(&self, purchase: &Purchase<'_>) -> Option<AccountId> {
        let described = purchase.descriptions();
        let links = || described.iter().filter_map(|said| said.account.as_ref());
        let explicit = links().find(|link| !link.by_reference).map(|link| link.account.clone());
        let serving = links().find(|link| link.by_reference).map(|link| link.account.clone());
        let customers: Vec<&CustomerId> =
            described.iter().filter_map(|said| said.customer.as_ref()).collect();
        let linked = || customers.iter().find_map(|customer| self.linked(customer));
        purchase.last_word(|word| word.account.clone()).or(explicit).or(serving).or_else(linked)
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

    /// Bonus included: of the catalog's prices quantity times share, else of the rate, if that applies.
    fn granted(&self, purchase: &Purchase<'_>) -> Option<i128> {
        if let Some(credits) = purchase.last_word(|word| word.credits) {
            return Some(units(credits.decimal(), self.scale));
        }
        let items = purchase.items();
        if !items.is_empty() && items.iter().all(|item| item.share == Some(Decimal::ZERO)) {
            return Some(0);
        }
        let mut of_catalog = None;
        for item in &items {
            if let Some(credits) = self.granted_by_item(purchase, item) {
                *of_catalog.get_or_insert(0) += credits?;
            }
        }
        of_catalog.or_else(|| {
            let total = purchase.total()?;
            let rate = self.catalog.rates.get(total.currency().code())?;
            let is_one = matches!(purchase.purpose(), Purpose::Credits | Purpose::NotAsked);
            if self.catalog.rate_applies_to == RateAppliesTo::Purchases && !is_one {
                return None;
            }
            // In units of 10^-8, a scale's own digits behind it.
            let exact = units(purchase.before_tax()?.amount(), 4) * units(*rate, 4);
            Some(half_even(exact * 10i128.pow(self.scale), 10i128.pow(8)))
        })
    }

    /// Nothing of an item that the catalog does not know; nothing within where nobody can tell how many it was.
    fn granted_by_item(&self, purchase: &Purchase<'_>, item: &LineItem) -> Option<Option<i128>> {
        let processor = purchase.ids.first()?.processor();
        let price = self.catalog.prices.get(processor)?.get(&item.price)?;
        Some(purchase.quantity(item, price).map(|quantity| {
            let share = item.share.unwrap_or(Decimal::ONE);
            let of = |credits: Credits| {
                let whole = BigInt::from(units(credits.decimal(), self.scale)) * quantity;
                nearest(&(whole * share.mantissa()), &BigInt::from(10i128.pow(share.scale())))
            };
            of(price.credits) + of(price.bonus)
        }))
    }

    /// What each line granted; nothing where an operator or a rate said what the whole is worth.
    fn granted_by_line(&self, purchase: &Purchase<'_>) -> Option<BTreeMap<String, i128>> {
        if purchase.last_word(|word| word.credits).is_some() {
            return None;
        }
        let mut by_line = BTreeMap::new();
        let mut known = false;
        for item in &purchase.items() {
            let credits = self.granted_by_item(purchase, item);
            known |= credits.is_some();
            if let Some(line) = &item.line {
                *by_line.entry(line.clone()).or_insert(0) += credits.flatten().unwrap_or(0);
            }
        }
        known.then_some(by_line)
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

    /// A session's word; else other goods if anybody says so, else credits, else that nobody asked.
    fn purpose(&self) -> Purpose {
        let said = self.descriptions();
        for said in said.iter().filter(|said| said.precedence == 0) {
            if matches!(said.purpose, Purpose::Credits | Purpose::Other) {
                return said.purpose;
            }
        }
        for purpose in [Purpose::Other, Purpose::Credits, Purpose::NotAsked] {
            if said.iter().any(|said| said.purpose == purpose) {
                return purpose;
            }
        }
        Purpose::Unstated
    }

    /// The leading description's; no part of the money where another amount was paid than it says. A quantity that it only
    /// assumes is whatever another one states.
    fn items(&self) -> Vec<LineItem> {
        let described = self.descriptions();
        let Some(leading) = described.iter().find(|said| !said.items.is_empty()) else { return Vec::new() };
        let is_believed = leading.status == PaymentStatus::Paid || Some(leading.amount) == self.total();
        let stated = |price: &str| {
            let all = described.iter().flat_map(|said| &said.items);
            all.filter(|item| item.price == price)
                .find(|item| !item.quantity_assumed)
                .map(|item| item.quantity)
        };
        let of = |item: &LineItem| LineItem {
            quantity: if item.quantity_assumed { stated(&item.price).unwrap_or(1) } else { item.quantity },
            quantity_assumed: item.quantity_assumed && stated(&item.price).is_none(),
            amount: item.amount.filter(|_| is_believed),
            before_discounts: item.before_discounts.filter(|_| is_believed),
            ..item.clone()
        };
        leading.items.iter().map(of).collect()
    }

    /// A figure of the descriptions: of those that say it was paid first, then of those that say so of the same amount.
    fn figure(&self, tells: impl Fn(&fact::Payment) -> Option<Money>) -> Option<Money> {
        let total = self.total()?;
        let described = self.descriptions();
        let (paid, foretold): (Vec<_>, Vec<_>) =
            described.into_iter().partition(|said| said.status == PaymentStatus::Paid);
        let foretold = foretold.into_iter().filter(|said| said.amount == total);
        paid.into_iter().chain(foretold).filter_map(tells).find(|money| money.currency() == total.currency())
    }

    fn before_tax(&self) -> Option<Money> {
        self.figure(|said| said.before_tax).or(self.total())
    }

    /// How many of an item were sold: as stated; where the catalog says what one costs, it must be paid for.
    fn quantity(&self, item: &LineItem, price: &Price) -> Option<u64> {
        let only = self.items().len() == 1;
        let cost = item.before_discounts.or(self.figure(|said| said.before_discounts).filter(|_| only));
        let paid = self.before_tax();
        if item.share == Some(Decimal::ZERO) {
            return Some(item.quantity);
        }
        let unit = |money: Money| price.amounts.get(money.currency().code()).map(|unit| cents(*unit));
        let known = cost.or(paid.filter(|_| only));
        if known.is_none() && item.quantity_assumed && self.total().and_then(unit).is_some() {
            return None;
        }
        let Some((cost, unit)) = known.and_then(|known| Some((cents(known.amount()), unit(known)?))) else {
            return Some(item.quantity);
        };
        assert!(item.share.is_none(), "no history draws a share beside a unit's amount");
        let quantity = if item.quantity_assumed { cost / unit } else { i128::from(item.quantity) };
        (quantity >= 1 && quantity * unit == cost).then(|| u64::try_from(quantity).unwrap())
    }

    /// `T_i`, in the order of the lines' names; the last, without a name, is what no line tells of.
    fn lines(&self, total: Money) -> Vec<(Option<String>, i128)> {
        let mut stated: BTreeMap<String, i128> = BTreeMap::new();
        for item in self.items() {
            if let (Some(line), Some(amount)) = (item.line.clone(), item.amount)
                && amount.currency() == total.currency()
            {
                *stated.entry(line).or_insert(0) += cents(amount.amount());
            }
        }
        if stated.len() < 2 {
            return Vec::new();
        }
        let whole = cents(total.amount());
        let sum: i128 = stated.values().sum();
        let names = stated.keys().cloned().map(Some);
        let amounts: Vec<i128> = stated.values().copied().collect();
        let amounts = if sum > whole { scaled_down(&amounts, whole) } else { amounts };
        let mut lines: Vec<_> = names.zip(amounts).collect();
        lines.push((None, (whole - sum).max(0)));
        lines
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

    /// `R_i`, and `R_i` with what is in question, by line; of a payment without lines as though it were one.
    fn gone_and_both(
        &self,
        total: Money,
        lines: &[(Option<String>, i128)],
    ) -> (Vec<Fraction>, Vec<Fraction>) {
        let whole = cents(total.amount());
        let one_line = [(None, whole)];
        let lines = if lines.is_empty() { &one_line } else { lines };
        let none = || Named { lines: vec![0; lines.len()], nothing: 0 };
        let (mut refunds, mut backs, mut pending, mut chargebacks) = (none(), none(), none(), none());
        let mut unknown = false;
        let cancelled = self.cancelled(total);
        for (id, movement) in self.movements() {
            if cancelled.contains(id) || movement.status == MovementStatus::Void {
                continue;
            }
            let Some(amount) = self.amount(movement, total.currency()) else {
                unknown = true;
                continue;
            };
            match (movement.kind, movement.status) {
                (_, MovementStatus::Void) => {}
                (MovementKind::Refund, MovementStatus::Final) => refunds.add(movement, amount, total, lines),
                (MovementKind::Chargeback, MovementStatus::Final) => {
                    chargebacks.add(movement, amount, total, lines)
                }
                (MovementKind::Back, MovementStatus::Final) => backs.add(movement, amount, total, lines),
                (MovementKind::Refund | MovementKind::Chargeback, MovementStatus::Pending) => {
                    pending.add(movement, amount, total, lines);
                }
                // Money on its way back puts nothing in question, as long as its amount is known.
                (MovementKind::Back, MovementStatus::Pending) => {}
            }
        }
        let gone = refunds.and(&chargebacks.without(&backs));
        let mut both = gone.and(&pending);
        both.nothing += if unknown { whole } else { self.holds(total.currency()) };
        (gone.fall_on(lines), both.fall_on(lines))
    }

    /// Chargebacks that came back in full, whatever the amounts, and the backs that brought them: the best of all pairs
    /// first, each movement once. Best is its own amount, then one of unknown amount, then the nearest, then the greater.
    fn cancelled(&self, total: Money) -> BTreeSet<&str> {
        let movements = self.movements();
        let of = |kind| {
            let standing = |(_, movement): &(&&str, &&fact::Movement)| {
                movement.kind == kind && movement.status == MovementStatus::Final
            };
            movements.iter().filter(standing).map(|(id, movement)| (*id, *movement)).collect::<Vec<_>>()
        };
        let mut pairs = Vec::new();
        for (back_id, back) in of(MovementKind::Back).into_iter().filter(|(_, back)| back.full) {
            for (id, chargeback) in of(MovementKind::Chargeback) {
                let amounts = [chargeback, back].map(|movement| self.amount(movement, total.currency()));
                let class = match amounts {
                    _ if chargeback.amount == back.amount => 0,
                    [Some(a), Some(b)] if a == b => 0,
                    [None, _] => 1,
                    [Some(_), _] => 2,
                };
                let apart = amounts[0].zip(amounts[1]).map_or(-1, |(a, b)| (a - b).abs());
                let is_known = amounts[0].is_some();
                pairs.push((class, is_known, apart, -amounts[0].unwrap_or(0), id, back_id));
            }
        }
        pairs.sort_unstable();
        let mut cancelled = BTreeSet::new();
        for (.., chargeback, back) in pairs {
            if !cancelled.contains(chargeback) && !cancelled.contains(back) {
                cancelled.extend([chargeback, back]);
            }
        }
        cancelled
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

/// Money that names lines, and money that names nothing.
#[derive(Debug, Clone)]
struct Named {
    lines: Vec<i128>,
    nothing: i128,
}

impl Named {
    /// A movement, at most the whole of the payment; what it says of a line at most the whole of that, the rest of nothing.
    fn add(
        &mut self,
        movement: &fact::Movement,
        amount: i128,
        total: Money,
        lines: &[(Option<String>, i128)],
    ) {
        let mut left = amount.min(cents(total.amount()));
        for (at, (name, paid)) in lines.iter().enumerate() {
            let about = |part: &&fact::MovedLine| {
                Some(&part.line) == name.as_ref() && part.amount.currency() == total.currency()
            };
            let stated: i128 =
                movement.lines.iter().filter(about).map(|part| cents(part.amount.amount())).sum();
            let named = stated.min(*paid).min(left);
            left -= named;
            self.lines[at] += named;
        }
        self.nothing += left;
    }

    fn and(&self, other: &Named) -> Named {
        let lines = self.lines.iter().zip(&other.lines).map(|(a, b)| a + b).collect();
        Named { lines, nothing: self.nothing + other.nothing }
    }

    /// What stands of chargebacks after backs: line by line first, what is beyond off what names nothing, and what is still
    /// beyond off all lines in proportion.
    fn without(&self, backs: &Named) -> Named {
        let net: Vec<i128> = self.lines.iter().zip(&backs.lines).map(|(a, b)| a - b).collect();
        let named: Vec<i128> = net.iter().map(|net| (*net).max(0)).collect();
        let nothing = self.nothing - backs.nothing + net.iter().map(|net| (*net).min(0)).sum::<i128>();
        let sum: i128 = named.iter().sum();
        if nothing >= 0 {
            return Named { lines: named, nothing };
        }
        Named { lines: scaled_down(&named, (sum + nothing).max(0)), nothing: 0 }
    }

    /// Each line at most the whole of it; what is beyond, and what names nothing, falls on them in proportion to what is left of each.
    fn fall_on(&self, lines: &[(Option<String>, i128)]) -> Vec<Fraction> {
        let named: Vec<i128> =
            self.lines.iter().zip(lines).map(|(named, (_, paid))| *named.min(paid)).collect();
        let left: i128 = named.iter().zip(lines).map(|(named, (_, paid))| paid - named).sum();
        let beyond = self.lines.iter().sum::<i128>() - named.iter().sum::<i128>();
        let nothing = (self.nothing + beyond).min(left);
        let falls = |(named, (_, paid)): (&i128, &(Option<String>, i128))| Fraction {
            over: BigInt::from(*named) * left.max(1) + BigInt::from(paid - named) * nothing,
            under: left.max(1).into(),
        };
        named.iter().zip(lines).map(falls).collect()
    }
}

#[derive(Debug, Clone)]
struct Fraction {
    over: BigInt,
    under: BigInt,
}

/// `sum(G_i * R_i / T_i)`, rounded once; what belongs to no line that cost something goes as the whole does.
fn reversed_of(
    granted: i128,
    by_line: &Option<BTreeMap<String, i128>>,
    lines: &[(Option<String>, i128)],
    gone: &[Fraction],
    whole: i128,
) -> i128 {
    if whole == 0 {
        return 0;
    }
    let sum = |terms: Vec<Fraction>| {
        terms.into_iter().fold(Fraction { over: 0.into(), under: 1.into() }, |sum, term| Fraction {
            over: sum.over * &term.under + term.over * &sum.under,
            under: sum.under * term.under,
        })
    };
    let in_all = sum(gone.to_vec());
    let of_whole = |credits: i128| Fraction { over: &in_all.over * credits, under: &in_all.under * whole };
    let mut terms = Vec::new();
    let mut elsewhere = granted;
    if let Some(by_line) = by_line {
        for ((name, paid), gone) in lines.iter().zip(gone) {
            let credits = name.as_ref().and_then(|name| by_line.get(name));
            if let Some(credits) = credits.filter(|_| *paid > 0) {
                elsewhere -= credits;
                terms.push(Fraction { over: &gone.over * *credits, under: &gone.under * *paid });
            }
        }
    }
    terms.push(of_whole(elsewhere));
    let exact = sum(terms);
    nearest(&exact.over, &exact.under)
}

/// Whole units in proportion, together exactly `whole`.
fn scaled_down(parts: &[i128], whole: i128) -> Vec<i128> {
    let all: i128 = parts.iter().sum::<i128>().max(1);
    let reached = |upto: usize| parts[..upto].iter().sum::<i128>() * whole / all;
    (0..parts.len()).map(|at| reached(at + 1) - reached(at)).collect()
}

/// The whole number nearest to a quotient of two that are not negative, half to even.
fn nearest(over: &BigInt, under: &BigInt) -> i128 {
    let below: BigInt = over / under;
    let rest: BigInt = (over - &below * under) * 2;
    let is_odd = &below % 2 != BigInt::ZERO;
    let up = rest > *under || (rest == *under && is_odd);
    i128::try_from(below).unwrap() + i128::from(up)
}

fn units(amount: Decimal, scale: u32) -> i128 {
    let mut amount = amount;
    amount.rescale(scale);
    amount.mantissa()
}

fn cents(amount: Decimal) -> i128 {
    units(amount, 4)
}

fn half_even(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let up = rest * 2 > divisor || (rest * 2 == divisor && quotient % 2 == 1);
    if up { quotient + 1 } else { quotient }
}

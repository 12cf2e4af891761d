//! How much of a payment's money is gone, and how much is in question: `R` and `H` of the rule, as a whole and line by
//! line. A function of the record alone, whatever the order of its facts.
//!
//! A payment has lines where at least two of its items name one with an amount in the payment's currency. Together they
//! are made to be what was paid: where they are less (goods that no line names, a rounding), the rest is a line of its own
//! that nobody can name; where they are more (a discount that no line shows), each counts as its share.
//!
//! - What a movement names counts against that line, each part at most the line; what is left of its amount names none:
//!   what is beyond the line (a rounding), of lines that nobody knows, or in another currency. The parts together are never
//!   more than the movement: what is too much is cut off in the order of the lines' names.
//! - What movements together name beyond a line names none. So movements that add up to what was paid take all of it.
//! - Chargebacks less backs, line by line; a line to which more came back than was charged back by name lessens what names
//!   none, and where that is not enough, or more came back than was charged back without a name, the rest is taken off the
//!   named chargebacks in proportion. So what nets to zero as a whole nets to zero on every line.
//! - What names none falls on the lines in proportion to what is left of each.

use super::PaymentRecord;
use super::reading::Reading;
use super::statement::{RecordedMovement, Stated};
use super::terms::Terms;
use crate::fact::{HoldStatus, LineItem, MovementKind, MovementStatus};
use crate::money::{Credits, Money, Share};
use num_bigint::BigUint;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// How much of a payment's money is gone, and how much is in question; both within `0..=T`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gone {
    /// `R` of the rule.
    pub reversed: Decimal,
    /// `H` of the rule.
    pub held: Decimal,
    /// A movement is in another currency than the payment: its amount cannot be counted, so the rest is held until
    /// an operator states it.
    pub foreign_currency: bool,
    /// Empty where the payment is counted as a whole.
    pub lines: Vec<LineGone>,
}

/// Money that went back to the buyer, in the payment's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Returned {
    pub refunded: Decimal,
    pub refunds_pending: Decimal,
    pub disputed: Decimal,
}

/// One line of a payment, in units of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineGone {
    /// None is the rest that no line names.
    pub line: Option<String>,
    /// `T_i` of the rule.
    pub paid: Decimal,
    reversed: Spread,
    both: Spread,
}

/// `named`, and of what is left of the line its share of what names none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Spread {
    paid: u128,
    named: u128,
    /// Of all lines together: what names none, and what is left for it.
    unnamed: u128,
    left: u128,
}

/// How much of a movement belongs to each line, and what names none; in units.
#[derive(Debug, Clone, Default)]
struct GoneParts {
    named: Vec<u128>,
    unnamed: u128,
}

/// Money is counted in units of 10^-4 of the main unit, the finest there is.
const PLACES: u32 = 4;

/// A movement by its id.
type NamedMovement<'a> = (&'a str, &'a RecordedMovement);

/// A line's name (none for the rest) and what was paid for it.
type PaidLine = (Option<String>, u128);

impl Gone {
    /// What of the granted credits is to be reversed, and what is to be held besides. `by_line` tells what each line
    /// granted; without it, or without lines, credits go as the money does.
    pub fn credits(
        &self,
        granted: Credits,
        by_line: Option<&BTreeMap<String, Credits>>,
        total: Money,
        scale: u32,
    ) -> (Credits, Credits) {
        let whole = total.amount();
        let as_a_whole = |gone| granted.share(gone, whole, scale);
        let reversed = self.of_lines(granted, by_line, self.reversed, whole, scale, |line| &line.reversed);
        let both_gone = self.reversed + self.held;
        let both = self.of_lines(granted, by_line, both_gone, whole, scale, |line| &line.both);
        let (reversed, both) = match (reversed, both) {
            (Some(reversed), Some(both)) => (reversed, both),
            (None, _) | (_, None) => (as_a_whole(self.reversed), as_a_whole(both_gone)),
        };
        (reversed, both - reversed)
    }

    /// `sum(G_i * R_i / T_i)`; credits that belong to no line for which something was paid go as the whole does.
    fn of_lines(
        &self,
        granted: Credits,
        by_line: Option<&BTreeMap<String, Credits>>,
        gone: Decimal,
        whole: Decimal,
        scale: u32,
        spread: impl Fn(&LineGone) -> &Spread,
    ) -> Option<Credits> {
        let by_line = by_line.filter(|_| !self.lines.is_empty() && !whole.is_zero())?;
        if gone >= whole {
            return Some(granted);
        }
        let mut elsewhere = granted;
        let mut shares = Vec::new();
        for line in self.lines.iter().filter(|line| !line.paid.is_zero()) {
            let Some(credits) = line.line.as_ref().and_then(|name| by_line.get(name)) else { continue };
            elsewhere -= *credits;
            shares.push(spread(line).share(*credits));
        }
        // What was granted is not what the lines say: which credits belong to which line is unknown.
        if elsewhere < Credits::ZERO {
            return None;
        }
        let [part, whole] = [gone, whole].map(|money| BigUint::from(units(money)));
        shares.push(Share { credits: elsewhere, part, whole });
        Credits::of_shares(&shares, scale)
    }
}

impl LineGone {
    /// What of the line is gone, to the smallest unit of money below it.
    pub fn reversed(&self) -> Decimal {
        money(self.reversed.gone())
    }
}

impl Spread {
    /// `(N * L + (T - N) * M) / (T * L)` of the credits.
    fn share(&self, credits: Credits) -> Share {
        let [paid, named, unnamed] = [self.paid, self.named, self.unnamed].map(BigUint::from);
        let left = BigUint::from(self.left.max(1));
        let part = &named * &left + (&paid - &named) * unnamed;
        Share { credits, part, whole: paid * left }
    }

    fn gone(&self) -> u128 {
        let of_rest = BigUint::from(self.paid - self.named) * self.unnamed / self.left.max(1);
        self.named + u128::try_from(of_rest).unwrap_or(self.paid - self.named)
    }
}

impl PaymentRecord {
    /// `R` and `H` of the rule.
    pub fn gone(&self, terms: &Terms, reading: Reading) -> Gone {
        let total = terms.total;
        match reading {
            Reading::First => self.gone_by_clamped_sums(total),
            Reading::Second => self.gone_by_movements(total, lines(&terms.items, total)),
        }
    }

    fn gone_by_movements(&self, total: Money, lines: Vec<PaidLine>) -> Gone {
        let whole = units(total.amount());
        let sum = |movements: Vec<NamedMovement<'_>>| -> GoneParts {
            let parts =
                movements.into_iter().filter_map(|(id, movement)| self.parts(id, movement, total, &lines));
            parts.fold(GoneParts::none(&lines), GoneParts::plus)
        };
        let of = |kind, status| sum(self.movements_of(kind, status).collect());
        let (chargebacks, backs) = self.standing(total);
        let foreign_currency = self.is_any_unknown(total, &chargebacks, &backs);
        let disputed = sum(chargebacks).less(sum(backs));
        let gone = of(MovementKind::Refund, MovementStatus::Final).plus(disputed);
        let pending = of(MovementKind::Refund, MovementStatus::Pending)
            .plus(of(MovementKind::Chargeback, MovementStatus::Pending));
        let mut both = gone.clone().plus(pending);
        both.unnamed += self.holds_placed(total);
        if lines.is_empty() {
            let reversed = gone.unnamed.min(whole);
            let held = if foreign_currency { whole } else { both.unnamed.min(whole) } - reversed;
            return Gone {
                reversed: money(reversed),
                held: money(held),
                foreign_currency,
                lines: Vec::new(),
            };
        }
        let reversed = gone.spread(&lines);
        let mut both = both.spread(&lines);
        if foreign_currency {
            both.iter_mut().for_each(|line| line.unnamed = line.left);
        }
        let in_all = |spread: &[Spread]| {
            spread.iter().map(|line| line.named).sum::<u128>() + spread.first().map_or(0, |line| line.unnamed)
        };
        let (all_reversed, all) = (in_all(&reversed), in_all(&both));
        let lines = lines.into_iter().zip(reversed.into_iter().zip(both));
        Gone {
            reversed: money(all_reversed),
            held: money(all - all_reversed),
            foreign_currency,
            lines: lines
                .map(|((line, paid), (reversed, both))| LineGone { line, paid: money(paid), reversed, both })
                .collect(),
        }
    }

    /// Final chargebacks that stand and final backs that cancel none. A back in full cancels one chargeback whatever the
    /// amounts are and in whatever currency: the one of its own amount, else one of unknown amount, else the nearest, of
    /// two as near the greater. So the order of facts does not matter.
    fn standing(&self, total: Money) -> (Vec<NamedMovement<'_>>, Vec<NamedMovement<'_>>) {
        let mut chargebacks: Vec<NamedMovement<'_>> =
            self.movements_of(MovementKind::Chargeback, MovementStatus::Final).collect();
        let (mut full, mut backs): (Vec<_>, Vec<_>) = self
            .movements_of(MovementKind::Back, MovementStatus::Final)
            .partition(|(_, movement)| movement.full);
        let amount = |(id, movement): &NamedMovement<'_>| self.counted(id, movement, total).map(units);
        // How far apart: nearest first, then the greatest chargeback, then by name.
        while let Some((_, chargeback, back)) = chargebacks
            .iter()
            .enumerate()
            .flat_map(|(at, chargeback)| {
                full.iter().enumerate().map(move |(b, back)| (at, chargeback, b, back))
            })
            .map(|(at, chargeback, b, back)| {
                let own = chargeback.1.amount == back.1.amount;
                let apart = match (amount(chargeback), amount(back)) {
                    (Some(a), Some(b)) => Some(a.abs_diff(b)),
                    (None, _) | (_, None) => None,
                };
                let unknown = amount(chargeback).is_none();
                let greatest = std::cmp::Reverse(amount(chargeback));
                let rank = (!own && apart != Some(0), !unknown, apart, greatest, chargeback.0, back.0);
                (rank, at, b)
            })
            .min()
        {
            chargebacks.remove(chargeback);
            full.remove(back);
        }
        backs.extend(full);
        (chargebacks, backs)
    }

    /// Money that went back to the buyer by refunds, and by chargebacks that stand, as it was told: not limited to what was paid.
    /// What is in another currency and was not stated by an operator counts as nothing.
    pub fn returned(&self, total: Money) -> Returned {
        let sum = |movements: Vec<NamedMovement<'_>>| -> Decimal {
            movements.into_iter().filter_map(|(id, movement)| self.counted(id, movement, total)).sum()
        };
        let (chargebacks, backs) = self.standing(total);
        Returned {
            refunded: sum(self.movements_of(MovementKind::Refund, MovementStatus::Final).collect()),
            refunds_pending: sum(self.movements_of(MovementKind::Refund, MovementStatus::Pending).collect()),
            disputed: (sum(chargebacks) - sum(backs)).max(Decimal::ZERO),
        }
    }

    fn is_any_unknown(
        &self,
        total: Money,
        chargebacks: &[NamedMovement<'_>],
        backs: &[NamedMovement<'_>],
    ) -> bool {
        let is_unknown = |(id, movement): &NamedMovement<'_>| self.counted(id, movement, total).is_none();
        let others = [
            (MovementKind::Refund, MovementStatus::Final),
            (MovementKind::Refund, MovementStatus::Pending),
            (MovementKind::Chargeback, MovementStatus::Pending),
            (MovementKind::Back, MovementStatus::Pending),
        ];
        chargebacks.iter().chain(backs).any(is_unknown)
            || others
                .into_iter()
                .any(|(kind, status)| self.movements_of(kind, status).any(|m| is_unknown(&m)))
    }

    /// A movement's amount at most the whole, and what of it belongs to which line. Nothing where it is unknown.
    fn parts(
        &self,
        id: &str,
        movement: &RecordedMovement,
        total: Money,
        lines: &[PaidLine],
    ) -> Option<GoneParts> {
        let amount = units(self.counted(id, movement, total)?).min(units(total.amount()));
        let mut left = amount;
        let mut named = Vec::with_capacity(lines.len());
        for (line, paid) in lines {
            let stated: u128 = movement
                .lines
                .iter()
                .filter(|moved| Some(&moved.line) == line.as_ref())
                .filter(|moved| moved.amount.currency() == total.currency())
                .map(|moved| units(moved.amount.amount()))
                .sum();
            // What is named beyond the line names none.
            let part = stated.min(*paid).min(left);
            left -= part;
            named.push(part);
        }
        Some(GoneParts { named, unnamed: left })
    }

    fn movements_of(
        &self,
        kind: MovementKind,
        status: MovementStatus,
    ) -> impl Iterator<Item = (&str, &RecordedMovement)> {
        self.movements
            .iter()
            .map(|(id, stated)| (id.as_str(), &stated.what))
            .filter(move |(_, m)| m.kind == kind && m.status == status)
    }

    /// What a movement counts against the payment: its amount, or for one in another currency what an operator stated
    /// of it; nothing until then.
    fn counted(&self, movement: &str, moved: &RecordedMovement, total: Money) -> Option<Decimal> {
        let own = |money: Money| (money.currency() == total.currency()).then(|| money.amount());
        own(moved.amount).or_else(|| self.valuations.get(movement).and_then(|stated| own(stated.what.amount)))
    }

    /// Holds of the refund desk that stand and that no movement has replaced; they name no line.
    fn holds_placed(&self, total: Money) -> u128 {
        let replaced =
            |hold: &str| self.movements.values().any(|stated| stated.what.hold.as_deref() == Some(hold));
        let counts = |(hold, stated): &(&String, &Stated<super::RecordedHold>)| {
            stated.what.status == HoldStatus::Placed
                && !replaced(hold)
                && stated.what.amount.currency() == total.currency()
        };
        self.holds.iter().filter(counts).map(|(_, stated)| units(stated.what.amount.amount())).sum()
    }

    /// The first reading: sums were clamped before backs were taken off, and nothing named a line.
    fn gone_by_clamped_sums(&self, total: Money) -> Gone {
        let whole = units(total.amount());
        let known = |movements: &[Option<u128>]| movements.iter().flatten().sum::<u128>();
        let of = |kind, status| -> Vec<Option<u128>> {
            self.movements_of(kind, status).map(|(id, m)| self.counted(id, m, total).map(units)).collect()
        };
        let mut chargebacks = of(MovementKind::Chargeback, MovementStatus::Final);
        chargebacks.sort_by_key(|amount| (amount.is_none(), *amount));
        let mut backs = Vec::new();
        for (id, back) in self.movements_of(MovementKind::Back, MovementStatus::Final) {
            if !(back.full && chargebacks.pop().is_some()) {
                backs.push(self.counted(id, back, total).map(units));
            }
        }
        let refunds = of(MovementKind::Refund, MovementStatus::Final);
        let pending = [
            of(MovementKind::Refund, MovementStatus::Pending),
            of(MovementKind::Chargeback, MovementStatus::Pending),
        ]
        .concat();
        let coming_back = of(MovementKind::Back, MovementStatus::Pending);
        let disputed = known(&chargebacks).min(whole).saturating_sub(known(&backs).min(whole));
        let reversed = (known(&refunds).min(whole) + disputed).min(whole);
        let foreign_currency =
            [&chargebacks, &backs, &refunds, &pending, &coming_back].iter().any(|all| all.contains(&None));
        let held = if foreign_currency { whole } else { known(&pending) + self.holds_placed(total) };
        let held = held.min(whole - reversed);
        Gone { reversed: money(reversed), held: money(held), foreign_currency, lines: Vec::new() }
    }
}

impl GoneParts {
    fn none(lines: &[PaidLine]) -> Self {
        Self { named: vec![0; lines.len()], unnamed: 0 }
    }

    fn plus(self, other: GoneParts) -> GoneParts {
        let named = self.named.into_iter().zip(other.named).map(|(a, b)| a + b).collect();
        GoneParts { named, unnamed: self.unnamed + other.unnamed }
    }

    /// `max(0, self - other)`, line by line as far as that goes, and together exactly.
    fn less(self, other: GoneParts) -> GoneParts {
        let pairs = || self.named.iter().zip(&other.named);
        let mut named: Vec<u128> = pairs().map(|(a, b)| a.saturating_sub(*b)).collect();
        let beyond: u128 = pairs().map(|(a, b)| b.saturating_sub(*a)).sum();
        let back = beyond + other.unnamed;
        let unnamed = self.unnamed.saturating_sub(back);
        let all: u128 = named.iter().sum();
        let still = all.saturating_sub(back.saturating_sub(self.unnamed));
        if still < all {
            named = apportion(&named, still);
        }
        GoneParts { named, unnamed }
    }

    /// Each line as it is named, at most the whole of it; what is beyond, and what names none, over what is left.
    fn spread(self, lines: &[PaidLine]) -> Vec<Spread> {
        let named: Vec<u128> =
            self.named.iter().zip(lines).map(|(named, (_, paid))| *named.min(paid)).collect();
        let beyond = self.named.iter().sum::<u128>() - named.iter().sum::<u128>();
        let left: u128 = named.iter().zip(lines).map(|(named, (_, paid))| paid - named).sum();
        let unnamed = (self.unnamed + beyond).min(left);
        let line = |((_, paid), named): (&PaidLine, u128)| Spread { paid: *paid, named, unnamed, left };
        lines.iter().zip(named).map(line).collect()
    }
}

/// The payment's lines in the order of their names, then the rest that none of them names: together what was paid. None
/// where fewer than two are known.
fn lines(items: &[LineItem], total: Money) -> Vec<PaidLine> {
    let mut known: BTreeMap<&str, u128> = BTreeMap::new();
    for item in items {
        if let (Some(line), Some(amount)) = (&item.line, item.amount)
            && amount.currency() == total.currency()
        {
            *known.entry(line).or_default() += units(amount.amount());
        }
    }
    if known.len() < 2 {
        return Vec::new();
    }
    let whole = units(total.amount());
    let stated: Vec<u128> = known.values().copied().collect();
    let all: u128 = stated.iter().sum();
    let paid = if all > whole { apportion(&stated, whole) } else { stated };
    let mut lines: Vec<PaidLine> = known.into_keys().map(|line| Some(line.to_owned())).zip(paid).collect();
    lines.push((None, whole.saturating_sub(all)));
    lines
}

/// Whole units in proportion to `parts`, together exactly `whole`: each is where the sum up to it comes to, less where the
/// sum before it came to.
fn apportion(parts: &[u128], whole: u128) -> Vec<u128> {
    let all: u128 = parts.iter().sum();
    let (mut sum, mut before) = (0u128, 0u128);
    let mut of = |part: &u128| {
        sum += part;
        let reached = BigUint::from(sum) * whole / all.max(1);
        let reached = u128::try_from(reached).unwrap_or(whole);
        let own = reached - before;
        before = reached;
        own
    };
    parts.iter().map(&mut of).collect()
}

/// An amount of money, which is never negative and at most 10^22 units: sums of a payment's movements fit.
fn units(amount: Decimal) -> u128 {
    let mut amount = amount;
    amount.rescale(PLACES);
    amount.mantissa().unsigned_abs()
}

fn money(units: u128) -> Decimal {
    let units = i128::try_from(units).unwrap_or(i128::MAX);
    Decimal::from_i128_with_scale(units, PLACES).normalize()
}

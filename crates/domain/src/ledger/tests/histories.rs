//! Random histories of several accounts and payments: whatever comes, in whatever order and however often, after every
//! step every invariant holds and the ledger agrees with the reference model.
//!
//! `BURSAR_TEST_CASES` says how many histories (a million takes hours), `BURSAR_TEST_SEED` repeats a run.

use super::model::Model;
use super::world::{World, holds};
use super::*;
use crate::catalog::RateAppliesTo;
use crate::fact::{
    Adjustment, AdjustmentKind, Assignment, AssignmentAct, Customer, Expiry, Purpose, Valuation,
};
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::fmt;
use std::hash::{BuildHasher, Hasher};

mod told;

/// Facts in the order in which they were told, each under the number of its step; then the same facts in another order,
/// some of them again.
struct History {
    scale: u32,
    facts: Vec<Fact>,
    again: Vec<usize>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scale {}", self.scale)?;
        for (step, fact) in self.facts.iter().enumerate() {
            writeln!(f, "{:>3} {}", step + 1, told::line(fact))?;
        }
        let again: Vec<String> = self.again.iter().map(|step| (step + 1).to_string()).collect();
        if again.is_empty() { Ok(()) } else { writeln!(f, "then, in another ledger: {}", again.join(" ")) }
    }
}

/// Runs a property over random histories; the shortest history that breaks it is printed, with the seed.
fn check_histories(
    cases: u32,
    history: impl Strategy<Value = History>,
    property: impl Fn(&History) -> Result<(), String>,
) {
    let set = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = set("BURSAR_TEST_SEED")
        .unwrap_or_else(|| std::collections::hash_map::RandomState::new().build_hasher().finish());
    let cases = set("BURSAR_TEST_CASES").map_or(cases, |cases| cases as u32);
    tell_seed(seed, cases);
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let holds = |history: History| property(&history).map_err(TestCaseError::fail);
    match TestRunner::new(config).run(&history, holds) {
        Ok(()) => {}
        Err(TestError::Fail(broken, history)) => {
            panic!("{broken}\n\n{history:?}\nagain by BURSAR_TEST_SEED={seed} BURSAR_TEST_CASES={cases}")
        }
        Err(TestError::Abort(why)) => panic!("{why}, BURSAR_TEST_SEED={seed}"),
    }
}

/// Also for whoever has to stop a run that does not end.
fn tell_seed(seed: u64, cases: u32) {
    eprintln!("BURSAR_TEST_SEED={seed} BURSAR_TEST_CASES={cases}");
}

/// The prices that random payments name, at any scale.
fn rules_at(scale: u32) -> Rules {
    let price = |credits: i64, bonus: i64, days: Option<i64>| Price {
        amounts: BTreeMap::new(),
        credits: Credits::whole(credits),
        bonus: Credits::whole(bonus),
        expires_after_seconds: days.map(|days| days * 86_400),
    };
    let prices: BTreeMap<String, Price> = [
        ("pri_1000", price(1000, 0, None)),
        ("pri_1050", price(1000, 50, None)),
        ("pri_odd", price(7, 3, None)),
        ("pri_month", price(600, 1, Some(30))),
        ("pri_large", price(999_999_999_999, 1, None)),
        ("pri_nothing", price(0, 0, None)),
        ("pri_unit", Price { amounts: [("USD".to_owned(), 5.into())].into(), ..price(500, 5, None) }),
    ]
    .map(|(name, price)| (name.to_owned(), price))
    .into();
    let catalog = Catalog {
        rate_applies_to: RateAppliesTo::Purchases,
        prices: ["paddle", "stripe"].map(|processor| (processor.to_owned(), prices.clone())).into(),
        rates: [("EUR".to_owned(), Decimal::new(333, 1))].into(),
    };
    Rules { scale, ..Rules::new(catalog) }
}

fn money(code: &str, cents: i64) -> Money {
    Money::new(Decimal::new(cents, 2), currency(code).unwrap()).unwrap()
}

fn at(minute: i64) -> OffsetDateTime {
    START + Duration::minutes(minute)
}

fn link(account: &str) -> AccountLink {
    AccountLink { by_reference: false, account: AccountId::new(account).unwrap(), proof: LinkProof::Stated }
}

/// One object's description of a purchase, of which some random payments vary the rest.
fn described(ids: &[&str], object: &str, precedence: u8, account: Option<&str>) -> fact::Payment {
    let ids: Vec<PaymentId> = ids.iter().map(|id| id.parse().unwrap()).collect();
    fact::Payment {
        before_discounts: None,
        purpose: Purpose::Unstated,
        payment: ids[0].clone(),
        aliases: ids[1..].to_vec(),
        object: object.to_owned(),
        precedence,
        status: PaymentStatus::Paid,
        amount: usd("10.00"),
        before_tax: None,
        items: Vec::new(),
        account: account.map(link),
        customer: None,
        ip: None,
        device: None,
        occurred_at: START,
    }
}

/// Every description there can be: accounts `a` and `b` are named, `c` is linked by customers, one payment's price nobody
/// knows, one is paid in a currency with a rate, one is free; two are told of by Stripe's three objects.
fn any_description() -> impl Strategy<Value = Fact> {
    let price = select(vec!["pri_1000", "pri_1050", "pri_odd", "pri_month", "pri_large", "pri_nothing"]);
    let amount = select(vec![1000i64, 1000, 800, 1500, 999, 3, 1]);
    let status = select(vec![PaymentStatus::Paid, PaymentStatus::Paid, PaymentStatus::Pending]);
    (0..13usize, price, 1u64..3, amount, status, 0i64..4).prop_map(
        |(which, price, quantity, cents, status, minute)| {
            let item = LineItem {
                quantity_assumed: false,
                share: None,
                amount: None,
                before_discounts: None,
                line: None,
                price: price.to_owned(),
                quantity,
            };
            let (account, customer) = match which {
                0..=2 | 7..=9 => (Some(if which == 1 { "b" } else { "a" }), None),
                3 => (Some("b"), None),
                4 | 10 => (None, Some("paddle:ctm_1")),
                11 => (None, None),
                12 => (None, Some("email:other@example.com")),
                _ => (None, Some("email:guest@example.com")),
            };
            let mut payment = match which {
                0..=4 => {
                    let name = ["t1", "t2", "t3", "t4", "t5"][which];
                    described(&[&format!("paddle:{name}")], name, 0, account)
                }
                5 => described(&["paddle:t6"], "t6", 0, None),
                6 => described(&["paddle:t7"], "t7", 0, Some("b")),
                7 => described(&["stripe:pi_1", "stripe:cs_1"], "cs_1", 0, account),
                8 => described(&["stripe:pi_1"], "pi_1", 1, account),
                9 => described(&["stripe:pi_1", "stripe:ch_1"], "ch_1", 2, None),
                10 => described(&["stripe:pi_2", "stripe:cs_2"], "cs_2", 0, None),
                11 => described(&["stripe:pi_2", "stripe:ch_2"], "pi_2", 1, None),
                _ => described(&["stripe:pi_2", "stripe:ch_2"], "ch_2", 2, None),
            };
            payment.customer = customer.map(|customer| customer.parse().unwrap());
            (payment.amount, payment.occurred_at, payment.status) = (money("USD", cents), at(minute), status);
            match which {
                // What was said first was in another currency.
                1 if minute == 0 => (payment.amount, payment.items) = (money("EUR", cents), vec![item]),
                3 => (payment.amount, payment.items) = (money("USD", 0), vec![item]),
                5 => {
                    payment.items = vec![LineItem {
                        quantity_assumed: false,
                        share: None,
                        amount: None,
                        before_discounts: None,
                        line: None,
                        price: "pri_nobody_knows".to_owned(),
                        quantity,
                    }];
                    payment.customer = None;
                }
                6 => {
                    payment.amount = money("EUR", cents);
                    payment.purpose = Purpose::Credits;
                    payment.before_tax = (minute > 1).then(|| money("EUR", cents * 5 / 6));
                }
                // A charge names no price.
                9 | 12 => {}
                _ => payment.items = vec![item],
            }
            Fact::Payment(payment)
        },
    )
}

/// Of lines, as a processor tells of them: a pack, odd credits of which some periods sell a part, a shirt, something free.
/// What was paid is what they cost together, or less by a discount that no line shows, or more by goods that are no line.
fn any_description_of_lines() -> impl Strategy<Value = Fact> {
    let share = select(vec![None, None, Some("0.5"), Some("0.333333"), Some("0")]);
    let paid = select(vec![0i64, 0, 0, -300, 1, -1, 250, -1833]);
    let free = select(vec![0i64, 0, 7]);
    let status =
        select(vec![PaymentStatus::Paid, PaymentStatus::Paid, PaymentStatus::Paid, PaymentStatus::Pending]);
    (share, 1u64..4, paid, free, status, any::<bool>(), 0i64..4).prop_map(
        |(share, quantity, more, free, status, shirt, minute)| {
            let line = |name: &str, price: &str, quantity, cents| LineItem {
                line: Some(name.to_owned()),
                amount: Some(money("USD", cents)),
                ..LineItem::new(price, quantity)
            };
            let odd = LineItem {
                share: share.map(|share| share.parse().unwrap()),
                ..line("l2", "pri_odd", quantity, 333)
            };
            let mut items = vec![line("l1", "pri_1050", 1, 1000), odd, line("l4", "pri_1000", 1, free)];
            if shirt {
                items.insert(0, line("l3", "pri_shirt", 1, 500));
            }
            let stated = 1333 + free + if shirt { 500 } else { 0 };
            Fact::Payment(fact::Payment {
                amount: money("USD", (stated + more).max(0)),
                items,
                status,
                occurred_at: at(minute),
                ..described(&["paddle:t8"], "t8", 0, Some("a"))
            })
        },
    )
}

/// A purchase at a rate and one of so many units, each told of by a session that may not be paid yet (its field only
/// serves) and an intent of which less may have been captured. None takes back what another tells.
fn any_description_ahead() -> impl Strategy<Value = Fact> {
    let status = select(vec![PaymentStatus::Paid, PaymentStatus::Pending, PaymentStatus::Pending]);
    let figure = || prop::option::of(select(vec![1000i64, 1000, 500, 2000]));
    (status, figure(), any::<bool>(), any::<bool>(), select(vec![1000i64, 1000, 500])).prop_map(
        |(status, figure, session, rate, captured)| {
            let [intent, name] = if rate { ["stripe:pi_3", "cs_3"] } else { ["stripe:pi_4", "cs_4"] };
            let code = if rate { "EUR" } else { "USD" };
            let items = [LineItem { quantity_assumed: true, ..LineItem::new("pri_unit", 1) }];
            let items = items.into_iter().filter(|_| !rate).collect();
            let of = |object, precedence| fact::Payment {
                amount: money(code, 1000),
                items,
                ..described(&[intent], object, precedence, Some("a"))
            };
            Fact::Payment(match session {
                true => fact::Payment {
                    status,
                    purpose: Purpose::Credits,
                    before_tax: figure.filter(|_| rate).map(|cents| money(code, cents)),
                    before_discounts: figure.filter(|_| !rate).map(|cents| money(code, cents)),
                    account: Some(AccountLink { by_reference: true, ..link("a") }),
                    ..of(name, 0)
                },
                false if rate => fact::Payment { amount: money(code, captured), ..of(&intent[7..], 1) },
                false => of(&intent[7..], 1),
            })
        },
    )
}

/// A purchase at a rate of which three objects tell what it was for, or one of them before anybody asked. What an object
/// once stated it states again, that or the contrary.
fn any_description_of_a_purpose() -> impl Strategy<Value = Fact> {
    let stated = select(vec![Purpose::Credits, Purpose::Other]);
    (stated, any::<bool>(), 0usize..3, 0i64..4).prop_map(|(stated, asked, object, minute)| {
        let (intent, number) = if asked { ("stripe:pi_5", "5") } else { ("stripe:pi_6", "6") };
        let silent = if asked { Purpose::Unstated } else { Purpose::NotAsked };
        let (kind, precedence, purpose) = [("cs", 0, stated), ("pi", 1, stated), ("ch", 2, silent)][object];
        let object = format!("{kind}_{number}");
        Fact::Payment(fact::Payment {
            amount: money("EUR", 1000),
            purpose,
            occurred_at: at(minute),
            ..described(&[intent], &object, precedence, Some("a"))
        })
    })
}

/// Whether it was credits that were bought; how many, where only the money tells; whose it is, by which field: told by
/// objects of which some were not yet paid.
fn any_description_in_doubt() -> impl Strategy<Value = Fact> {
    let purpose = select(vec![Purpose::Unstated, Purpose::Credits, Purpose::Credits, Purpose::Other]);
    let status = select(vec![PaymentStatus::Paid, PaymentStatus::Paid, PaymentStatus::Pending]);
    let figure = || prop::option::of(select(vec![1000i64, 1000, 500, 1250]));
    let sold = select(vec![0usize, 0, 1, 2]);
    (purpose, status, figure(), figure(), sold, 0usize..3, select(vec![1000i64, 1000, 500])).prop_map(
        |(purpose, status, before_tax, before_discounts, sold, object, cents)| {
            let (name, precedence) = [("cs_3", 0), ("pi_3", 1), ("ch_3", 2)][object];
            let mut payment = described(&["stripe:pi_3"], name, precedence, None);
            // The session's field only serves, and contradicts no other; the intent's is explicit.
            payment.account = match object {
                0 => Some(AccountLink { by_reference: true, ..link("b") }),
                1 => Some(link("a")),
                _ => None,
            };
            let assumed = LineItem { quantity_assumed: true, ..LineItem::new("pri_unit", 1) };
            payment.items = [vec![], vec![assumed], vec![LineItem::new("pri_unit", 2)]][sold].clone();
            let euro = if sold == 0 { "EUR" } else { "USD" };
            payment.amount = money(euro, cents);
            payment.before_tax = before_tax.map(|cents| money(euro, cents));
            payment.before_discounts = before_discounts.map(|cents| money(euro, cents));
            (payment.purpose, payment.status) = (purpose, status);
            Fact::Payment(payment)
        },
    )
}

/// Ids by which movements name their payment: a charge without its intent, too.
fn any_payment() -> impl Strategy<Value = Vec<&'static str>> {
    select(vec![
        vec!["paddle:t1"],
        vec!["paddle:t1"],
        vec!["paddle:t2"],
        vec!["paddle:t3"],
        vec!["paddle:t4"],
        vec!["paddle:t5"],
        vec!["paddle:t6"],
        vec!["paddle:t7"],
        vec!["paddle:t8"],
        vec!["stripe:pi_3"],
        vec!["stripe:pi_4"],
        vec!["stripe:pi_5"],
        vec!["stripe:pi_6"],
        vec!["stripe:pi_1"],
        vec!["stripe:ch_1"],
        vec!["stripe:ch_1", "stripe:pi_1"],
        vec!["stripe:pi_2", "stripe:ch_2"],
        vec!["stripe:ch_2"],
    ])
}

/// Movements of a payment with lines: of which lines, and how much of each, the buyer's bank may say or not.
fn any_movement_of_lines() -> impl Strategy<Value = Fact> {
    let part = (select(vec!["l1", "l2", "l3", "l4", "l9"]), select(vec![1i64, 100, 333, 500, 1000, 1200]));
    let parts = prop::collection::vec(part, 0..4);
    let currency = select(vec!["USD", "USD", "USD", "USD", "EUR"]);
    (any_struggle("paddle:t8"), parts, currency).prop_map(|(fact, parts, code)| {
        let Fact::Movement(mut movement) = fact else { unreachable!() };
        let moved = |(line, cents): (&str, i64)| fact::MovedLine {
            line: line.to_owned(),
            amount: money(code, cents),
        };
        movement.lines = parts.into_iter().map(moved).collect();
        Fact::Movement(movement)
    })
}

/// A payment of lines, and refunds that add up to it, whichever lines they name and how much of each.
fn any_refund_of_all() -> impl Strategy<Value = History> {
    let part = (select(vec!["l1", "l2", "l3", "l4", "l9"]), prop_oneof![1i64..1500, Just(1000), Just(333)]);
    let refund = (1i64..1500, prop::collection::vec(part, 0..4));
    (any_description_of_lines(), prop::collection::vec(refund, 1..5)).prop_map(|(paid, refunds)| {
        let Fact::Payment(paid) = paid else { unreachable!() };
        let paid = fact::Payment { status: PaymentStatus::Paid, ..paid };
        let paid = fact::Payment {
            amount: Money::new(paid.amount.amount() + Decimal::ONE, paid.amount.currency()).unwrap(),
            ..paid
        };
        let mut left = paid.amount.amount();
        left.rescale(2);
        let mut left = i64::try_from(left.mantissa()).unwrap();
        let last = refunds.len() - 1;
        let mut facts = vec![Fact::Payment(paid)];
        for (number, (cents, parts)) in refunds.into_iter().enumerate() {
            let cents = if number == last { left } else { cents.min(left) };
            left -= cents;
            let Fact::Movement(movement) = moved(&format!("r{number}"), "t8", Refund, Final, "0.00", 1)
            else {
                unreachable!()
            };
            let line = |(line, cents): (&str, i64)| fact::MovedLine {
                line: line.to_owned(),
                amount: money("USD", cents),
            };
            facts.push(Fact::Movement(fact::Movement {
                amount: money("USD", cents),
                lines: parts.into_iter().map(line).collect(),
                ..movement
            }));
        }
        History { scale: 6, facts, again: Vec::new() }
    })
}

#[test]
fn movements_that_add_up_to_what_was_paid_take_all_that_was_granted() {
    check_histories(1000, any_refund_of_all(), |history| {
        let (mut world, mut model) = both(history);
        for (at, fact) in history.facts.iter().enumerate() {
            step(&mut world, &mut model, &event(at), fact)?;
        }
        let of_lots = |part| world.of_payment(&txn("t8"), part);
        let (granted, reversed) = (of_lots(|lot| lot.granted), of_lots(|lot| lot.reversed));
        holds!(granted == reversed, "{granted} was granted, {reversed} reversed");
        Ok(())
    });
}

/// Several chargebacks and backs on one payment, each near the whole of it or a part, some of them in full, again and again.
fn any_struggle(payment: &'static str) -> impl Strategy<Value = Fact> {
    let id = select(vec!["d1", "d2", "d3", "d4", "b1", "b2", "b3", "r1"]);
    let cents = prop_oneof![select(vec![900i64, 1000, 1000, 800, 999, 1001, 333, 500]), 1i64..2000];
    let status = select(vec![Final, Final, Final, Final, Pending, Void]);
    (id, cents, status, any::<bool>(), 0i64..4).prop_map(move |(id, cents, status, full, minute)| {
        let kind = match &id[..1] {
            "d" => Chargeback,
            "b" => Back,
            _ => Refund,
        };
        Fact::Movement(fact::Movement {
            lines: Vec::new(),
            movement: id.to_owned(),
            payment: payment.parse().unwrap(),
            aliases: Vec::new(),
            kind,
            status,
            amount: money("USD", cents),
            full: full && kind == Back,
            hold: None,
            occurred_at: at(minute),
        })
    })
}

/// Parts, halves, exactly all, more than all, the smallest there is.
fn any_cents() -> impl Strategy<Value = i64> {
    prop_oneof![select(vec![1i64, 333, 334, 500, 1000, 1000, 1200]), 1i64..1600]
}

fn any_movement() -> impl Strategy<Value = Fact> {
    let id = select(vec![("r1", 0), ("r2", 0), ("d1", 1), ("d2", 1), ("b1", 2), ("b2", 2), ("x", 3)]);
    let kind = select(vec![Refund, Chargeback, Back]);
    let status = select(vec![Pending, Final, Final, Void]);
    let hold = prop::option::weighted(0.2, select(vec!["h1", "h2"]));
    let currency = select(vec!["USD", "USD", "USD", "USD", "USD", "USD", "EUR"]);
    (any_payment(), id, kind, status, any_cents(), 0i64..4, (any::<bool>(), hold, currency)).prop_map(
        |(ids, (id, which), any_kind, status, cents, minute, (full, hold, code))| {
            let ids: Vec<PaymentId> = ids.iter().map(|id| id.parse().unwrap()).collect();
            let kind = [Refund, Chargeback, Back].get(which).copied().unwrap_or(any_kind);
            Fact::Movement(fact::Movement {
                lines: Vec::new(),
                movement: id.to_owned(),
                payment: ids[0].clone(),
                aliases: ids[1..].to_vec(),
                kind,
                status,
                amount: money(code, cents),
                full: full && kind == Back,
                hold: hold.map(str::to_owned),
                occurred_at: at(minute),
            })
        },
    )
}

fn any_hold() -> impl Strategy<Value = Fact> {
    let status = select(vec![HoldStatus::Placed, HoldStatus::Placed, HoldStatus::Lifted]);
    (any_payment(), select(vec!["h1", "h2"]), any_cents(), status, 0i64..4).prop_map(
        |(ids, hold, cents, status, minute)| {
            Fact::Hold(fact::Hold {
                hold: hold.to_owned(),
                payment: ids[0].parse().unwrap(),
                amount: money("USD", cents),
                status,
                occurred_at: at(minute),
            })
        },
    )
}

fn any_valuation() -> impl Strategy<Value = Fact> {
    let currency = select(vec!["USD", "USD", "EUR"]);
    (any_payment(), select(vec!["r1", "d1", "b1", "x"]), any_cents(), currency, 0i64..4).prop_map(
        |(ids, movement, cents, code, minute)| {
            Fact::Valuation(Valuation {
                payment: ids[0].parse().unwrap(),
                movement: movement.to_owned(),
                amount: money(code, cents),
                reason: "the bank's statement".to_owned(),
                by: "ada".to_owned(),
                occurred_at: at(minute),
            })
        },
    )
}

/// All links lead to `c`: none contradicts another.
fn any_customer() -> impl Strategy<Value = Fact> {
    let (guest, other) = ("email:guest@example.com", "email:other@example.com");
    let facts = vec![
        ("paddle:ctm_1", Some("jane@example.com"), None),
        ("paddle:ctm_1", None, Some("c")),
        ("email:jane@example.com", None, Some("c")),
        (guest, None, Some("c")),
        (other, None, Some("c")),
        (other, None, None),
    ];
    select(facts).prop_map(|(customer, email, account)| {
        Fact::Customer(Customer {
            reason: None,
            customer: customer.parse().unwrap(),
            email: email.and_then(CustomerId::of_email),
            account: account.map(link),
            occurred_at: START,
        })
    })
}

/// An operator delivers what nobody else can, states what it grants, and moves payments to and fro.
fn any_assignment() -> impl Strategy<Value = Fact> {
    let words = vec![
        ("paddle:t6", AssignmentAct::Deliver, Some("b"), Some(1000)),
        ("paddle:t6", AssignmentAct::Deliver, Some("b"), None),
        ("paddle:t6", AssignmentAct::Deliver, None, Some(10)),
        ("paddle:t1", AssignmentAct::Deliver, None, Some(7)),
        ("paddle:t1", AssignmentAct::Move, Some("b"), None),
        ("paddle:t1", AssignmentAct::Move, Some("a"), None),
        ("paddle:t5", AssignmentAct::Move, Some("d"), None),
        ("stripe:pi_1", AssignmentAct::Move, Some("c"), None),
        ("paddle:t8", AssignmentAct::Deliver, None, Some(777)),
        ("paddle:t8", AssignmentAct::Restate, None, None),
        ("stripe:ch_1", AssignmentAct::Move, Some("b"), Some(99)),
    ];
    (select(words), 0i64..4).prop_map(|((payment, act, account, credits), minute)| {
        Fact::Assignment(Assignment {
            by_todays_catalog: false,
            payment: payment.parse().unwrap(),
            act,
            account: account.map(|account| AccountId::new(account).unwrap()),
            credits: credits.map(Credits::whole),
            reason: "the buyer wrote".to_owned(),
            by: "ada".to_owned(),
            occurred_at: at(minute),
        })
    })
}

fn any_account() -> impl Strategy<Value = AccountId> {
    select(vec!["a", "a", "b", "c"]).prop_map(|account| AccountId::new(account).unwrap())
}

/// Whole credits, a few decimals, the smallest there is; cut to the history's scale once it is known.
fn any_credits() -> impl Strategy<Value = Credits> {
    prop_oneof![
        (1i64..2000).prop_map(Credits::whole),
        (1i64..99_999).prop_map(|n| Credits::new(Decimal::new(n, 2))),
        Just(Credits::new(Decimal::new(1, 9))),
    ]
}

fn any_usage() -> impl Strategy<Value = Fact> {
    let credits = prop_oneof![15 => any_credits(), 1 => Just(Credits::ZERO)];
    (any_account(), credits).prop_map(|(account, credits)| {
        Fact::Usage(Usage { account, credits, reference: None, description: None, ip: None, device: None })
    })
}

fn any_grant() -> impl Strategy<Value = Fact> {
    let kind = select(vec![GrantKind::Promotional, GrantKind::Goodwill]);
    let days = prop::option::of(1i64..60);
    (any_account(), any_credits(), kind, days).prop_map(|(account, credits, kind, days)| {
        let expires_at = days.map(|days| START + Duration::days(days));
        Fact::Grant(fact::Grant { account, credits, kind, reason: "test".to_owned(), expires_at, by: None })
    })
}

fn any_adjustment() -> impl Strategy<Value = Fact> {
    (any_account(), any_credits(), any::<bool>()).prop_map(|(account, credits, given)| {
        let credits = if given { credits } else { -credits };
        adjustment(account, credits, AdjustmentKind::Correction)
    })
}

fn any_write_off() -> impl Strategy<Value = Fact> {
    (any_account(), any_credits())
        .prop_map(|(account, credits)| adjustment(account, credits, AdjustmentKind::WriteOff))
}

fn adjustment(account: AccountId, credits: Credits, kind: AdjustmentKind) -> Fact {
    let (reason, by) = ("counted twice".to_owned(), "ada".to_owned());
    Fact::Adjustment(Adjustment { account, credits, kind, reason, by })
}

fn any_expiry() -> impl Strategy<Value = Fact> {
    (any_account(), 0i64..120)
        .prop_map(|(account, days)| Fact::Expiry(Expiry { account, as_of: START + Duration::days(days) }))
}

/// A fact of any kind whose effect does not depend on what came before.
fn any_fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        8 => any_description(),
        3 => any_description_of_lines(),
        3 => any_description_ahead(),
        3 => any_description_of_a_purpose(),
        10 => any_movement(),
        4 => any_movement_of_lines(),
        3 => any_struggle("paddle:t1"),
        2 => any_hold(),
        1 => any_valuation(),
        2 => any_customer(),
        2 => any_assignment(),
        4 => any_usage(),
        2 => any_grant(),
        1 => any_adjustment(),
    ]
}

/// A fact of any kind; also those whose effect is of the moment.
fn any_fact_of_the_moment() -> impl Strategy<Value = Fact> {
    prop_oneof![8 => any_fact(), 1 => any_write_off(), 2 => any_expiry()]
}

/// A fact that may also contradict the others: another account, a price that nobody knows, ids of two payments.
fn any_contradiction() -> impl Strategy<Value = Fact> {
    let other = (any_description(), select(vec!["a", "b", "c"]), any_payment(), any::<bool>());
    let other = other.prop_map(|(fact, account, ids, unknown)| {
        let Fact::Payment(mut payment) = fact else { unreachable!() };
        payment.account = Some(link(account));
        payment.aliases.extend(ids.iter().map(|id| id.parse().unwrap()));
        if unknown {
            payment.items = vec![LineItem::new("pri_nobody_knows".to_owned(), 1)];
        }
        Fact::Payment(payment)
    });
    prop_oneof![6 => any_fact_of_the_moment(), 2 => other, 1 => any_description_in_doubt()]
}

fn any_history<F: Strategy<Value = Fact>>(fact: F, steps: usize) -> impl Strategy<Value = History> {
    let again = prop::collection::vec(any::<prop::sample::Index>(), 0..8);
    let order = prop::collection::vec(any::<u32>(), steps + 8);
    let scale = select(vec![6u32, 0, 2, 9]);
    (scale, prop::collection::vec(fact, 1..=steps), again, order).prop_map(|(scale, facts, again, order)| {
        let facts: Vec<Fact> = facts.into_iter().map(|fact| at_scale(fact, scale)).collect();
        let mut again: Vec<usize> =
            (0..facts.len()).chain(again.iter().map(|index| index.index(facts.len()))).collect();
        let mut keys = order.into_iter();
        again.sort_by_cached_key(|_| keys.next());
        History { scale, facts, again }
    })
}

fn at_scale(fact: Fact, scale: u32) -> Fact {
    let cut = |credits: Credits| {
        let away = rust_decimal::RoundingStrategy::AwayFromZero;
        Credits::new(credits.decimal().round_dp_with_strategy(scale, away))
    };
    match fact {
        Fact::Usage(usage) => Fact::Usage(Usage { credits: cut(usage.credits), ..usage }),
        Fact::Grant(grant) => Fact::Grant(fact::Grant { credits: cut(grant.credits), ..grant }),
        Fact::Adjustment(word) => Fact::Adjustment(Adjustment { credits: cut(word.credits), ..word }),
        other => other,
    }
}

/// The id of the event that told a step.
fn event(step: usize) -> String {
    format!("e{}", step + 1)
}

/// The ledger agrees with the model in everything that does not depend on the path.
fn agrees(world: &World, model: &Model) -> Result<(), String> {
    for expected in model.expected() {
        let payment = world.resolve(expected.ids.first().ok_or("a purchase has an id")?);
        let holder = world.books.payments.get(&payment).and_then(|payment| payment.account.as_ref());
        let got = |part| world.of_payment(&payment, part);
        let (granted, reversed, held) = (got(|l| l.granted), got(|l| l.reversed), got(|l| l.held));
        // What was delivered before it was known to be for something else stays where it is, with nothing.
        let as_expected = holder == expected.account.as_ref() || expected.is_for_something_else;
        holds!(as_expected, "expected {expected:?}, {payment} is with {holder:?}");
        holds!(granted == expected.granted, "expected {expected:?}, granted {granted}");
        holds!(reversed == expected.reversed, "expected {expected:?}, reversed {reversed}");
        holds!(held <= expected.in_question, "expected {expected:?}, held {held}");
    }
    for account in world.books.accounts.values() {
        let balances = account.balances;
        let left = model.left(&account.id);
        let expired: Credits = account.lots.iter().map(|lot| lot.expired).sum();
        let got = balances.available + balances.held - balances.debt + expired;
        holds!(got == left, "expected {} to have {left} left, got {got}: {balances:?}", account.id);
        let spendable = left - expired;
        let expect =
            if spendable.is_positive() { (spendable, Credits::ZERO) } else { (Credits::ZERO, -spendable) };
        let settled = (balances.available, balances.debt) == expect;
        holds!(!balances.held.is_zero() || settled, "with nothing held {}: {balances:?}", account.id);
    }
    Ok(())
}

/// Tells one step, then checks everything against everything.
fn step(world: &mut World, model: &mut Model, id: &str, fact: &Fact) -> Result<(), String> {
    let at = |broken: String| format!("after {id}: {broken}");
    let debts: BTreeMap<AccountId, Credits> =
        world.books.accounts.values().map(|account| (account.id.clone(), account.balances.debt)).collect();
    if let Some(refused) = world.hear(id, fact).map_err(at)? {
        refused.map_err(|refusal| at(refusal.to_string()))?;
    }
    if let Fact::Adjustment(Adjustment { account, credits, kind: AdjustmentKind::WriteOff, .. }) = fact {
        let debt = debts.get(account).copied().unwrap_or_default();
        let forgiven = world.forgiven.get(id).copied().unwrap_or_default();
        holds!(forgiven == debt.min(*credits), "after {id}: {forgiven} was forgiven of {debt}");
    }
    model.tell(id, fact);
    model.forgiven.clone_from(&world.forgiven);
    agrees(world, model).map_err(at)
}

fn both(history: &History) -> (World, Model) {
    let rules = rules_at(history.scale);
    let catalog = rules.catalogs[&rules.current].clone();
    (World::by(rules), Model::new(history.scale, catalog))
}

#[test]
fn every_order_and_repetition_ends_the_same_and_agrees_with_the_model_after_every_step() {
    check_histories(2000, any_history(any_fact(), 30), |history| {
        let (mut world, mut model) = both(history);
        for (at, fact) in history.facts.iter().enumerate() {
            step(&mut world, &mut model, &event(at), fact)?;
        }
        let (mut other, mut anew) = both(history);
        for at in &history.again {
            let fact = &history.facts[*at];
            step(&mut other, &mut anew, &event(*at), fact).map_err(|broken| format!("again, {broken}"))?;
            if !matches!(fact, Fact::Usage(_) | Fact::Grant(_) | Fact::Adjustment(_)) {
                other.repeat(&event(*at), fact)?;
            }
        }
        holds!(model.expected() == anew.expected(), "the model does not know the order");
        Ok(())
    });
}

#[test]
fn expiry_write_offs_and_grace_keep_every_sum_and_every_target() {
    check_histories(1500, any_history(any_fact_of_the_moment(), 30), |history| {
        let (mut world, mut model) = both(history);
        world.expire_prices_after(Duration::days(10));
        model.catalog = world.rules.catalogs[&world.rules.current].clone();
        for (at, fact) in history.facts.iter().enumerate() {
            world.now = START + Duration::days(3 * at as i64);
            step(&mut world, &mut model, &event(at), fact)?;
        }
        Ok(())
    });
}

#[test]
fn contradictions_are_refused_or_alarmed_and_break_no_sum() {
    check_histories(1500, any_history(any_contradiction(), 30), |history| {
        let (mut world, _) = both(history);
        for (at, fact) in history.facts.iter().enumerate() {
            let before = format!("{:?}", world.books.accounts);
            let told =
                world.hear(&event(at), fact).map_err(|broken| format!("after {}: {broken}", event(at)))?;
            let refused = told.is_some_and(|decided| decided.is_err());
            let same = !refused || before == format!("{:?}", world.books.accounts);
            holds!(same, "{} was refused and changed something", event(at));
        }
        Ok(())
    });
}

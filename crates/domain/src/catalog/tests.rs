//! What prices and rates grant.

use super::*;
use crate::money::currency;

fn catalog() -> Catalog {
    let price = |credits, bonus| Price {
        amounts: BTreeMap::new(),
        credits: Credits::whole(credits),
        bonus: Credits::whole(bonus),
        expires_after_seconds: None,
    };
    let paddle = BTreeMap::from([("pri_1".to_owned(), price(1000, 50)), ("pri_2".to_owned(), price(10, 0))]);
    Catalog {
        rate_applies_to: RateAppliesTo::default(),
        prices: BTreeMap::from([("paddle".to_owned(), paddle)]),
        rates: BTreeMap::from([("USD".to_owned(), Decimal::from(100))]),
    }
}

fn money(minor: i128, code: &str) -> Money {
    Money::from_minor(minor, 2, currency(code).unwrap()).unwrap()
}

fn sold(items: &[LineItem], total: Money) -> Sold<'_> {
    Sold { items, purpose: Purpose::Unstated, total, before_tax: total, before_discounts: None }
}

#[test]
fn worth_comes_from_the_catalog_else_the_rate_else_is_unknown() {
    let check = |processor: &str, items: &[(&str, u64)], minor, code: &str, expect: Option<(i64, i64)>| {
        let items: Vec<LineItem> =
            items.iter().map(|(price, quantity)| LineItem::new(*price, *quantity)).collect();
        let worth = catalog().worth(processor, &sold(&items, money(minor, code)), 6);
        let expect = expect.map(|(purchase, bonus)| (Credits::whole(purchase), Credits::whole(bonus)));
        let got = worth.ok().map(|worth| (worth.purchase, worth.bonus));
        assert_eq!(got, expect, "{processor} {items:?}");
    };
    check("paddle", &[("pri_1", 2)], 2000, "EUR", Some((2000, 100)));
    check("paddle", &[("pri_1", 1), ("pri_2", 3), ("pri_other", 9)], 1, "EUR", Some((1030, 50)));
    check("paddle", &[("pri_other", 1)], 1000, "USD", Some((1000, 0)));
    check("paddle", &[("pri_other", 1)], 1000, "EUR", None);
    check("stripe", &[("pri_1", 1)], 1000, "EUR", None);
    check("stripe", &[], 0, "USD", Some((0, 0)));
    check("paddle", &[("pri_1", u64::MAX)], 1, "USD", None);
    check("stripe", &[("pri_other", LineItem::QUANTITY_UNKNOWN)], 1000, "USD", None);
    check("paddle", &[("pri_1", 1), ("pri_other", LineItem::QUANTITY_UNKNOWN)], 1000, "USD", None);
}

#[test]
fn a_rate_applies_to_what_is_known_to_be_a_purchase_of_credits_or_to_all() {
    use Purpose::{Credits as Purchase, NotAsked, Other, Unstated};
    use RateAppliesTo::{Any, Purchases};
    let check = |applies, purpose, code: &str, expect: Result<i64, Unknown>| {
        let catalog = Catalog { rate_applies_to: applies, ..catalog() };
        let sold = Sold { purpose, ..sold(&[], money(1000, code)) };
        let got = catalog.worth("stripe", &sold, 6).map(|worth| worth.total());
        assert_eq!(got, expect.map(Credits::whole), "{applies:?} {purpose:?} {code}");
    };
    for purpose in [Purchase, Other, Unstated, NotAsked] {
        check(Any, purpose, "USD", Ok(1000));
        check(Any, purpose, "EUR", Err(Unknown::Price));
    }
    check(Purchases, Purchase, "USD", Ok(1000));
    check(Purchases, Purchase, "EUR", Err(Unknown::Price));
    check(Purchases, NotAsked, "USD", Ok(1000));
    check(Purchases, NotAsked, "EUR", Err(Unknown::Price));
    check(Purchases, Unstated, "USD", Err(Unknown::NotAPurchaseOfCredits));
    check(Purchases, Unstated, "EUR", Err(Unknown::Price));
    check(Purchases, Other, "USD", Err(Unknown::NotAPurchaseOfCredits));
    check(Purchases, Other, "EUR", Err(Unknown::NotAPurchaseOfCredits));
}

#[test]
fn a_price_of_the_catalog_grants_quantity_times_share_whatever_it_was_bought_for() {
    let check = |share: Option<&str>, quantity, expect: (&str, &str)| {
        let share = share.map(|share| share.parse().unwrap());
        let items = [LineItem { share, ..LineItem::new("pri_1", quantity) }];
        let catalog = Catalog { rate_applies_to: RateAppliesTo::Purchases, ..catalog() };
        for purpose in [Purpose::Credits, Purpose::Other, Purpose::Unstated] {
            let sold = Sold { purpose, ..sold(&items, money(500, "EUR")) };
            let worth = catalog.worth("paddle", &sold, 6).unwrap();
            assert_eq!((&*worth.purchase.to_string(), &*worth.bonus.to_string()), expect, "{share:?}");
        }
    };
    check(None, 2, ("2000", "100"));
    check(Some("1"), 2, ("2000", "100"));
    check(Some("0.5"), 1, ("500", "25"));
    check(Some("0.5"), 3, ("1500", "75"));
    check(Some("0.333333"), 1, ("333.333", "16.66665"));
    check(Some("0"), 3, ("0", "0"));
}

#[test]
fn what_sells_nothing_grants_nothing_and_is_no_riddle() {
    let nothing = |price: &str| LineItem { share: Some(Decimal::ZERO), ..LineItem::new(price, 1) };
    let catalog = Catalog { rate_applies_to: RateAppliesTo::Purchases, ..catalog() };
    for items in [vec![nothing("pri_other")], vec![nothing("pri_1"), nothing("pri_other")]] {
        assert_eq!(catalog.worth("paddle", &sold(&items, money(0, "EUR")), 6), Ok(Worth::default()));
    }
    let beside = [nothing("pri_1"), LineItem::new("pri_2", 1)];
    let worth = catalog.worth("paddle", &sold(&beside, money(100, "EUR")), 6).unwrap();
    assert_eq!(worth.total(), Credits::whole(10));
}

#[test]
fn money_that_is_no_multiple_of_a_units_amount_is_not_guessed() {
    let mut catalog = catalog();
    let price = catalog.prices.get_mut("paddle").unwrap().get_mut("pri_1").unwrap();
    price.amounts = BTreeMap::from([("USD".to_owned(), Decimal::from(10))]);
    let check = |item: LineItem, cost: Option<i128>, paid: (i128, &str), expect: Result<i64, Unknown>| {
        let (items, total) = ([item], money(paid.0, paid.1));
        let before_discounts = cost.map(|cost| money(cost, paid.1));
        let sold = Sold { before_discounts, ..sold(&items, total) };
        let got = catalog.worth("paddle", &sold, 6).map(|worth| worth.purchase);
        assert_eq!(got, expect.map(Credits::whole), "{items:?} {cost:?} {total}");
    };
    let assumed = || LineItem { quantity_assumed: true, ..LineItem::new("pri_1", 1) };
    let stated = |quantity| LineItem::new("pri_1", quantity);
    let no_multiple = Err(Unknown::AmountNoMultiple);
    check(assumed(), Some(3000), (2400, "USD"), Ok(3000));
    check(assumed(), Some(1000), (1210, "USD"), Ok(1000));
    check(assumed(), Some(2500), (2500, "USD"), no_multiple);
    check(assumed(), Some(0), (0, "USD"), no_multiple);
    check(assumed(), Some(999), (999, "USD"), no_multiple);
    // Nobody says what it cost before discounts: what was paid tells it, or nothing does.
    check(assumed(), None, (3000, "USD"), Ok(3000));
    check(assumed(), None, (1210, "USD"), no_multiple);
    check(stated(2), Some(2000), (1500, "USD"), Ok(2000));
    check(stated(2), Some(1000), (1000, "USD"), no_multiple);
    check(stated(2), None, (2000, "USD"), Ok(2000));
    check(stated(300), None, (1000, "USD"), no_multiple);
    check(stated(1), None, (1, "USD"), no_multiple);
    check(stated(2), None, (1210, "EUR"), Ok(2000));
    // No unit amount in its currency: no check.
    check(assumed(), Some(2500), (2500, "EUR"), Ok(1000));
    check(stated(2), Some(2500), (2500, "EUR"), Ok(2000));
    let half = |quantity| LineItem { share: Some(Decimal::new(5, 1)), ..stated(quantity) };
    check(half(1), Some(500), (500, "USD"), Ok(500));
    check(half(3), Some(1500), (1500, "USD"), Ok(1500));
    check(half(1), Some(1000), (1000, "USD"), no_multiple);
    // 6.667 and 3.333 dollars, to the cent.
    let two_thirds = LineItem { share: Some(Decimal::new(6667, 4)), ..stated(10) };
    check(two_thirds.clone(), Some(6667), (6667, "USD"), Ok(6667));
    check(two_thirds, Some(6690), (6690, "USD"), no_multiple);
}

#[test]
fn each_line_has_its_own_cost_and_its_own_credits() {
    let mut catalog = catalog();
    let price = catalog.prices.get_mut("paddle").unwrap().get_mut("pri_1").unwrap();
    price.amounts = BTreeMap::from([("USD".to_owned(), Decimal::from(10))]);
    let line = |line: &str, cost, item: LineItem| LineItem {
        line: Some(line.to_owned()),
        before_discounts: Some(money(cost, "USD")),
        ..item
    };
    let items =
        [line("l1", 2000, LineItem::new("pri_1", 2)), line("l2", 1900, LineItem::new("pri_shirt", 1))];
    let by_line = catalog.credits_by_line("paddle", &sold(&items, money(3900, "USD")), 6).unwrap();
    let expect = [("l1".to_owned(), Credits::whole(2100)), ("l2".to_owned(), Credits::ZERO)];
    assert_eq!(by_line, BTreeMap::from(expect));
    let wrong = [line("l1", 1500, LineItem::new("pri_1", 2)), items[1].clone()];
    let sold_wrong = sold(&wrong, money(3400, "USD"));
    assert_eq!(catalog.worth("paddle", &sold_wrong, 6), Err(Unknown::AmountNoMultiple));
    let shirts = [items[1].clone()];
    assert_eq!(catalog.credits_by_line("paddle", &sold(&shirts, money(1900, "USD")), 6), None);
}

#[test]
fn a_version_names_the_content() {
    let mut other = catalog();
    assert_eq!(catalog().version(), other.version());
    other.rates.clear();
    assert_ne!(catalog().version(), other.version());
}

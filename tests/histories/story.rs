//! Random histories: what can happen to a few accounts and their purchases, from a seed.
//!
//! Left out is what the order may decide by design: expiry, links that contradict each other, and write-offs, which
//! forgive what debt there is at their time.

use domain::fact::{
    Adjustment, AdjustmentKind, Assignment, AssignmentAct, Customer, Hold, HoldStatus, LineItem, Movement,
    MovementKind, MovementStatus, Payment, PaymentStatus, Valuation,
};
use domain::{AccountId, Credits, CustomerId, Envelope, Fact, PaymentId};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use testkit::facts::{
    AT, PRICE, account_id, customer_id, envelope, grant, link, money, payment, payment_id, refund, usage, usd,
};
use time::{Duration, OffsetDateTime};

const ACCOUNTS: usize = 5;
const PAYMENTS: usize = 16;

/// A history, in the order in which a reader would tell it.
pub struct Story {
    /// In every order, as often as one likes.
    pub facts: Vec<Envelope>,
    /// What operators do about what they see then, again in every order.
    pub acts: Vec<Envelope>,
    pub accounts: Vec<AccountId>,
    pub payments: Vec<PaymentId>,
}

/// Writes a story; each name in it begins with its own, so that several can be told on one site.
pub struct Writer<'a> {
    random: &'a mut StdRng,
    name: String,
    /// No customers and no objects that merge: nothing then is locked out of order.
    pub is_plain: bool,
    facts: Vec<Envelope>,
    acts: Vec<Envelope>,
    payments: Vec<PaymentId>,
}

impl<'a> Writer<'a> {
    pub fn new(name: &str, random: &'a mut StdRng) -> Self {
        let (facts, acts, payments) = Default::default();
        Self { random, name: name.to_owned(), is_plain: false, facts, acts, payments }
    }

    pub fn write(mut self) -> Story {
        for number in 0..PAYMENTS {
            self.purchase(number);
        }
        for number in 0..ACCOUNTS {
            self.platform(&self.account(number));
        }
        self.tell_again();
        let accounts = (0..ACCOUNTS).map(|number| account_id(&self.account(number))).collect();
        Story { facts: self.facts, acts: self.acts, accounts, payments: self.payments }
    }

    fn account(&self, number: usize) -> String {
        format!("{}_acct_{}", self.name, number % ACCOUNTS)
    }

    fn say(&mut self, source: &str, fact: Fact) {
        let cause = format!("{source}/{}_{}", self.name, self.facts.len());
        self.facts.push(envelope(&cause, fact));
    }

    fn act(&mut self, fact: Fact) {
        let cause = format!("operator/{}_{}", self.name, self.acts.len());
        self.acts.push(envelope(&cause, fact));
    }

    /// Some facts again by other events: a second notification, `transaction.completed` after `transaction.paid`.
    fn tell_again(&mut self) {
        let of_payments = self.facts.iter().filter(|told| !told.fact.payment_ids().is_empty());
        let again: Vec<Fact> = of_payments.map(|told| told.fact.clone()).collect();
        for fact in again.choose_multiple(self.random, 8).cloned().collect::<Vec<_>>() {
            self.say("again", fact);
        }
    }

    /// What the platform and its operators say of an account.
    fn platform(&mut self, account: &str) {
        for _ in 0..self.random.random_range(2..7) {
            let fact = usage(account, self.random.random_range(1..900));
            self.say("gateway", fact);
        }
        for _ in 0..self.random.random_range(0..3) {
            let fact = grant(account, self.random.random_range(1..400));
            self.say("shop", fact);
        }
        if self.random.random_bool(0.5) {
            let size = self.random.random_range(1..200);
            let credits = Credits::whole(if self.random.random_bool(0.5) { size } else { -size });
            self.say(
                "operator",
                Fact::Adjustment(Adjustment {
                    account: account_id(account),
                    credits,
                    kind: AdjustmentKind::Correction,
                    reason: "counted twice".to_owned(),
                    by: "ada".to_owned(),
                }),
            );
        }
    }

    /// One purchase, bought in one of the ways there are, and what becomes of its money.
    fn purchase(&mut self, number: usize) {
        let account = self.account(number);
        let transaction = format!("{}_txn_{number}", self.name);
        let paid = payment(&transaction, &account);
        let ways = if self.is_plain { 5 } else { 8 };
        let ids = match number % ways {
            0 => self.bought(vec![paid]),
            1 => {
                let pending = Payment { status: PaymentStatus::Pending, ..paid.clone() };
                self.bought(vec![paid, pending])
            }
            2 => {
                let ids = self.bought(vec![Payment { account: None, ..paid }]);
                self.assigned(&ids[0], AssignmentAct::Deliver, Some(&account), None);
                ids
            }
            3 => {
                let items = vec![LineItem::new("pri_unknown".to_owned(), 1)];
                let ids = self.bought(vec![Payment { items, ..paid }]);
                let credits = self.random.random_range(1..2000);
                self.assigned(&ids[0], AssignmentAct::Deliver, None, Some(credits));
                ids
            }
            4 => {
                let ids = self.bought(vec![paid]);
                let other = self.account(number + 1);
                let third = self.account(number + 2);
                self.assigned(&ids[0], AssignmentAct::Move, Some(&other), None);
                self.assigned(&ids[0], AssignmentAct::Move, Some(&third), None);
                ids
            }
            5 => {
                let customer = self.customer(number);
                self.linked(customer.clone(), None, Some(&account));
                self.bought(vec![Payment { account: None, customer: Some(customer), ..paid }])
            }
            6 => {
                let customer = self.customer(number);
                let address = CustomerId::of_email(&format!("{}_{number}@example.com", self.name)).unwrap();
                self.linked(customer.clone(), Some(address.clone()), None);
                self.linked(address, None, Some(&account));
                self.bought(vec![Payment { account: None, customer: Some(customer), ..paid }])
            }
            _ => self.bought_at_stripe(number, &account),
        };
        self.payments.push(ids[0].clone());
        for movement in 0..self.random.random_range(0..4) {
            self.moves(&ids, &format!("{}_mv_{number}_{movement}", self.name));
        }
    }

    fn customer(&self, number: usize) -> CustomerId {
        customer_id(&format!("paddle:{}_ctm_{number}", self.name))
    }

    fn linked(&mut self, customer: CustomerId, email: Option<CustomerId>, account: Option<&str>) {
        self.say(
            "paddle",
            Fact::Customer(Customer {
                reason: None,
                customer,
                email,
                account: account.map(link),
                occurred_at: AT,
            }),
        );
    }

    /// Returns the ids by which movements may speak of the purchase.
    fn bought(&mut self, descriptions: Vec<Payment>) -> Vec<PaymentId> {
        let ids = vec![descriptions[0].payment.clone()];
        for description in descriptions {
            self.say("paddle", Fact::Payment(description));
        }
        ids
    }

    /// Three objects, each with a part of what is needed; only two of them say that they are the same purchase.
    fn bought_at_stripe(&mut self, number: usize, account: &str) -> Vec<PaymentId> {
        let object = |prefix: &str| format!("{prefix}_{}_{number}", self.name);
        let names = ["pi", "cs", "ch"].map(object);
        let [intent, session, charge] = names.clone().map(|name| payment_id(&format!("stripe:{name}")));
        let described = |place: usize, precedence, alias: Option<&PaymentId>| Payment {
            payment: intent.clone(),
            aliases: alias.cloned().into_iter().collect(),
            object: names[place].clone(),
            precedence,
            account: None,
            items: Vec::new(),
            ..payment("unused", account)
        };
        let items = vec![LineItem::new(PRICE.to_owned(), 1)];
        let by_intent = described(0, 1, None);
        let by_session = Payment { account: Some(link(account)), items, ..described(1, 0, Some(&session)) };
        let by_charge = described(2, 2, Some(&charge));
        for description in [by_intent, by_session, by_charge] {
            self.say("stripe", Fact::Payment(description));
        }
        vec![intent, charge]
    }

    fn assigned(
        &mut self,
        payment: &PaymentId,
        act: AssignmentAct,
        account: Option<&str>,
        credits: Option<i64>,
    ) {
        let occurred_at = self.moment();
        self.act(Fact::Assignment(Assignment {
            by_todays_catalog: false,
            payment: payment.clone(),
            act,
            account: account.map(account_id),
            credits: credits.map(Credits::whole),
            reason: "the customer wrote".to_owned(),
            by: "ada".to_owned(),
            occurred_at,
        }));
    }

    /// One movement with some of its states; sometimes under a hold of the refund desk, sometimes in another currency.
    fn moves(&mut self, ids: &[PaymentId], id: &str) {
        let of = ids.choose(self.random).unwrap().clone();
        let kinds =
            [MovementKind::Refund, MovementKind::Refund, MovementKind::Chargeback, MovementKind::Back];
        let kind = *kinds.choose(self.random).unwrap();
        let is_foreign = kind != MovementKind::Back && self.random.random_bool(0.1);
        let minor = self.random.random_range(1..900);
        let amount = if is_foreign { money(minor, "EUR") } else { usd(minor) };
        let hold =
            (kind == MovementKind::Refund && self.random.random_bool(0.4)).then(|| format!("hold_{id}"));
        if let Some(hold) = &hold {
            self.held(hold, &of, minor);
        }
        let whole = Movement { payment: of.clone(), amount, kind, ..refund(id, "unused", minor) };
        let full = kind == MovementKind::Back && self.random.random_bool(0.5);
        for status in self.states() {
            let occurred_at = self.moment();
            let hold = hold.clone();
            let movement = Movement { status, full, hold, occurred_at, ..whole.clone() };
            self.say(of.processor(), Fact::Movement(movement));
        }
        if is_foreign && self.random.random_bool(0.7) {
            self.act(Fact::Valuation(Valuation {
                payment: of,
                movement: id.to_owned(),
                amount: usd(minor),
                reason: "as the bank says".to_owned(),
                by: "ada".to_owned(),
                occurred_at: AT,
            }));
        }
    }

    /// The states of a movement: most end, and some are won, lost and reopened.
    fn states(&mut self) -> Vec<MovementStatus> {
        use MovementStatus::{Final, Pending, Void};
        let ends = [
            vec![Final],
            vec![Pending, Final],
            vec![Pending, Final, Void],
            vec![Pending, Void],
            vec![Final, Void, Final],
        ];
        if self.random.random_bool(0.1) { vec![Pending] } else { ends.choose(self.random).unwrap().clone() }
    }

    /// Within minutes, and often at the same moment: processors do not stamp in causal order.
    fn moment(&mut self) -> OffsetDateTime {
        AT + Duration::minutes(self.random.random_range(0..3))
    }

    fn held(&mut self, hold: &str, of: &PaymentId, minor: i128) {
        let statuses: &[HoldStatus] = if self.random.random_bool(0.8) {
            &[HoldStatus::Placed, HoldStatus::Lifted]
        } else {
            &[HoldStatus::Placed]
        };
        for status in statuses {
            self.say(
                "desk",
                Fact::Hold(Hold {
                    hold: hold.to_owned(),
                    payment: of.clone(),
                    amount: usd(minor),
                    status: *status,
                    occurred_at: AT,
                }),
            );
        }
    }
}

/// Debt that is forgiven once everything has come to rest.
pub fn write_off(name: &str, account: &AccountId, credits: Credits) -> Envelope {
    let forgiven = Adjustment {
        account: account.clone(),
        credits,
        kind: AdjustmentKind::WriteOff,
        reason: "written off".to_owned(),
        by: "ada".to_owned(),
    };
    envelope(&format!("operator/{name}_off_{account}"), Fact::Adjustment(forgiven))
}

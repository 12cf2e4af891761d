//! How a history ends: by the pure rule in memory, and by what stands in the database.

use domain::ledger::{Books, Rules, decide};
use domain::{AccountId, Credits, Envelope, Fact, PaymentId};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};
use testkit::Site;
use testkit::facts::{AT, catalog};

use super::story::Story;

/// What of the end must not depend on the path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct End {
    /// `available`, `held`, `debt` of each account.
    pub balances: BTreeMap<String, [Credits; 3]>,
    /// Reversed credits of each purchase, by the id that it is known by.
    pub reversed: BTreeMap<String, Credits>,
}

impl End {
    /// The two ends agree in what is order-free: what is reversed of each payment, what each account is worth, and with
    /// nothing held its balances.
    #[track_caller]
    pub fn assert_same(&self, got: &End, what: &str) {
        assert_eq!(self.reversed, got.reversed, "reversed credits, {what}");
        for (account, expect) in &self.balances {
            let got = got.balances.get(account).unwrap_or_else(|| panic!("no account {account}, {what}"));
            let worth = |[available, held, debt]: [Credits; 3]| available + held - debt;
            assert_eq!(worth(*expect), worth(*got), "the worth of {account}: {expect:?}, {got:?}, {what}");
            if expect[1].is_zero() && got[1].is_zero() {
                assert_eq!(expect, got, "the balances of {account}, {what}");
            }
        }
    }

    /// Accounts that end in debt with nothing held.
    pub fn in_debt(&self) -> Vec<(AccountId, Credits)> {
        let clear = self.balances.iter().filter(|(_, [_, held, debt])| held.is_zero() && debt.is_positive());
        clear.map(|(account, [.., debt])| (AccountId::new(account).unwrap(), *debt)).collect()
    }
}

/// One ledger in memory, one fact after the other.
#[derive(Default)]
pub struct InMemory {
    books: Books,
    /// Which payment each id of a purchase leads to, as the ledger's table of ids does.
    ids: BTreeMap<PaymentId, PaymentId>,
}

impl InMemory {
    pub fn tell(&mut self, rules: &Rules, facts: &[Envelope]) {
        for told in facts {
            let payment = self.address(&told.fact);
            decide(&mut self.books, rules, &told.cause, AT, &told.fact, payment.as_ref()).unwrap();
        }
    }

    fn resolve(&self, id: &PaymentId) -> PaymentId {
        self.books.standing_for(self.ids.get(id).unwrap_or(id)).clone()
    }

    fn address(&mut self, fact: &Fact) -> Option<PaymentId> {
        let named: Vec<PaymentId> = fact.payment_ids().into_iter().cloned().collect();
        let known: BTreeSet<PaymentId> = named.iter().map(|id| self.resolve(id)).collect();
        let own = named.first()?;
        let leading = if named.len() == 1 { self.resolve(own) } else { own.clone() };
        let payment = self.books.unite(&leading, &known).unwrap();
        self.ids.extend(named.into_iter().map(|id| (id, payment.clone())));
        Some(payment)
    }

    pub fn end(&self, story: &Story) -> End {
        let balances = story.accounts.iter().map(|id| {
            let balances = self.books.accounts.get(id).map(|account| account.balances).unwrap_or_default();
            (id.to_string(), [balances.available, balances.held, balances.debt])
        });
        let lots = || self.books.accounts.values().flat_map(|account| account.lots.iter());
        let reversed = story.payments.iter().map(|id| {
            let standing = self.resolve(id);
            let own = lots().filter(|lot| lot.payment.as_ref() == Some(&standing));
            (id.to_string(), own.map(|lot| lot.reversed).sum())
        });
        End { balances: balances.collect(), reversed: reversed.collect() }
    }
}

/// How it ended in the database.
pub async fn in_the_database(site: &Site, story: &Story) -> End {
    let accounts: Vec<&str> = story.accounts.iter().map(AccountId::as_str).collect();
    let payments: Vec<&str> = story.payments.iter().map(PaymentId::as_str).collect();
    let balances: Vec<(String, Decimal, Decimal, Decimal)> =
        sqlx::query_as("select account, available, held, debt from accounts where account = any($1)")
            .bind(&accounts)
            .fetch_all(&site.pool)
            .await
            .unwrap();
    let reversed: Vec<(String, Decimal)> = sqlx::query_as(
        "with recursive standing (id, payment) as (
             select id, payment from payment_ids where id = any($1)
             union
             select s.id, p.merged_into from standing s join payments p using (payment) where p.merged_into is not null)
         select s.id, coalesce(sum(l.reversed), 0) from standing s left join lots l using (payment) group by s.id",
    )
    .bind(&payments)
    .fetch_all(&site.pool)
    .await
    .unwrap();
    let balances = balances
        .into_iter()
        .map(|(account, available, held, debt)| (account, [available, held, debt].map(Credits::new)));
    let reversed = reversed.into_iter().map(|(id, credits)| (id, Credits::new(credits)));
    End { balances: balances.collect(), reversed: reversed.collect() }
}

pub fn rules() -> Rules {
    Rules::new(catalog())
}

//! What a record says in all: whose a payment is, what was paid and for what, and whether its statements fit together.

use super::PaymentRecord;
use super::reading::Reading;
use super::statement::{Assigned, Description, Stated, time_order};
use super::terms::Terms;
use crate::fact::{AccountLink, AssignmentAct, LineItem, LinkProof, PaymentStatus, Purpose};
use crate::ids::{AccountId, CustomerId};
use crate::money::Money;

impl PaymentRecord {
    /// The last word of an operator that says something of the payment.
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
    /// that it was paid. Also what was said before it was paid may tell whose it is and what was sold; what it says of
    /// amounts counts only where that very amount was paid: less may have been captured.
    pub fn terms(&self, reading: Reading) -> Option<Terms> {
        let all = self.described();
        let said = || all.iter().map(|stated| &stated.what);
        let paid = || said().filter(|what| what.status == PaymentStatus::Paid);
        let leading = all.iter().find(|stated| stated.what.status == PaymentStatus::Paid)?;
        let total = leading.what.amount;
        let foretold = said().filter(|what| what.status != PaymentStatus::Paid && what.amount == total);
        let foretold = || foretold.clone().filter(|_| !reading.is_first());
        let in_its_currency = |money: &Money| money.currency() == total.currency();
        let before_tax = paid().chain(foretold()).filter_map(|what| what.before_tax).find(in_its_currency);
        let before_discounts =
            paid().chain(foretold()).filter_map(|what| what.before_discounts).find(in_its_currency);
        let mut customers: Vec<CustomerId> = said().filter_map(|what| what.customer.clone()).collect();
        customers.sort_by_key(CustomerId::is_email);
        customers.dedup();
        Some(Terms {
            total,
            before_tax: before_tax.unwrap_or(total),
            before_discounts,
            purpose: self.purpose(),
            items: self.items(total),
            account: self
                .assigned_account()
                .map(|account| AccountLink { by_reference: false, account, proof: LinkProof::Stated })
                .or_else(|| self.links().next().cloned()),
            customers,
            credits: self.assigned(|word| word.credits),
            at: leading.at,
        })
    }

    /// What the leading object says it was for: a session knows its mode. Else other goods, whoever says so, since metadata
    /// alone says credits of a subscription's fee as well; else credits. As long as one of those that say nothing was
    /// described before anybody asked, it is as it was then.
    fn purpose(&self) -> Purpose {
        let said = || self.descriptions.values().map(|stated| &stated.what);
        let leading = self.described().into_iter().filter(|stated| stated.what.precedence == 0);
        let says = |purpose| said().any(|what| what.purpose == purpose).then_some(purpose);
        leading
            .filter_map(|stated| stated.what.purpose.stated())
            .next()
            .or_else(|| says(Purpose::Other))
            .or_else(|| says(Purpose::Credits))
            .or_else(|| says(Purpose::NotAsked))
            .unwrap_or(Purpose::Unstated)
    }

    /// What was sold, as the leading description that tells it says; how many, as any says that does not only assume it.
    /// What was said before it was paid tells nothing of each one's part where another amount was paid.
    fn items(&self, total: Money) -> Vec<LineItem> {
        let all = self.described();
        let said = || all.iter().map(|stated| &stated.what);
        let Some(leading) = said().find(|what| !what.items.is_empty()) else { return Vec::new() };
        let mut items = leading.items.clone();
        if leading.status != PaymentStatus::Paid && leading.amount != total {
            items.iter_mut().for_each(|item| (item.amount, item.before_discounts) = (None, None));
        }
        let stated = |price: &str| {
            let is_it = |item: &&LineItem| item.price == price && !item.quantity_assumed;
            said().find_map(|what| what.items.iter().find(is_it)).map(|item| item.quantity)
        };
        for item in items.iter_mut().filter(|item| item.quantity_assumed) {
            if let Some(quantity) = stated(&item.price) {
                (item.quantity, item.quantity_assumed) = (quantity, false);
            }
        }
        items
    }

    /// Descriptions, the leading one first.
    fn described(&self) -> Vec<&Stated<Description>> {
        let mut all: Vec<(&String, &Stated<Description>)> = self.descriptions.iter().collect();
        all.sort_by(|a, b| (a.1.what.precedence, a.0).cmp(&(b.1.what.precedence, b.0)));
        all.into_iter().map(|(_, stated)| stated).collect()
    }

    /// The accounts that descriptions name, the leading one first: those under the configured key, whichever object says
    /// them; only where there is none, those of a field that only serves.
    fn links(&self) -> impl Iterator<Item = &AccountLink> {
        let named: Vec<&AccountLink> =
            self.described().into_iter().filter_map(|stated| stated.what.account.as_ref()).collect();
        let serving = named.iter().all(|link| link.by_reference);
        named.into_iter().filter(move |link| link.by_reference == serving)
    }

    /// Two descriptions name different accounts, and no operator has decided: never guessed. One that only serves
    /// contradicts no explicit one.
    pub fn contradicts_itself(&self) -> bool {
        if self.assigned_account().is_some() {
            return false;
        }
        let mut links = self.links();
        let first = links.next();
        links.any(|link| Some(&link.account) != first.map(|first| &first.account))
    }

    /// Two descriptions say that different amounts were paid. The leading one's is counted, and an operator must look.
    pub fn contradicts_its_amount(&self) -> bool {
        let mut amounts = self
            .descriptions
            .values()
            .filter(|stated| stated.what.status == PaymentStatus::Paid)
            .map(|stated| stated.what.amount);
        let first = amounts.next();
        amounts.any(|amount| Some(amount) != first)
    }
}

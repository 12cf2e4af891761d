//! Customers, their addresses, and the accounts that they stand for.

use super::books::{Books, PaymentState};
use super::posting::Posting;
use crate::fact;
use crate::ids::{CustomerId, PaymentId};
use crate::outcome::Outcome;

impl Posting<'_> {
    /// Links a customer to an account, and delivers the payments that waited for it. A customer without a link of its own
    /// has that of its address.
    pub(super) fn customer(&mut self, books: &mut Books, fact: &fact::Customer) -> Outcome {
        let known = books.customers.get(&fact.customer).cloned();
        let told = fact.email.clone().map(|email| (fact.occurred_at, email));
        let noted = told.filter(|told| books.emails.get(&fact.customer).is_none_or(|known| known < told));
        let is_noted = noted.is_some();
        books.emails.extend(noted.map(|noted| (fact.customer.clone(), noted)));
        let stated = fact.account.as_ref().map(|link| link.account.clone());
        let by_address =
            || books.emails.get(&fact.customer).and_then(|(_, email)| books.customers.get(email).cloned());
        let account = match (known, stated) {
            // A link that contradicts never moves anything by itself.
            (Some(known), Some(stated)) if known != stated => return Outcome::Contradicts,
            (Some(_), _) => None,
            (None, stated) => stated.or_else(by_address),
        };
        let Some(account) = account else { return if is_noted { Outcome::Applied } else { Outcome::NoOp } };
        let mut linked: Vec<CustomerId> = books
            .emails
            .iter()
            .filter(|(customer, (_, email))| {
                *email == fact.customer && !books.customers.contains_key(*customer)
            })
            .map(|(customer, _)| customer.clone())
            .collect();
        linked.push(fact.customer.clone());
        books.customers.extend(linked.iter().map(|customer| (customer.clone(), account.clone())));
        let mut waiting: Vec<PaymentId> = books
            .payments
            .values()
            .filter(|payment| payment.state == PaymentState::Undelivered)
            .filter(|payment| {
                let terms = payment.record.terms(self.rules.reading);
                terms.is_some_and(|terms| terms.customers.iter().any(|customer| linked.contains(customer)))
            })
            .map(|payment| payment.id.clone())
            .collect();
        waiting.sort();
        for payment in waiting {
            self.settle(books, &payment);
        }
        Outcome::Applied
    }
}

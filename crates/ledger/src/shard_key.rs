//! Which account a fact will most likely change, without asking the database: facts of one account are settled by one
//! transaction after another, so that transactions side by side do not wait for each other's locks.
//!
//! Most facts name their account; a movement names its payment alone, whose account went by a little while ago. A guess
//! that is wrong costs a wait, never more.

use domain::{Fact, PaymentId};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

/// Payments remembered. When it is full everything is forgotten, which costs some waits.
const PAYMENTS_MAX: usize = 65_536;

#[derive(Default)]
pub(crate) struct ShardKeys(Mutex<HashMap<PaymentId, u64>>);

impl ShardKeys {
    /// A number that facts of one account have in common.
    pub fn of(&self, fact: &Fact) -> u64 {
        let payments = fact.payment_ids();
        if payments.is_empty() {
            return match (fact.account(), fact.customer()) {
                (None, Some(customer)) => hash(customer),
                (account, _) => hash(&account),
            };
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by_account = fact.account().map(|account| hash(&Some(account)));
        let by_payment = || payments.iter().find_map(|payment| known.get(*payment).copied());
        let key = by_account.or_else(by_payment).unwrap_or_else(|| hash(payments[0]));
        if known.len() >= PAYMENTS_MAX {
            known.clear();
        }
        known.extend(payments.into_iter().map(|payment| (payment.clone(), key)));
        key
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fact::{Hold, HoldStatus, Usage};
    use domain::money::{Money, currency};
    use domain::{AccountId, Credits};
    use time::OffsetDateTime;

    fn hold(payment: &str) -> Fact {
        Fact::Hold(Hold {
            hold: "h_1".to_owned(),
            payment: PaymentId::new("paddle", payment).unwrap(),
            amount: Money::from_minor(100, 2, currency("USD").unwrap()).unwrap(),
            status: HoldStatus::Placed,
            occurred_at: OffsetDateTime::UNIX_EPOCH,
        })
    }

    fn usage(account: &str) -> Fact {
        Fact::Usage(Usage {
            account: AccountId::new(account).unwrap(),
            credits: Credits::whole(1),
            reference: None,
            description: None,
            ip: None,
            device: None,
        })
    }

    #[test]
    fn what_is_said_of_a_payment_follows_its_account() {
        let keys = ShardKeys::default();
        let of_account = keys.of(&usage("acct_1"));
        assert_eq!(of_account, keys.of(&usage("acct_1")));
        let unknown = keys.of(&hold("txn_2"));
        assert_eq!(unknown, keys.of(&hold("txn_2")));
        assert_ne!(unknown, of_account);
        let payment = PaymentId::new("paddle", "txn_1").unwrap();
        keys.0.lock().unwrap().insert(payment, of_account);
        assert_eq!(keys.of(&hold("txn_1")), of_account);
    }
}

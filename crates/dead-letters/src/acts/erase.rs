//! Erasing letters: what they say goes for good, that they were stays.

mod store;

pub use store::erase;

use domain::{AccountId, Cause};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

/// Whose letters are to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those about one fact.
    Cause(Cause),
    /// Those that name an account, as far as they died before a moment, and those about facts of the account.
    Account { account: AccountId, before: Option<OffsetDateTime>, causes: Vec<Cause> },
}

impl Whose {
    fn causes(&self) -> &[Cause] {
        match self {
            Whose::Cause(cause) => std::slice::from_ref(cause),
            Whose::Account { causes, .. } => causes,
        }
    }

    fn account(&self) -> Option<&str> {
        match self {
            Whose::Cause(_) => None,
            Whose::Account { account, .. } => Some(account.as_str()),
        }
    }

    fn before(&self) -> Option<OffsetDateTime> {
        match self {
            Whose::Cause(_) => None,
            Whose::Account { before, .. } => *before,
        }
    }

    fn audited(&self) -> Value {
        match self {
            Whose::Cause(cause) => json!({ "event": cause.to_string() }),
            Whose::Account { account, .. } => json!({ "account": account.as_str() }),
        }
    }
}

/// What became of letters whose bodies were to be erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Emptied now.
    pub emptied: Vec<Uuid>,
    /// Not closed: their bodies are still needed, and are left.
    pub left: Vec<Uuid>,
}

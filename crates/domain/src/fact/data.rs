//! What every kind of fact says about itself: the one place where a new kind is asked everything.

use crate::ids::{AccountId, CustomerId, PaymentId};
use crate::money::{Credits, Money};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

/// The data of one kind of fact, with everything that the fleet asks about it.
///
/// Whatever a kind could forget to its harm has no default: the compiler asks for it.
pub trait FactData: Serialize + DeserializeOwned {
    /// The CloudEvents type and the routing key.
    const NAME: &'static str;
    const STATED_BY: StatedBy;
    /// Whether it describes something of a processor's by its own id, so that it may be told again, and by more than one
    /// rendering. The others count by themselves: told under a second identity they would count twice.
    const IS_DESCRIPTION: bool;
    /// The fields that hold text which people wrote, or a digest of where they were: what can be erased. The function `without_texts` of the database says the same.
    const TEXTS: &'static [&'static str];
    /// Data of such a fact, as JSON, for tests and documents.
    const EXAMPLE: &'static str;
    const FIELDS: Fields;

    /// The account that the fact itself names; a movement's is known only through its payment.
    fn account(&self) -> Option<&AccountId>;

    /// The customer that the fact names.
    fn customer(&self) -> Option<&CustomerId>;

    /// Every id of a purchase that the fact names, the payment's own first; empty for facts about none.
    fn payment_ids(&self) -> Vec<&PaymentId>;

    /// What the fact is about, by the processor's own id; empty where it has none.
    fn object_id(&self) -> &str;

    /// Every time that it states.
    fn times(&self) -> [Option<OffsetDateTime>; 3];

    /// Money that was paid or goes back, credits that are given or used: how much of them, whatever their sign.
    fn at_stake(&self) -> (Option<Money>, Option<Credits>);

    /// Why it was stated, in the words of whoever did.
    fn reason(&self) -> Option<&str>;

    /// Limits that the shape alone does not hold.
    ///
    /// # Errors
    /// What was expected and what came.
    fn check(&self, credits_scale: u32) -> Result<(), String>;

    /// Replaces each of [`TEXTS`](Self::TEXTS) that is there by [`ERASED`](super::ERASED).
    fn erase_texts(&mut self);

    /// What was done, in a few words; to whom stands beside it. Asked of facts that operators state.
    fn act(&self) -> String {
        Self::NAME.to_owned()
    }

    /// Texts of a processor's that become keys or columns. Asked of descriptions.
    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The digests of the address and of the device that it came from: `ip` and `device`. Asked of what is bought and used.
    fn origin(&self) -> [Option<&str>; 2] {
        [None, None]
    }

    /// Says where it came from, in the order of [`origin`](Self::origin).
    fn set_origin(&mut self, _origin: [Option<String>; 2]) {}

    /// Of two texts that two renderings have in one field, the one that knows more; nothing where they contradict each other.
    /// `lesser` is before `greater` in the alphabet. Asked of descriptions.
    fn outranking<'a>(_path: &str, _lesser: &'a str, _greater: &'a str) -> Option<&'a str> {
        None
    }
}

/// Who may state facts of a kind besides the fleet itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatedBy {
    /// Any publisher and any token, where nothing else is configured.
    Anyone,
    /// Publishers and tokens that were given the right to.
    WhoeverHasTheRight,
    /// Only a processor's verified webhook, an operator, or the fleet itself. No publisher and no token can be given the right
    /// to: a forged payment is free money.
    FleetAlone,
}

/// The fields of a fact's data by what it takes to change them in a dead letter. Each entry holds for everything below it, and a
/// field that stands in none is treated as a part of the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// What it is, whose it is, who says so.
    pub identity: &'static [&'static str],
    /// How much, of which kind, whether it counts, and which of two descriptions counts.
    pub money: &'static [&'static str],
    /// What one operator may change alone.
    pub free: &'static [&'static str],
    /// Those among all of them that may name a person.
    pub person: &'static [&'static str],
}

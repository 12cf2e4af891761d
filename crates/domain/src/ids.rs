//! Identifiers. Each is a newtype over text that was checked once, when it came in.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Identifiers above this are refused: they end up in keys, log fields and routing headers.
pub const ID_LENGTH_MAX: usize = 200;

/// Why a text cannot serve as an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("{what}: expected 1 to {ID_LENGTH_MAX} characters, got {length}")]
    Length { what: &'static str, length: usize },
    #[error("{what}: expected printable characters without spaces, got a control character or a space")]
    Character { what: &'static str },
    #[error("expected <processor>:<id>, for example paddle:txn_01h8, got no colon or an empty part")]
    NotQualified,
}

fn check(what: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.is_empty() || text.len() > ID_LENGTH_MAX {
        return Err(InvalidId::Length { what, length: text.len() });
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(InvalidId::Character { what });
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks a text.
            ///
            /// # Errors
            /// It is empty, too long, or has a character that no id has.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

text_id!(
    /// A customer of the platform, by the platform's own id.
    AccountId,
    "account id"
);
text_id!(
    /// Who took the money: `paddle`, `stripe`, `generic`. The list of them is in the `processors` crate.
    ProcessorName,
    "processor name"
);

macro_rules! qualified_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $spelled:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as it is written: with its processor before a colon.
            ///
            /// # Errors
            /// A part is empty, it is too long, or it has a character that no id has.
            pub fn new(processor: &str, id: &str) -> Result<Self, InvalidId> {
                format!("{processor}:{id}").parse()
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whose id it is.
            pub fn processor(&self) -> &str {
                self.0.split_once(':').map_or("", |(processor, _)| processor)
            }

            /// The processor's own id, without its name.
            pub fn id(&self) -> &str {
                self.0.split_once(':').map_or("", |(_, id)| id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check($what, text)?;
                match text.split_once(':') {
                    Some((processor, id)) if !processor.is_empty() && !id.is_empty() => Ok(Self($spelled(text))),
                    _ => Err(InvalidId::NotQualified),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

qualified_id!(
    /// One purchase at a processor, written `paddle:txn_01h8...`. Other ids of the same purchase are aliases
    /// and have the same form.
    PaymentId,
    "payment id",
    str::to_owned
);
qualified_id!(
    /// A customer as the processor knows them, written `stripe:cus_...`; or whoever has an e-mail address, written
    /// `email:jane@example.com` and kept as `email:<SHA-256 of the address>` alone: facts name no person.
    CustomerId,
    "customer id",
    without_address
);

qualified_id!(
    /// A dispute or a warning, by its processor: written `stripe:dp_1...`; at Paddle by the disputed transaction.
    CaseId,
    "dispute id",
    str::to_owned
);

/// What stands before the colon of a customer id that is an e-mail address.
const EMAIL: &str = "email";

/// The id as it is kept: an address is trimmed, written in lower case (providers tell no two mailboxes apart by it) and
/// replaced by its digest.
fn without_address(text: &str) -> String {
    match text.split_once(':') {
        Some((EMAIL, address)) if address.contains('@') => {
            format!("{EMAIL}:{}", hex::encode(Sha256::digest(address.trim().to_lowercase())))
        }
        _ => text.to_owned(),
    }
}

impl CustomerId {
    /// The person with this e-mail address; `None` if the text cannot be one.
    pub fn of_email(address: &str) -> Option<Self> {
        let address = address.trim();
        if !address.contains('@') { None } else { Self::new(EMAIL, address).ok() }
    }

    /// Whether it stands for an e-mail address.
    pub fn is_email(&self) -> bool {
        self.processor() == EMAIL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_id_names_its_processor() {
        let id: PaymentId = "stripe:pi_1".parse().unwrap();
        assert_eq!((id.processor(), id.id()), ("stripe", "pi_1"));
        for wrong in ["pi_1", ":pi_1", "stripe:", "", "stripe:pi 1"] {
            assert!(wrong.parse::<PaymentId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_is_kept_as_its_digest_alone() {
        let id = CustomerId::of_email(" Jane@Example.com").unwrap();
        assert_eq!(id, "email:jane@example.com".parse().unwrap());
        assert!(id.is_email() && !id.as_str().contains('@') && id.id().len() == 64);
        assert_eq!(id, id.as_str().parse().unwrap());
        assert_eq!(CustomerId::of_email("jane"), None);
        assert!(!"paddle:ctm_1".parse::<CustomerId>().unwrap().is_email());
    }

    #[test]
    fn an_account_id_is_short_and_printable() {
        assert!(AccountId::new("acct_42").is_ok());
        assert!(AccountId::new("").is_err());
        assert!(AccountId::new("a\nb").is_err());
        assert!(AccountId::new("x".repeat(ID_LENGTH_MAX + 1)).is_err());
    }
}

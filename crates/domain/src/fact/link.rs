//! Which account something belongs to, and what that is worth.

use super::serde_form::is_false;
use crate::ids::AccountId;
use serde::{Deserialize, Serialize};

/// Which account a payment or customer belongs to, and what that is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLink {
    pub account: AccountId,
    #[serde(default)]
    pub proof: LinkProof,
    /// Read from a field that only serves (`client_reference_id`): a link under the configured key outranks it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_reference: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkProof {
    /// The deployment does not sign its links, or the platform's server stated it.
    #[default]
    Stated,
    /// The platform's signature was checked.
    Signed,
    /// The deployment signs its links and this one was not: the buyer's browser may have written it.
    Claimed,
}

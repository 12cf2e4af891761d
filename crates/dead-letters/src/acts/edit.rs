//! Editing a letter: it is closed, and another is opened that says what the edit says.

mod store;

pub use store::edit;

use serde_json::Value;
use uuid::Uuid;

/// A letter that is to say something else.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    pub letter: Uuid,
    pub by: String,
    /// The second operator, who agrees to what is otherwise locked.
    pub agreed_by: Option<String>,
    pub reason: String,
    pub body: Vec<u8>,
    /// What it changes; goes with the letter.
    pub diff: Value,
    /// The same as the audit keeps it for good: without what may name a person.
    pub audited: Value,
}

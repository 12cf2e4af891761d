//! Form encoding, with nested names in brackets: `evidence[product_description]=...`.

use url::form_urlencoded::byte_serialize;

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// Pairs of names and values, as a query and as a body. Names are ours, values are whatever they are.
#[derive(Default)]
pub(super) struct Form(String);

impl Form {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(byte_serialize(value.as_bytes()));
        self
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

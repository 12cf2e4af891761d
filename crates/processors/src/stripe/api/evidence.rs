//! What evidence consists of: <https://docs.stripe.com/api/disputes/update>. One field that Stripe does not take discards the
//! whole update, so that what can be checked is checked here.

use std::collections::BTreeMap;

/// Of one long text, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 20_000;

/// Of all texts together, in characters.
pub const TEXTS_CHARACTERS_MAX: usize = 150_000;

/// Of all files together, as Stripe's guide says (<https://docs.stripe.com/disputes/best-practices>); a file that stands in two
/// fields counts twice.
pub const FILES_BYTES_MAX: usize = 4_500_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceKind {
    /// At most [`TEXT_CHARACTERS_MAX`].
    LongText,
    /// No limit of its own is stated.
    ShortText,
    /// The id of an uploaded file.
    File,
}

macro_rules! evidence_fields {
    ($($kind:ident: $($field:ident = $name:literal),+;)+) => {
        /// A field of evidence. Stripe's list is closed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EvidenceField {
            $($($field,)+)+
        }

        impl EvidenceField {
            pub const ALL: &'static [EvidenceField] = &[$($(EvidenceField::$field,)+)+];

            /// As Stripe names it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($(EvidenceField::$field => $name,)+)+
                }
            }

            pub fn kind(self) -> EvidenceKind {
                match self {
                    $($(EvidenceField::$field)|+ => EvidenceKind::$kind,)+
                }
            }
        }
    };
}

evidence_fields! {
    LongText:
        AccessActivityLog = "access_activity_log",
        CancellationPolicyDisclosure = "cancellation_policy_disclosure",
        CancellationRebuttal = "cancellation_rebuttal",
        DuplicateChargeExplanation = "duplicate_charge_explanation",
        ProductDescription = "product_description",
        RefundPolicyDisclosure = "refund_policy_disclosure",
        RefundRefusalExplanation = "refund_refusal_explanation",
        UncategorizedText = "uncategorized_text";
    ShortText:
        BillingAddress = "billing_address",
        CustomerEmailAddress = "customer_email_address",
        CustomerName = "customer_name",
        CustomerPurchaseIp = "customer_purchase_ip",
        DuplicateChargeId = "duplicate_charge_id",
        ServiceDate = "service_date",
        ShippingAddress = "shipping_address",
        ShippingCarrier = "shipping_carrier",
        ShippingDate = "shipping_date",
        ShippingTrackingNumber = "shipping_tracking_number";
    File:
        CancellationPolicy = "cancellation_policy",
        CustomerCommunication = "customer_communication",
        CustomerSignature = "customer_signature",
        DuplicateChargeDocumentation = "duplicate_charge_documentation",
        Receipt = "receipt",
        RefundPolicy = "refund_policy",
        ServiceDocumentation = "service_documentation",
        ShippingDocumentation = "shipping_documentation",
        UncategorizedFile = "uncategorized_file";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvidence {
    /// An empty value would erase what Stripe has in that field.
    #[error("{}: expected something to say, got nothing", .0.as_str())]
    Empty(EvidenceField),
    #[error("{}: expected at most {TEXT_CHARACTERS_MAX} characters, got {got}", .field.as_str())]
    TooLong { field: EvidenceField, got: usize },
    #[error("{}: expected the id of an uploaded file, as file_1Abc, got something else", .0.as_str())]
    NoFile(EvidenceField),
    #[error("expected texts of at most {TEXTS_CHARACTERS_MAX} characters together, got {0}")]
    TooMuch(usize),
}

/// Evidence that Stripe takes, as far as that can be told: each field is there once, and within its limits.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Evidence(BTreeMap<EvidenceField, String>);

/// It holds what people wrote and who they are.
impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Evidence {
    /// Sets a field, in place of what stood in it.
    ///
    /// # Errors
    /// What is wrong with it; nothing is set then.
    pub fn set(&mut self, field: EvidenceField, value: impl Into<String>) -> Result<(), InvalidEvidence> {
        let value = value.into();
        if value.trim().is_empty() {
            return Err(InvalidEvidence::Empty(field));
        }
        match field.kind() {
            EvidenceKind::LongText => {
                let got = value.chars().count();
                if got > TEXT_CHARACTERS_MAX {
                    return Err(InvalidEvidence::TooLong { field, got });
                }
            }
            EvidenceKind::ShortText => {}
            EvidenceKind::File => {
                let id = value.strip_prefix("file_").unwrap_or_default();
                if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err(InvalidEvidence::NoFile(field));
                }
            }
        }
        let others = self.0.iter().filter(|(other, _)| **other != field);
        let together =
            characters(others.map(|(other, text)| (*other, text.as_str())).chain([(field, &*value)]));
        if together > TEXTS_CHARACTERS_MAX {
            return Err(InvalidEvidence::TooMuch(together));
        }
        self.0.insert(field, value);
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn fields(&self) -> impl Iterator<Item = (EvidenceField, &str)> {
        self.0.iter().map(|(field, value)| (*field, value.as_str()))
    }
}

/// Of all texts among them; a file is none.
fn characters<'a>(fields: impl Iterator<Item = (EvidenceField, &'a str)>) -> usize {
    fields.filter(|(field, _)| field.kind() != EvidenceKind::File).map(|(_, text)| text.chars().count()).sum()
}

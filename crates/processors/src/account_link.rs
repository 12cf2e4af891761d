//! Which account the platform says that a payment or a customer belongs to, and what its word is worth.
//!
//! Custom data and references that pass through the buyer's browser can be altered there. A platform that signs them
//! writes `<account>.<hex HMAC-SHA256(link_secret, account)>`; a buyer who can write only to the browser cannot.

use crate::signature::{hmac_sha256, read_hex};
use domain::AccountId;
use domain::fact::{AccountLink, LinkProof};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// What came through the buyer's browser. Without a link secret it is taken as stated; with one, an unsigned link is
/// only claimed. A text that cannot be an account id links no account.
pub fn from_browser(link_secret: Option<&SecretString>, text: &str) -> Option<AccountLink> {
    let Some(secret) = usable(link_secret) else {
        return link(text, LinkProof::Stated);
    };
    match split_signed(text) {
        Some((account, signature)) if is_signature_of(secret, account, &signature) => {
            link(account, LinkProof::Signed)
        }
        Some((account, _)) => link(account, LinkProof::Claimed),
        None => link(text, LinkProof::Claimed),
    }
}

/// What only the platform's server can write. A signed link is worth its signature there too: a platform may put the
/// same text into every place that it has.
pub fn from_server(link_secret: Option<&SecretString>, text: &str) -> Option<AccountLink> {
    match (usable(link_secret), split_signed(text)) {
        (Some(secret), Some((account, signature))) if is_signature_of(secret, account, &signature) => {
            link(account, LinkProof::Signed)
        }
        _ => link(text, LinkProof::Stated),
    }
}

fn usable(link_secret: Option<&SecretString>) -> Option<&str> {
    link_secret.map(|secret| secret.expose_secret()).filter(|secret| !secret.trim().is_empty())
}

fn split_signed(text: &str) -> Option<(&str, [u8; 32])> {
    let (account, signature) = text.rsplit_once('.')?;
    Some((account, read_hex(signature)?))
}

fn is_signature_of(secret: &str, account: &str, signature: &[u8; 32]) -> bool {
    hmac_sha256(secret.as_bytes(), &[account.as_bytes()]).ct_eq(signature).into()
}

fn link(account: &str, proof: LinkProof) -> Option<AccountLink> {
    AccountId::new(account).ok().map(|account| AccountLink { by_reference: false, account, proof })
}

#[cfg(test)]
mod tests {
    use super::*;

    // HMAC-SHA256("link-secret", "acct_42"), computed with openssl.
    const SIGNATURE: &str = "984b6f5758be1855b9f4152c0ca034de517edfed60f9f6a032a66f8b741aa519";

    fn check(
        read: fn(Option<&SecretString>, &str) -> Option<AccountLink>,
        secret: Option<&str>,
        text: &str,
        expect: Option<(&str, LinkProof)>,
    ) {
        let secret = secret.map(SecretString::from);
        let got = read(secret.as_ref(), text);
        let got = got.as_ref().map(|link| (link.account.as_str(), link.proof));
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn a_link_is_worth_its_signature_where_the_platform_signs() {
        let secret = Some("link-secret");
        let signed = format!("acct_42.{SIGNATURE}");
        let forged = format!("acct_43.{SIGNATURE}");
        check(from_browser, secret, &signed, Some(("acct_42", LinkProof::Signed)));
        check(from_browser, secret, &signed.to_uppercase(), Some(("ACCT_42", LinkProof::Claimed)));
        check(from_browser, secret, &forged, Some(("acct_43", LinkProof::Claimed)));
        check(from_browser, secret, "acct_42", Some(("acct_42", LinkProof::Claimed)));
        check(
            from_browser,
            secret,
            "shop.example.acct_42",
            Some(("shop.example.acct_42", LinkProof::Claimed)),
        );
        check(from_browser, secret, &format!(".{SIGNATURE}"), None);
        check(from_browser, secret, "two words", None);
    }

    #[test]
    fn without_a_link_secret_a_link_is_stated_whole() {
        let signed = format!("acct_42.{SIGNATURE}");
        for secret in [None, Some(""), Some("  ")] {
            check(from_browser, secret, &signed, Some((&signed, LinkProof::Stated)));
            check(from_browser, secret, "acct_42", Some(("acct_42", LinkProof::Stated)));
        }
    }

    #[test]
    fn the_platforms_server_states_without_signing() {
        check(from_server, Some("link-secret"), "acct_42", Some(("acct_42", LinkProof::Stated)));
        check(
            from_server,
            Some("link-secret"),
            &format!("acct_42.{SIGNATURE}"),
            Some(("acct_42", LinkProof::Signed)),
        );
        check(from_server, None, "acct_42", Some(("acct_42", LinkProof::Stated)));
    }
}

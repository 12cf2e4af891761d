//! `account adjust` and `account link`: what operators do to an account.

use super::act::{About, Signed, reason, signed_credits};
use crate::session::Session;
use anyhow::{Result, bail};
use clap::Args;
use domain::fact::{AccountLink, Adjustment, AdjustmentKind, Customer, LinkProof};
use domain::{AccountId, Credits, CustomerId, Fact};
use ledger::read;
use std::process::ExitCode;

#[derive(Args)]
pub struct Adjust {
    /// The platform's own id of the account
    account: AccountId,
    /// How many are given, or with a minus taken as if they had been used: 100, -12.5
    #[arg(allow_hyphen_values = true, value_parser = signed_credits)]
    credits: Credits,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason)]
    reason: String,
    /// Forgive this much debt, as far as there is any, and give nothing beyond it
    #[arg(long)]
    write_off: bool,
    #[command(flatten)]
    signed: Signed,
}

pub async fn adjust(session: &Session, arguments: Adjust) -> Result<ExitCode> {
    let account = arguments.account;
    // A typing error must not become the debt of an account that nobody has.
    if read::account(&session.pool, &account).await?.is_none() {
        bail!(
            "expected an account that some fact has named, got {account}: see `bursar account list`. A payment or `bursar grant` opens a new one"
        );
    }
    let act = arguments.signed.begin(session, "adjust").await?;
    let fact = Fact::Adjustment(Adjustment {
        account: account.clone(),
        credits: arguments.credits,
        kind: if arguments.write_off { AdjustmentKind::WriteOff } else { AdjustmentKind::Correction },
        reason: arguments.reason,
        by: act.by.clone(),
    });
    let done = act.carry_out(session, fact).await?;
    done.show(session, About { account: Some(&account), ..About::default() }).await
}

#[derive(Args)]
pub struct Link {
    /// The processor's customer, such as paddle:ctm_1, or an e-mail address, of which only a digest is kept
    #[arg(value_parser = customer_argument)]
    customer: CustomerId,
    /// The account that it stands for
    #[arg(long, value_name = "ACCOUNT")]
    to: AccountId,
    /// Why; it stays beside the link
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    signed: Signed,
}

fn customer_argument(text: &str) -> Result<CustomerId, String> {
    match text.parse::<CustomerId>() {
        Ok(customer) if customer.is_email() == text.contains('@') => Ok(customer),
        Ok(_) | Err(_) => CustomerId::of_email(text).ok_or_else(|| {
            format!("expected a customer id such as paddle:ctm_1 or an e-mail address, got {text:?}")
        }),
    }
}

pub async fn link(session: &Session, arguments: Link) -> Result<ExitCode> {
    let Link { customer, to, reason, signed } = arguments;
    let act = signed.begin(session, "link").await?;
    let fact = Fact::Customer(Customer {
        reason: Some(reason),
        customer: customer.clone(),
        email: None,
        account: Some(AccountLink { by_reference: false, account: to.clone(), proof: LinkProof::Stated }),
        occurred_at: act.at,
    });
    let done = act.carry_out(session, fact).await?;
    let failed = done.contradicts().then(|| {
        format!("{customer} is linked to another account already, and what contradicts a link moves nothing by itself: see `bursar payment move`")
    });
    done.show(session, About { account: Some(&to), failed, ..About::default() }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_an_id_or_an_address() {
        let check = |text: &str, expect: Option<&str>| {
            let expect = expect.map(|id| id.parse::<CustomerId>().unwrap());
            assert_eq!(customer_argument(text).ok(), expect, "{text:?}");
        };
        check("paddle:ctm_1", Some("paddle:ctm_1"));
        check("Jane@Example.com", Some("email:jane@example.com"));
        check("email:jane@example.com", Some("email:jane@example.com"));
        check("jane", None);
        check("", None);
    }
}

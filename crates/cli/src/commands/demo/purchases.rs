//! Purchases and refunds: told three times, in the wrong order, by a forger.

use super::story::Story;
use super::{ACCOUNT, random};
use crate::commands::send;
use anyhow::Result;
use secrecy::SecretString;

pub(super) const PURCHASE: &str =
    include_str!("../../../../processors/payloads/paddle/transaction.completed.json");
const REFUND_PENDING: &str =
    include_str!("../../../../processors/payloads/paddle/adjustment.created.refund_partial_pending.json");
const REFUND_APPROVED: &str =
    include_str!("../../../../processors/payloads/paddle/adjustment.updated.refund_partial_approved.json");
pub(super) const SESSION: &str =
    include_str!("../../../../processors/payloads/stripe/checkout.session.completed.json");
pub(super) const INTENT: &str =
    include_str!("../../../../processors/payloads/stripe/payment_intent.succeeded.json");
pub(super) const CHARGE: &str = include_str!("../../../../processors/payloads/stripe/charge.succeeded.json");
const STRIPE_REFUND: &str =
    include_str!("../../../../processors/payloads/stripe/refund.created.succeeded.json");

impl Story<'_> {
    pub async fn paddle(&mut self) -> Result<()> {
        for _ in 0..3 {
            self.post("paddle", PURCHASE).await?;
        }
        self.balances(
            "Paddle: a purchase of 1000 credits and 50 bonus, delivered three times",
            ACCOUNT,
            "1050 0 0",
        )
        .await?;
        self.use_credits(ACCOUNT, "300", "req_1").await?;
        self.balances("The gateway reports usage of 300", ACCOUNT, "750 0 0").await?;
        self.post("paddle", REFUND_PENDING).await?;
        self.balances("A refund of 4.00 of 10.00 is requested: its share is held", ACCOUNT, "330 420 0")
            .await?;
        self.post("paddle", REFUND_APPROVED).await?;
        self.balances("It is approved: 40 % of what was granted goes back", ACCOUNT, "330 0 0").await?;
        self.post("paddle", REFUND_APPROVED).await?;
        self.settled().await?;
        self.balances("The refund is delivered again", ACCOUNT, "330 0 0").await
    }

    pub async fn refund_first(&mut self) -> Result<()> {
        // The same two payloads about another purchase, the refund before the purchase it belongs to.
        let other = |payload: &str| {
            payload
                .replace(ACCOUNT, "acct_43")
                .replace("txn_01kajed38mnp3y9zjfszrhsak0", "txn_01kajed38mnp3y9zjfszrhsak1")
                .replace("adj_01kajjfvyxhdm4c0j007ffahy8", "adj_01kajjfvyxhdm4c0j007ffahy9")
                .replace("\"evt_01k", "\"evt_01m")
        };
        self.post("paddle", &other(REFUND_APPROVED)).await?;
        self.settled().await?;
        self.balances("A refund that arrives before its purchase waits", "acct_43", "0 0 0").await?;
        self.post("paddle", &other(PURCHASE)).await?;
        self.balances("Its purchase arrives: the end is the same", "acct_43", "630 0 0").await
    }

    pub async fn stripe(&mut self) -> Result<()> {
        let other = |payload: &str| payload.replace(ACCOUNT, "acct_44");
        // Charge, intent, session: the last one brings the account and the price.
        for payload in [CHARGE, INTENT, SESSION] {
            self.post("stripe", &other(payload)).await?;
        }
        self.balances(
            "Stripe: one purchase told by three objects, in the wrong order",
            "acct_44",
            "1000 0 0",
        )
        .await?;
        self.post("stripe", &other(STRIPE_REFUND)).await?;
        self.balances("Stripe: a refund of 4.80 of 12.00", "acct_44", "600 0 0").await
    }

    pub async fn forged(&mut self) -> Result<()> {
        let forger = SecretString::from(random("pdl_ntfset"));
        let (processor, url) = self.door("paddle")?;
        let (status, _) = send::post(&url, processor, &forger, PURCHASE.as_bytes()).await?;
        self.note("A webhook signed with another secret is refused", "401", &status.to_string());
        Ok(())
    }
}

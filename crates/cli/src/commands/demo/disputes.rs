//! Disputes: one that is won, one that is lost, and Paddle's, which go round and round.

use super::purchases::{CHARGE, INTENT, PURCHASE, SESSION};
use super::retold::{marked, retold};
use super::story::{Expected, Story};
use anyhow::Result;
use disputes::evidence::{PackOptions, pack};

const INQUIRY: &str =
    include_str!("../../../../processors/payloads/stripe/charge.dispute.created.inquiry.json");
const WITHDRAWN: &str =
    include_str!("../../../../processors/payloads/stripe/charge.dispute.funds_withdrawn.json");
const WON: &str = include_str!("../../../../processors/payloads/stripe/charge.dispute.closed.won.json");
const OPENED: &str = include_str!("../../../../processors/payloads/stripe/charge.dispute.created.json");
const LOST: &str = include_str!("../../../../processors/payloads/stripe/charge.dispute.closed.lost.json");
const PADDLE_WARNING: &str =
    include_str!("../../../../processors/payloads/paddle/adjustment.created.chargeback_warning.json");
const PADDLE_CHARGEBACK: &str =
    include_str!("../../../../processors/payloads/paddle/adjustment.created.chargeback.json");
const PADDLE_REVERSE: &str =
    include_str!("../../../../processors/payloads/paddle/adjustment.created.chargeback_reverse.json");

/// Whose dispute is won.
pub const DISPUTED: &str = "acct_45";
const LOSING: &str = "acct_46";
const AT_PADDLE: &str = "acct_47";

/// What a dispute that was filed restricts by default.
const ALL: &str = "access, checkout, balance";

/// An inquiry and the dispute that it becomes are one object, and have one id.
fn inquiry() -> String {
    INQUIRY.replace("du_AsGxa5z9JR05LJ6c8nC55qAV", "du_h1yKzHEEQt4IPWhCmUE0Mzca")
}

/// The warning in the payloads is about a purchase in yen: here it comes the day before the chargeback, and about the same one.
fn warning() -> String {
    PADDLE_WARNING
        .replace("txn_01kajkr1gx70xermmx3tdv6kyf", "txn_01kajed38mnp3y9zjfszrhsak0")
        .replace("txnitm_01kajsw9bagw17ryx4034xzj1n", "txnitm_01kaj7m1qzfzqr0w54g0tkymrg")
        .replace("2026-11-22T", "2026-11-21T")
        .replace("JPY", "USD")
        .replace("\"3000\"", "\"1000\"")
        .replace("\"3300\"", "\"1200\"")
        .replace("\"300\"", "\"200\"")
}

/// The same chargeback, made again after it was reversed.
fn chargeback_again() -> String {
    PADDLE_CHARGEBACK
        .replace("evt_01k", "evt_01m")
        .replace("adj_01kajsm22499dvdbc150jv2khr", "adj_01kajsm22499dvdbc150jv2again")
        .replace("2026-11-22T", "2026-12-05T")
}

impl Story<'_> {
    /// An inquiry becomes a dispute, and the dispute is won.
    pub async fn won(&mut self) -> Result<()> {
        self.half_used("Stripe: another purchase of 1000 credits, half of them used", DISPUTED, "w1").await?;
        self.post("stripe", &retold(&inquiry(), DISPUTED, "w1")).await?;
        let expected = Expected { state: "warning", balances: "0 500 0", restricted: "checkout" };
        self.case(
            "Its bank asks about it: what is left is held, and nothing more is sold",
            DISPUTED,
            expected,
        )
        .await?;
        self.post("stripe", &retold(WITHDRAWN, DISPUTED, "w1")).await?;
        let expected = Expected { state: "open", balances: "0 0 500", restricted: ALL };
        self.case(
            "It is disputed, and the money is withdrawn: all credits are reversed, and what was used is debt",
            DISPUTED,
            expected,
        )
        .await?;
        self.evidence(&format!("stripe:{}", marked("du_h1yKzHEEQt4IPWhCmUE0Mzca", "w1"))).await?;
        self.post("stripe", &retold(WON, DISPUTED, "w1")).await?;
        let expected = Expected { state: "won", balances: "500 0 0", restricted: "nothing" };
        self.case(
            "The dispute is won: everything is back to the last credit, and so is access",
            DISPUTED,
            expected,
        )
        .await
    }

    /// A dispute is lost, and the next purchase pays for what was used.
    pub async fn lost(&mut self) -> Result<()> {
        self.half_used("Stripe: a third buyer, and half used again", LOSING, "l1").await?;
        self.post("stripe", &retold(OPENED, LOSING, "l1")).await?;
        let expected = Expected { state: "open", balances: "0 0 500", restricted: ALL };
        self.case("It is disputed", LOSING, expected).await?;
        self.post("stripe", &retold(LOST, LOSING, "l1")).await?;
        let expected = Expected { state: "lost", balances: "0 0 500", restricted: "nothing" };
        self.case("The dispute is lost: the debt stays, and the account may buy again", LOSING, expected)
            .await?;
        self.buy(LOSING, "l2").await?;
        self.balances("Its next purchase of 1000 covers the debt first", LOSING, "500 0 0").await
    }

    /// Paddle names no case: what is told of one transaction makes one, which may go round again.
    pub async fn paddles_round(&mut self) -> Result<()> {
        self.post("paddle", &retold(PURCHASE, AT_PADDLE, "p1")).await?;
        self.balances("Paddle: a purchase of 1000 credits and 50 bonus", AT_PADDLE, "1050 0 0").await?;
        self.post("paddle", &retold(&warning(), AT_PADDLE, "p1")).await?;
        let expected = Expected { state: "warning", balances: "0 0 0", restricted: "checkout" };
        self.case("Paddle is warned of a chargeback, and refunds the buyer", AT_PADDLE, expected).await?;
        self.post("paddle", &retold(PADDLE_CHARGEBACK, AT_PADDLE, "p1")).await?;
        let expected = Expected { state: "open", balances: "0 0 0", restricted: ALL };
        self.case("The chargeback comes nevertheless: no credits are taken twice", AT_PADDLE, expected)
            .await?;
        self.post("paddle", &retold(PADDLE_REVERSE, AT_PADDLE, "p1")).await?;
        let expected = Expected { state: "won", balances: "0 0 0", restricted: "nothing" };
        self.case("It is reversed. The buyer keeps what the warning refunded", AT_PADDLE, expected).await?;
        self.post("paddle", &retold(&chargeback_again(), AT_PADDLE, "p1")).await?;
        let expected = Expected { state: "reopened", balances: "0 0 0", restricted: ALL };
        self.case("And charged back again: the same case, open once more", AT_PADDLE, expected).await
    }

    /// The evidence pack, made twice: a document that says what was granted and used, and a PDF as Stripe takes it.
    async fn evidence(&mut self, dispute: &str) -> Result<()> {
        let case = dispute.parse()?;
        let options = PackOptions {
            product_version: env!("CARGO_PKG_VERSION"),
            seller: None,
            counter_fee: self.session.config.disputes.counter_fee()?,
        };
        let first = pack(&self.session.pool, &case, options).await?;
        let second = pack(&self.session.pool, &case, options).await?;
        let is_same = first.to_json() == second.to_json() && first.to_pdf()?.bytes == second.to_pdf()?.bytes;
        let told = |used: &str, same: &str| {
            format!("{used} credits used, one document and one PDF, {same} bytes twice")
        };
        let came = told(&first.grant.consumed.to_string(), if is_same { "the same" } else { "other" });
        let expected = told("500", "the same");
        self.note("Its evidence is exported", &expected, &came);
        Ok(())
    }

    /// One purchase of 1000 credits at Stripe.
    async fn buy(&self, account: &str, mark: &str) -> Result<()> {
        for payload in [SESSION, INTENT, CHARGE] {
            self.post("stripe", &retold(payload, account, mark)).await?;
        }
        Ok(())
    }

    async fn half_used(&mut self, what: &str, account: &str, mark: &str) -> Result<()> {
        self.buy(account, mark).await?;
        self.use_credits(account, "500", &format!("req_{mark}")).await?;
        self.balances(what, account, "500 0 0").await
    }
}

//! Fills the evidence pack of a case from what is stored. One snapshot, no clock: the same database gives the same pack.

mod account;
mod money;
mod usage;
mod words;

pub use words::economics_in_words;

use db::{Doing, Error, PgConnection, Pool};
use domain::dispute::{CaseRecord, Stage};
use domain::economics::{CounterFee, OwnCases, Stake};
use domain::record::{PaymentRecord, Reading, Terms};
use domain::{AccountId, CaseId, PaymentId};
use evidence::{Customer, Dispute, Item, Pack, Purchase};
use sqlx::types::Json;

/// Why there is no pack.
#[derive(Debug, thiserror::Error)]
pub enum NoEvidence {
    #[error("no dispute {0} is known: `bursar dispute list` shows those that are")]
    Unknown(CaseId),
    #[error(
        "the payment of {0} is not known yet, or nobody's: there is nothing to show before its webhook has come and its credits are \
         delivered (`bursar payment list --state undelivered`)"
    )]
    NoPurchase(CaseId),
    #[error(transparent)]
    Database(#[from] Error),
}

/// What a pack is gathered for.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions<'a> {
    pub product_version: &'a str,
    /// Who sold, as the platform calls itself.
    pub seller: Option<&'a str>,
    /// What the processor takes for evidence, where it is known.
    pub counter_fee: CounterFee,
}

/// The case, its payment and its account, as the pack's parts need them.
struct Subject {
    case: CaseId,
    payment: PaymentId,
    account: AccountId,
    is_claimed: bool,
    record: CaseRecord,
    paid: PaymentRecord,
    terms: Terms,
}

/// An account that has used much takes its time.
const STATEMENT_TIMEOUT: &str = "5min";

/// Gathers a pack. Read only, within one snapshot of the database.
///
/// # Errors
/// [`NoEvidence`]: the case, or whose payment it is about, is not known; those of the database.
pub async fn pack(pool: &Pool, case: &CaseId, options: PackOptions<'_>) -> Result<Pack, NoEvidence> {
    let connection = &mut *pool
        .begin_with("begin isolation level repeatable read, read only")
        .await
        .doing("beginning a snapshot")?;
    sqlx::query!("select set_config('statement_timeout', $1, true)", STATEMENT_TIMEOUT)
        .fetch_one(&mut *connection)
        .await
        .doing("beginning a snapshot")?;
    let subject = subject(connection, case).await?;
    let read = subject.record.read().ok_or_else(|| NoEvidence::Unknown(case.clone()))?;
    // The time decides nothing that is taken over from there.
    let view = crate::read::within(connection, case, read.heard_at).await?;
    let view = view.ok_or_else(|| NoEvidence::Unknown(case.clone()))?;
    let grant = account::grant(connection, &subject).await?;
    let view = view.with_journal(&account::views(&subject, &grant));
    let usage = usage::after(connection, &subject).await?;
    let balance = account::balance(connection, &subject).await?;
    let restrictions = account::restrictions(connection, &subject).await?;
    let timeline = words::timeline(&view);
    let told = timeline.iter().map(|step| step.at);
    let moments = told.chain(balance.iter().map(|point| point.at)).chain([read.heard_at, subject.terms.at]);
    let as_of = moments.max().unwrap_or(read.heard_at);
    let own = own_cases(connection, case.processor()).await?;
    Ok(Pack {
        product_version: options.product_version.to_owned(),
        seller: options.seller.map(str::to_owned),
        as_of,
        dispute: Dispute {
            id: case.id().to_owned(),
            processor: case.processor().parse().map_err(|error| Error::stored("a processor", error))?,
            state: read.state.as_str().to_owned(),
            processor_status: None,
            reason: view.reason,
            network: None,
            network_reason_code: read.network_reason.clone(),
            amount: read.amount,
            opened_at: read.opened_at,
            due_by: read.evidence_due_by,
        },
        purchase: purchase(connection, &subject).await?,
        customer: customer(connection, &subject).await?,
        grant,
        usage,
        balance,
        earlier: money::earlier(connection, &subject).await?,
        refunds: money::refunds(&subject),
        restrictions,
        // The notifier is still to come.
        notifications: Vec::new(),
        overlap: money::overlap(&subject, &read),
        timeline,
        policy: None,
        economics: subject.economics(&read, options.counter_fee, own),
    })
}

/// What contesting a case and refunding early are worth, in words; nothing where it has ended, or while nobody knows what is at
/// stake.
///
/// # Errors
/// Those of the database.
pub async fn economics_of(pool: &Pool, case: &CaseId, counter_fee: CounterFee) -> Result<Vec<String>, Error> {
    let connection = &mut *pool
        .begin_with("begin isolation level repeatable read, read only")
        .await
        .doing("beginning a snapshot")?;
    let subject = match subject(connection, case).await {
        Ok(subject) => subject,
        Err(NoEvidence::Database(error)) => return Err(error),
        Err(NoEvidence::Unknown(_) | NoEvidence::NoPurchase(_)) => return Ok(Vec::new()),
    };
    let Some(read) = subject.record.read().filter(|read| !read.state.has_ended()) else {
        return Ok(Vec::new());
    };
    let own = own_cases(connection, case.processor()).await?;
    Ok(subject.economics(&read, counter_fee, own))
}

impl Subject {
    /// What contesting and refunding are worth, a sentence each. Where the processor answers the bank by itself there is nothing
    /// to decide, and its warning has refunded the buyer already.
    fn economics(&self, case: &domain::dispute::Case, counter_fee: CounterFee, own: OwnCases) -> Vec<String> {
        if self.case.processor() != "stripe" {
            let fee =
                case.fee.map(|fee| format!(" Its fee of {fee} comes back with a win.")).unwrap_or_default();
            let who = self.case.processor();
            return vec![format!("{who} answers the bank by itself: there is nothing to decide.{fee}")];
        }
        let stake = Stake {
            disputed: case.amount.unwrap_or(self.terms.total),
            received_fee: case.fee,
            win_returns_received_fee: false,
            counter_fee,
            is_refundable_warning: Stage::of(case.state) == Stage::Warning
                && case.is_refundable != Some(false),
        };
        economics_in_words(&stake, own)
    }
}

async fn subject(connection: &mut PgConnection, case: &CaseId) -> Result<Subject, NoEvidence> {
    let row = sqlx::query!(
        r#"select d.record as "record: Json<CaseRecord>", d.payment, d.account, d.is_claimed,
                  p.record as "paid?: Json<PaymentRecord>"
           from disputes d left join payments p on p.payment = d.payment where d.dispute = $1"#,
        case.as_str(),
    )
    .fetch_optional(connection)
    .await
    .doing("reading a dispute")?
    .ok_or_else(|| NoEvidence::Unknown(case.clone()))?;
    let nothing = || NoEvidence::NoPurchase(case.clone());
    let stored = |error: domain::ids::InvalidId| Error::stored("an id", error.to_string());
    let paid = row.paid.ok_or_else(nothing)?.0;
    Ok(Subject {
        case: case.clone(),
        payment: row.payment.ok_or_else(nothing)?.parse().map_err(stored)?,
        account: row.account.ok_or_else(nothing)?.parse().map_err(stored)?,
        is_claimed: row.is_claimed,
        record: row.record.0,
        terms: paid.terms(Reading::TODAY).ok_or_else(nothing)?,
        paid,
    })
}

async fn purchase(connection: &mut PgConnection, of: &Subject) -> Result<Purchase, Error> {
    let references = money::references(connection, std::slice::from_ref(&of.payment)).await?;
    let item = |item: &domain::fact::LineItem| Item {
        price: item.price.clone(),
        name: None,
        quantity: item.quantity,
        amount: item.amount,
        credits: None,
    };
    Ok(Purchase {
        payment: of.payment.clone(),
        aliases: aliases(connection, &of.payment).await?,
        amount: of.terms.total,
        at: of.terms.at,
        items: of.terms.items.iter().map(item).collect(),
        description: None,
        is_one_off: of.terms.purpose == domain::fact::Purpose::Credits,
        references: references.get(&of.payment).cloned().unwrap_or_default(),
    })
}

/// The other ids of a purchase.
async fn aliases(connection: &mut PgConnection, payment: &PaymentId) -> Result<Vec<PaymentId>, Error> {
    let ids = sqlx::query_scalar!(
        "select id from payment_ids where payment = $1 and id <> $1 order by id",
        payment.as_str()
    )
    .fetch_all(connection)
    .await
    .doing("reading the ids of a purchase")?;
    ids.into_iter().map(|id| id.parse().map_err(|error| Error::stored("a payment id", error))).collect()
}

async fn customer(connection: &mut PgConnection, of: &Subject) -> Result<Customer, Error> {
    let since =
        sqlx::query_scalar!("select min(at) from transactions where account = $1", of.account.as_str())
            .fetch_one(connection)
            .await
            .doing("reading since when an account is known")?;
    let link = match of.is_claimed {
        true => "claimed by the buyer alone",
        false => "stated by the platform",
    };
    Ok(Customer {
        account: of.account.clone(),
        link: Some(link.to_owned()),
        customer: of.terms.customers.first().cloned(),
        name: None,
        email: None,
        since,
    })
}

/// How own cases at a processor ended, by its own word: what operators or silence decided says nothing of the next one.
pub(crate) async fn own_cases(connection: &mut PgConnection, processor: &str) -> Result<OwnCases, Error> {
    let row = sqlx::query!(
        r#"select count(*) filter (where state = 'won') as "won!", count(*) filter (where state = 'lost') as "lost!"
           from disputes where state in ('won', 'lost') and dispute like $1 || ':%'
             and record::text not like '%"by_silence":true%' and record::text not like '%"by":"%'"#,
        processor,
    )
    .fetch_one(connection)
    .await
    .doing("counting how disputes ended")?;
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(OwnCases { won: count(row.won), lost: count(row.lost) })
}

/// Keeps a pack, so that what was shown or sent can be shown again. One that is the same is kept once.
///
/// # Errors
/// Those of the database.
pub async fn keep(
    pool: &Pool,
    case: &CaseId,
    account: &AccountId,
    by: &str,
    sha256: &[u8; 32],
    document: &str,
    pdf: &[u8],
) -> Result<(), Error> {
    sqlx::query!(
        "insert into evidence_packs (dispute, sha256, made_at, made_by, document, pdf, account)
         values ($1, $2, now(), $3, $4, $5, $6)
         on conflict do nothing",
        case.as_str(),
        sha256.as_slice(),
        by,
        document,
        pdf,
        account.as_str(),
    )
    .execute(pool)
    .await
    .doing("keeping an evidence pack")?;
    Ok(())
}

//! `dispute`: cases with what happened to each, and an operator's word on them.

mod acts;
mod list;
mod pack;
mod show;
mod words;

pub use list::{beside, of_account, of_payment, stands};

use super::act::{By, Signed, reason};
use super::dlq::note_text;
use super::moment::said_moment_or_ahead;
use crate::session::Session;
use anyhow::Result;
use clap::{Args, Subcommand};
use disputes::read::DisputeFilter;
use domain::dispute::CaseState;
use domain::fact::DisputeStatus;
use domain::{AccountId, CaseId, PaymentId};
use std::process::ExitCode;
use time::OffsetDateTime;

#[derive(Subcommand)]
pub enum DisputeCommand {
    /// Cases: those with a deadline first, the nearest first of all; then the newest
    List(List),
    /// A case whole: what the processor said, what Bursar did, what became of credits and standing, what is due by when
    Show {
        /// The case as it is listed: stripe:du_1, or for Paddle the transaction, paddle:txn_1
        dispute: CaseId,
    },
    /// Write the evidence pack of a case: one JSON document for machines, one PDF for people. The same database, the same bytes
    Evidence(pack::EvidenceArguments),
    /// Hand the evidence pack of a case to Stripe: staged, or with --final to the bank for good
    Submit(pack::SubmitArguments),
    /// Say how a case ended; what it restricts ends with it. Its processor may still open it again
    Close(Close),
    /// Say that a case which ended is open once more
    Reopen(Reopen),
    /// Write down what is to be known of a case
    #[command(after_help = NOTE_HELP)]
    Note(Note),
}

const NOTE_HELP: &str = "A note stays for good, also when its account is forgotten: name nobody in it.";

#[derive(Args)]
pub struct List {
    /// Only those in this state: warning, open, under_review, won, lost, prevented, withdrawn or reopened
    #[arg(long)]
    state: Option<CaseState>,
    /// Only those that have not ended
    #[arg(long, conflicts_with = "state")]
    open: bool,
    /// Only those of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Only those of this payment, by any id of the purchase
    #[arg(long)]
    payment: Option<PaymentId>,
    /// Only those at this processor
    #[arg(long, value_parser = processor)]
    processor: Option<String>,
    /// Only those whose evidence is due before this moment (RFC 3339), or within this time: 3d
    #[arg(long, value_name = "TIME", value_parser = said_moment_or_ahead)]
    due_before: Option<OffsetDateTime>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Begin after this case: the last one of the list before
    #[arg(long, value_name = "DISPUTE")]
    after: Option<CaseId>,
}

#[derive(Args)]
pub struct Close {
    /// The case as it is listed: stripe:du_1, paddle:txn_1
    dispute: CaseId,
    /// How it ended: won, lost, withdrawn or prevented
    #[arg(long = "as", value_name = "END", value_parser = end)]
    end: DisputeStatus,
    /// Why; it stays in the case's history
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Args)]
pub struct Reopen {
    /// The case as it is listed: stripe:du_1, paddle:txn_1
    dispute: CaseId,
    /// Why; it stays in the case's history
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Args)]
pub struct Note {
    /// The case as it is listed: stripe:du_1, paddle:txn_1
    dispute: CaseId,
    /// What is to be known
    #[arg(value_parser = note_text)]
    text: String,
    #[command(flatten)]
    by: By,
}

fn processor(name: &str) -> Result<String, String> {
    match processors::find(name) {
        Some(processor) => Ok(processor.name.to_owned()),
        None => {
            let all: Vec<&str> = processors::ALL.iter().map(|processor| processor.name).collect();
            Err(format!("expected one of {}, got {name:?}", all.join(", ")))
        }
    }
}

fn end(text: &str) -> Result<DisputeStatus, String> {
    const ENDS: [DisputeStatus; 4] =
        [DisputeStatus::Won, DisputeStatus::Lost, DisputeStatus::Withdrawn, DisputeStatus::Prevented];
    let found = ENDS.into_iter().find(|end| end.as_str() == text);
    found.ok_or_else(|| format!("expected won, lost, withdrawn or prevented, got {text:?}"))
}

pub async fn run(session: &Session, command: DisputeCommand) -> Result<ExitCode> {
    match command {
        DisputeCommand::List(List { state, open, account, payment, processor, due_before, limit, after }) => {
            let filter =
                DisputeFilter { state, account, payment, processor, due_before, is_open: open, after, limit };
            list::list(session, &filter).await
        }
        DisputeCommand::Show { dispute } => show::show(session, &dispute).await,
        DisputeCommand::Evidence(arguments) => pack::evidence(session, &arguments).await,
        DisputeCommand::Submit(arguments) => pack::submit(session, &arguments).await,
        DisputeCommand::Close(arguments) => acts::close(session, arguments).await,
        DisputeCommand::Reopen(arguments) => acts::reopen(session, arguments).await,
        DisputeCommand::Note(arguments) => acts::note(session, arguments).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_ends_in_one_of_four_ways() {
        assert_eq!(end("withdrawn"), Ok(DisputeStatus::Withdrawn));
        for open in ["open", "warning", "under_review", "Won", ""] {
            assert!(
                end(open).unwrap_err().contains("expected won, lost, withdrawn or prevented"),
                "{open:?}"
            );
        }
    }

    #[test]
    fn a_processor_is_one_of_the_list() {
        assert_eq!(processor("paddle").as_deref(), Ok("paddle"));
        assert!(processor("paypal").unwrap_err().contains("stripe"));
    }
}

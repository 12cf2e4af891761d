//! `dispute close`, `reopen` and `note`: an operator's word on a case.

use super::show::known;
use super::{Close, Note, Reopen, words};
use crate::commands::act::{About, Act};
use crate::output::done;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use db::Work;
use disputes::read::CaseView;
use domain::fact::{Dispute, DisputeStatus};
use domain::{AccountId, CaseId, Fact};
use facts::audit::{self, ActSubject, OperatorAct};
use ledger::read;
use serde_json::json;
use std::process::ExitCode;
use time::OffsetDateTime;

pub async fn close(session: &Session, arguments: Close) -> Result<ExitCode> {
    let Close { dispute, end, reason, signed } = arguments;
    let case = known(session, &dispute).await?;
    let act = signed.begin(session, "close").await?;
    let state = case.line.state;
    if !act.is_repeat() && state.as_str() == end.as_str() {
        bail!(
            "expected a case that is not {} already, got {dispute}: see `bursar dispute show {dispute}`",
            end.as_str()
        );
    }
    state_it(session, act, &case, end, reason).await
}

pub async fn reopen(session: &Session, arguments: Reopen) -> Result<ExitCode> {
    let Reopen { dispute, reason, signed } = arguments;
    let case = known(session, &dispute).await?;
    let act = signed.begin(session, "reopen").await?;
    if !act.is_repeat() && !case.line.state.has_ended() {
        let state = words::words(case.line.state.as_str());
        bail!(
            "expected a case that has ended, got {dispute}, which is {state}: see `bursar dispute show {dispute}`"
        );
    }
    state_it(session, act, &case, DisputeStatus::Open, reason).await
}

/// Says of the round that stands how it is.
async fn state_it(
    session: &Session,
    act: Act,
    case: &CaseView,
    status: DisputeStatus,
    reason: String,
) -> Result<ExitCode> {
    let id = &case.line.dispute;
    let mut ids = case.case.payments.iter().cloned();
    let fact = Fact::Dispute(Dispute {
        dispute: id.id().to_owned(),
        payment: ids.next().with_context(|| format!("{id}: no fact has named its payment"))?,
        aliases: ids.collect(),
        status,
        amount: None,
        reason: Some(reason),
        evidence_due_by: None,
        round: case.case.round.clone(),
        began_at: None,
        is_early_warning: false,
        is_refundable: None,
        network_reason: None,
        fee: None,
        by: Some(act.by.clone()),
        by_silence: false,
        occurred_at: act.at,
    });
    let done = act.carry_out(session, fact).await?;
    let after = known(session, id).await?;
    let state = after.line.state;
    let failed = (done.is_settled() && !holds(status, &after)).then(|| {
        let state = words::words(state.as_str());
        format!("{id} still stands as {state}: its processor has said so for a later time. See `bursar dispute show {id}`")
    });
    let account = after.line.account.as_deref().map(AccountId::new).transpose()?;
    let standing = match &account {
        Some(account) => read::standing(&session.pool, account).await?,
        None => None,
    };
    let about = About {
        account: account.as_ref(),
        case: Some(&after.line),
        standing: standing.as_ref().map(|view| &view.standing),
        failed,
        ..About::default()
    };
    done.show(session, about).await
}

/// Whether the case stands as was said.
fn holds(status: DisputeStatus, case: &CaseView) -> bool {
    match status {
        DisputeStatus::Open => !case.line.state.has_ended(),
        status => case.line.state.as_str() == status.as_str(),
    }
}

pub async fn note(session: &Session, arguments: Note) -> Result<ExitCode> {
    let Note { dispute, text, by } = arguments;
    let case = known(session, &dispute).await?;
    let account = case.line.account.as_deref().map(AccountId::new).transpose()?;
    write(session, &dispute, account.as_ref(), &by.name()?, &text).await?;
    done(session.json, "Noted.", &json!({ "dispute": dispute, "note": text }))
}

async fn write(
    session: &Session,
    dispute: &CaseId,
    account: Option<&AccountId>,
    by: &str,
    text: &str,
) -> Result<()> {
    let mut work = Work::new(session.pool.clone(), OffsetDateTime::now_utc());
    let act = OperatorAct {
        by,
        worker: "disputes",
        act: "note",
        subject: ActSubject::new("case", dispute.as_str()),
        account,
        reason: Some(text),
        details: None,
    };
    audit::write(&mut work, act).await?;
    Ok(work.commit().await?)
}

//! `dispute evidence` and `dispute submit`: the evidence pack of a case, written to a folder or handed to the processor.

use crate::commands::act::By;
use crate::misuse::Misuse;
use crate::output::{done, say, warn};
use crate::session::Session;
use anyhow::{Context, Result, bail};
use clap::Args;
use disputes::evidence::{PackOptions, keep, pack};
use disputes::submission::{AskedBy, Submission, SubmissionIntent, of_case, request};
use domain::CaseId;
use domain::dispute::CaseState;
use evidence::{Pack, Pdf, StripeEvidence};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Args)]
pub struct EvidenceArguments {
    /// The case: stripe:dp_1, or at Paddle the disputed transaction: paddle:txn_01h8
    dispute: CaseId,
    /// Where the pack is written: <id>.json and <id>.pdf
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The help behind the options of `dispute submit`.
pub const SUBMIT_HELP: &str = "\
Without --final the evidence is staged: Stripe keeps it, and it can be replaced. A Stripe account that is enrolled in Smart
Disputes submits by itself before the deadline, staged evidence among it. With --final it goes to the bank: once, for good,
and Stripe may take its fee for answering. Paddle answers the bank by itself and takes no evidence: the pack is kept.";

#[derive(Args)]
#[command(after_help = SUBMIT_HELP)]
pub struct SubmitArguments {
    /// The case: stripe:dp_1
    dispute: CaseId,
    /// Send it to the bank for good, instead of staging it
    #[arg(long = "final")]
    is_final: bool,
    /// What --final asks for on a terminal, said beforehand: the case's id once more
    #[arg(long, value_name = "DISPUTE", requires = "is_final")]
    confirm: Option<CaseId>,
    /// Why it is answered
    #[arg(long, value_parser = crate::commands::act::reason)]
    reason: String,
    #[command(flatten)]
    by: By,
    /// How long to wait for the processor's answer
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = crate::config::duration)]
    wait: Duration,
}

/// A pack in both of its forms, as it is kept.
struct Made {
    pack: Pack,
    document: String,
    pdf: Pdf,
    sha256: [u8; 32],
}

async fn made(session: &Session, case: &CaseId) -> Result<Made> {
    let settings = &session.config.disputes;
    let options = PackOptions {
        product_version: env!("CARGO_PKG_VERSION"),
        seller: Some(settings.seller.as_str()).filter(|seller| !seller.is_empty()),
        counter_fee: settings.counter_fee()?,
    };
    let pack = pack(&session.pool, case, options).await?;
    let document = pack.to_json();
    let pdf = pack.to_pdf()?;
    let sha256 = Sha256::digest(&document).into();
    let document = String::from_utf8(document).context("the pack's document")?;
    Ok(Made { pack, document, pdf, sha256 })
}

pub async fn evidence(session: &Session, arguments: &EvidenceArguments) -> Result<ExitCode> {
    let case = &arguments.dispute;
    let made = made(session, case).await?;
    let folder = &arguments.out;
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let name = plain(case.id());
    let write = |ending: &str, bytes: &[u8]| {
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    let document = write("json", made.document.as_bytes())?;
    let pdf = write("pdf", &made.pdf.bytes)?;
    let sha256 = hex::encode(made.sha256);
    let text = format!(
        "{} ({} bytes)\n{} ({} pages, {} bytes)\nSHA-256 of the document: {sha256}",
        document.display(),
        made.document.len(),
        pdf.display(),
        made.pdf.pages,
        made.pdf.bytes.len()
    );
    let told = json!({
        "dispute": case, "document": document, "pdf": pdf, "pages": made.pdf.pages,
        "bytes": made.pdf.bytes.len(), "sha256": sha256,
    });
    done(session.json, &text, &told)
}

/// A name of a file, whatever the id is.
fn plain(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    id.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

pub async fn submit(session: &Session, arguments: &SubmitArguments) -> Result<ExitCode> {
    let case = &arguments.dispute;
    let by = arguments.by.name()?;
    let made = made(session, case).await?;
    keep(
        &session.pool,
        case,
        &made.pack.customer.account,
        &by,
        &made.sha256,
        &made.document,
        &made.pdf.bytes,
    )
    .await?;
    let sha256 = hex::encode(made.sha256);
    if case.processor() != "stripe" {
        bail!(
            "expected a dispute at stripe, got {case}: {} answers the bank by itself and takes no evidence. The pack is kept (SHA-256 {sha256}); \
             `bursar dispute evidence {case} --out DIR` writes it",
            case.processor()
        );
    }
    if session.config.stripe.authorization()?.is_none() {
        bail!(
            "expected a key of Stripe's (BURSAR_STRIPE_API_KEY, or stripe.api_key), got none: nothing was sent. The pack is kept (SHA-256 {sha256})"
        );
    }
    let state: CaseState = made.pack.dispute.state.parse().map_err(anyhow::Error::msg)?;
    if state.has_ended() {
        bail!(
            "expected a dispute that waits for an answer, got one that is {state}: nothing was sent. The pack is kept (SHA-256 {sha256})"
        );
    }
    let fields = made.pack.stripe_evidence()?;
    fields.notes.iter().for_each(|note| warn(note));
    if arguments.is_final {
        confirm(arguments, &fields)?;
    }
    let intent = intent(arguments, &made, fields)?;
    let asked = AskedBy { by: &by, reason: &arguments.reason };
    let id = request(&session.pool, asked, intent).await?;
    let submission = followed(session, case, &id, arguments.wait).await?;
    told(session, case, &submission)
}

fn intent(arguments: &SubmitArguments, made: &Made, fields: StripeEvidence) -> Result<SubmissionIntent> {
    let [file] = &fields.files[..] else {
        bail!("expected one file in the pack's evidence, got {}: a defect, report it", fields.files.len());
    };
    Ok(SubmissionIntent {
        submission: String::new(),
        case: arguments.dispute.clone(),
        account: Some(made.pack.customer.account.clone()),
        payment: Some(made.pack.purchase.payment.clone()),
        sha256: hex::encode(made.sha256),
        is_final: arguments.is_final,
        file_field: file.field.to_owned(),
        texts: fields.texts.iter().map(|text| (text.field.to_owned(), text.text.clone())).collect(),
        file: None,
    })
}

/// What goes to the bank cannot be taken back: it is asked twice.
fn confirm(arguments: &SubmitArguments, fields: &StripeEvidence) -> Result<()> {
    let case = &arguments.dispute;
    if let Some(said) = &arguments.confirm {
        if said == case {
            return Ok(());
        }
        return Err(Misuse(format!("--confirm: expected {case}, got {said}; nothing was sent")).into());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Misuse(format!(
            "expected --confirm {case} beside --final, for nobody can be asked here: what is submitted cannot be taken back"
        ))
        .into());
    }
    say(&format!(
        "{} texts and {} go to the bank, once and for good. No evidence can be added later.",
        fields.texts.len(),
        fields
            .files
            .iter()
            .map(|file| format!("{} ({} pages)", file.name, file.pages))
            .collect::<Vec<_>>()
            .join(", ")
    ));
    answered("Type the case's id to go on: ", case.as_str())?;
    answered("It cannot be undone. Type \"submit\" to send it: ", "submit")
}

fn answered(question: &str, expected: &str) -> Result<()> {
    let mut terminal = std::io::stdout();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == expected {
        return Ok(());
    }
    bail!("expected {expected:?}, got {:?}: nothing was sent", answer.trim())
}

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits until a submission has ended, or for as long as was asked.
async fn followed(session: &Session, case: &CaseId, id: &str, wait: Duration) -> Result<Submission> {
    let until = Instant::now() + wait;
    loop {
        let all = of_case(&session.pool, case).await?;
        let own = all.into_iter().find(|submission| submission.submission == id);
        let submission = own.context("the submission that was just requested")?;
        if submission.ended_at.is_some() || Instant::now() >= until {
            return Ok(submission);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn told(session: &Session, case: &CaseId, submission: &Submission) -> Result<ExitCode> {
    #[derive(Serialize)]
    struct Told<'a> {
        dispute: &'a CaseId,
        #[serde(flatten)]
        submission: &'a Submission,
    }
    let answer = submission.answer.as_deref().unwrap_or_default();
    let text = match submission.state.as_str() {
        "staged" => format!(
            "Evidence of {case} is staged at Stripe. `bursar dispute submit {case} --final` sends it to the bank."
        ),
        "submitted" => format!(
            "Evidence of {case} is submitted. What the bank decides comes by webhook: `bursar dispute show {case}`."
        ),
        "refused" => format!("Stripe refused the evidence of {case}: {answer}"),
        "unknown" => format!(
            "What became of the evidence of {case} cannot be told: {answer}. Look at the dispute at Stripe; the dead letter can be replayed."
        ),
        state => format!(
            "The evidence of {case} is {state}: the worker of disputes goes on with it. `bursar dispute show {case}` tells how it went."
        ),
    };
    done(session.json, &text, &Told { dispute: case, submission })?;
    Ok(match submission.state.as_str() {
        "refused" | "unknown" => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    })
}

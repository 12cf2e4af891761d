//! The second call: the dispute's evidence is updated, staged or for good.

use super::{Courier, NO_KEY, Noted, SubmissionIntent, note};
use db::Work;
use jobs::{Asked, CallAttempt, Called, Job, JobLimits, JobSubject, SettledAnswer};
use processors::api::{ApiAnswer, IdempotencyKey};
use processors::stripe::api::{
    Dispute, Evidence, EvidenceField, read_dispute, read_dispute_change, retrieve_dispute, update_dispute,
};
use std::time::Duration;

/// Updates a dispute with evidence that was uploaded.
pub struct SubmitEvidence(pub Courier);

/// A request that is older than this is not under way any more.
const UNDER_WAY: Duration = Duration::from_secs(600);

impl Job for SubmitEvidence {
    const KIND: &'static str = "submit_evidence";

    type Intent = SubmissionIntent;
    type Answer = ApiAnswer<Dispute>;
    type Error = crate::Error;

    fn key(intent: &SubmissionIntent) -> String {
        intent.case.to_string()
    }

    fn about(intent: &SubmissionIntent) -> JobSubject {
        super::about(intent)
    }

    fn describe(intent: &SubmissionIntent) -> String {
        match intent.is_final {
            true => format!("submission of evidence for {}, for good", intent.case),
            false => format!("evidence for {} staged", intent.case),
        }
    }

    fn limits(&self) -> JobLimits {
        super::limits()
    }

    async fn call(&self, attempt: &CallAttempt<SubmissionIntent>) -> Called<ApiAnswer<Dispute>> {
        let Some(stripe) = &self.0.stripe else { return Called::NotSent(NO_KEY.to_owned()) };
        let intent = &attempt.intent;
        let evidence = match evidence(intent) {
            Ok(evidence) => evidence,
            Err(why) => return Called::Impossible(why),
        };
        let key = IdempotencyKey::of(&attempt.idempotency_key());
        // Whether it is for good is always said: Stripe's default is that it is.
        let request = update_dispute(intent.case.id(), &evidence, intent.is_final, &key);
        match self.0.caller.send(&stripe.api, &request).await {
            Called::Answered(answer) => Called::Answered(read_dispute_change(answer.raw())),
            Called::NotSent(why) => Called::NotSent(why),
            Called::Impossible(why) => Called::Impossible(why),
            Called::Unknown(why) => Called::Unknown(why),
        }
    }

    /// The dispute itself says whether evidence is there.
    async fn ask(&self, attempt: &CallAttempt<SubmissionIntent>) -> Asked<ApiAnswer<Dispute>> {
        let Some(stripe) = &self.0.stripe else { return Asked::Unknown(NO_KEY.to_owned()) };
        let request = retrieve_dispute(attempt.intent.case.id());
        let answer = match self.0.caller.send(&stripe.api, &request).await {
            Called::Answered(answer) => read_dispute(answer.raw()),
            Called::NotSent(why) | Called::Impossible(why) | Called::Unknown(why) => {
                return Asked::Unknown(why);
            }
        };
        match answer {
            ApiAnswer::Is(dispute) if has_it(&dispute, &attempt.intent) => {
                Asked::Answered(ApiAnswer::Is(dispute))
            }
            ApiAnswer::Is(_) if attempt.age() > UNDER_WAY => {
                Asked::Absent("the dispute has no such evidence".to_owned())
            }
            ApiAnswer::Is(_) => Asked::Unknown("the dispute has no such evidence yet".to_owned()),
            ApiAnswer::Absent(refusal) => Asked::Answered(ApiAnswer::Absent(refusal)),
            ApiAnswer::Refused(refusal)
            | ApiAnswer::NotPermitted(refusal)
            | ApiAnswer::NotNow(refusal)
            | ApiAnswer::Unclear(refusal) => Asked::Unknown(refusal.to_string()),
        }
    }

    async fn settle(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<SubmissionIntent>,
        answer: &ApiAnswer<Dispute>,
    ) -> Result<SettledAnswer, crate::Error> {
        if let ApiAnswer::Is(_) = answer {
            let state = if attempt.intent.is_final { "submitted" } else { "staged" };
            note(work, &attempt.intent.submission, Noted { state, is_end: true, ..Noted::default() }).await?;
        }
        Ok(super::verdict(answer, "disputes").into())
    }

    async fn gave_up(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<SubmissionIntent>,
        code: &str,
        why: &str,
    ) -> Result<Option<bus::EmittedEvents>, crate::Error> {
        super::end_without(work, &attempt.intent, code, why).await
    }
}

/// Whether what was to be sent is there: the very file of this submission, for others may have answered, too. What went to the
/// bank is counted besides.
fn has_it(dispute: &Dispute, intent: &SubmissionIntent) -> bool {
    let has_file = intent.file.is_some() && dispute.service_documentation == intent.file;
    has_file && (!intent.is_final || dispute.evidence.submission_count > 0)
}

fn evidence(intent: &SubmissionIntent) -> Result<Evidence, String> {
    let field = |name: &str| {
        let found = EvidenceField::ALL.iter().copied().find(|field| field.as_str() == name);
        found.ok_or_else(|| format!("expected a field of Stripe's evidence, got {name:?}"))
    };
    let mut evidence = Evidence::default();
    let file = intent.file.clone().ok_or("expected the id of the uploaded pack, got none")?;
    evidence.set(field(&intent.file_field)?, file).map_err(|error| error.to_string())?;
    for (name, text) in &intent.texts {
        evidence.set(field(name)?, text.clone()).map_err(|error| error.to_string())?;
    }
    Ok(evidence)
}

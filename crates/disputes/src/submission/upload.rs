//! The first call: the pack's PDF becomes a file of Stripe's.

use super::{Courier, NO_KEY, Noted, SubmissionIntent, SubmitEvidence, note};
use db::{Doing, Error, Work};
use jobs::{Asked, CallAttempt, Called, Job, JobLimits, JobSubject, SettledAnswer};
use processors::api::{ApiAnswer, IdempotencyKey};
use processors::stripe::api::{UploadedFile, read_upload, upload_evidence};
use std::time::Duration;

/// Uploads a pack.
pub struct UploadEvidence(pub Courier);

/// A request that is older than this is not under way any more.
const UNDER_WAY: Duration = Duration::from_secs(300);

impl Job for UploadEvidence {
    const KIND: &'static str = "upload_evidence";

    type Intent = SubmissionIntent;
    type Answer = ApiAnswer<UploadedFile>;
    type Error = crate::Error;

    fn key(intent: &SubmissionIntent) -> String {
        intent.case.to_string()
    }

    fn about(intent: &SubmissionIntent) -> JobSubject {
        super::about(intent)
    }

    fn describe(intent: &SubmissionIntent) -> String {
        format!("upload of evidence for {}", intent.case)
    }

    fn limits(&self) -> JobLimits {
        super::limits()
    }

    async fn call(&self, attempt: &CallAttempt<SubmissionIntent>) -> Called<ApiAnswer<UploadedFile>> {
        let Some(stripe) = &self.0.stripe else { return Called::NotSent(NO_KEY.to_owned()) };
        let pdf = match self.pdf(&attempt.intent).await {
            Ok(Some(pdf)) => pdf,
            Ok(None) => {
                return Called::Impossible("the pack was deleted, with the data of its person".to_owned());
            }
            Err(error) => return Called::NotSent(error.to_string()),
        };
        let key = IdempotencyKey::of(&attempt.idempotency_key());
        let request = upload_evidence(&pdf, &format!("{}.pdf", attempt.intent.case.id()), &key);
        match self.0.caller.send(&stripe.files, &request).await {
            Called::Answered(answer) => Called::Answered(read_upload(answer.raw())),
            Called::NotSent(why) => Called::NotSent(why),
            Called::Impossible(why) => Called::Impossible(why),
            Called::Unknown(why) => Called::Unknown(why),
        }
    }

    /// A file that nobody names does nothing: it is uploaded again once the first request cannot be under way any more.
    async fn ask(&self, attempt: &CallAttempt<SubmissionIntent>) -> Asked<ApiAnswer<UploadedFile>> {
        match attempt.age() > UNDER_WAY {
            true => Asked::Absent("an upload that nobody names does nothing".to_owned()),
            false => Asked::Unknown("it may still be under way".to_owned()),
        }
    }

    async fn settle(
        &self,
        work: &mut Work,
        attempt: &CallAttempt<SubmissionIntent>,
        answer: &ApiAnswer<UploadedFile>,
    ) -> Result<SettledAnswer, crate::Error> {
        if let ApiAnswer::Is(file) = answer {
            let submission = &attempt.intent.submission;
            let uploaded = Noted { state: "uploaded", file: Some(&file.id), ..Noted::default() };
            note(work, submission, uploaded).await?;
            let intent = SubmissionIntent { file: Some(file.id.clone()), ..attempt.intent.clone() };
            jobs::schedule::<SubmitEvidence>(work, submission, &intent).await?;
        }
        Ok(super::verdict(answer, "files").into())
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

impl UploadEvidence {
    async fn pdf(&self, intent: &SubmissionIntent) -> Result<Option<Vec<u8>>, Error> {
        let sha256 =
            hex::decode(&intent.sha256).map_err(|error| Error::stored("a hash", error.to_string()))?;
        sqlx::query_scalar!(
            "select pdf from evidence_packs where dispute = $1 and sha256 = $2",
            intent.case.as_str(),
            sha256,
        )
        .fetch_optional(&self.0.pool)
        .await
        .doing("reading an evidence pack")
    }
}

//! A batch in memory: the cases, accounts and restrictions that it touches, and what changes.

use crate::code;
use crate::store::{self, DisputeRow, PaymentFound, RestrictionRow, Told};
use bus::Verdict;
use db::outbox::StoredEvent;
use db::{Error, Work};
use domain::dispute::CaseState;
use domain::dispute::{
    CauseKind, Policy, Restricted, RestrictionCause, RiskCase, Standing, asked_by_case, asked_by_risk,
};
use domain::event::{
    AccountRestored, AccountRestricted, DisputeLost, DisputeOpened, DisputeTold, DisputeUpdated, DisputeWon,
    Event, EventData, SOURCE_DISPUTES,
};
use domain::fact::{self, RestrictionAct};
use domain::{AccountId, CaseId, Cause, Envelope, Fact, Outcome, PaymentId};
use facts::emit::{Heads, NewEvent};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// What a batch works on. Everything that it may change is locked.
pub struct Desk<'a> {
    policy: &'a Policy,
    now: OffsetDateTime,
    heads: Heads,
    /// Those that may change, and those of the same accounts and payments.
    cases: BTreeMap<CaseId, DisputeRow>,
    /// Those whose rows are held.
    held: BTreeSet<CaseId>,
    /// By every id of theirs that cases name.
    payments: BTreeMap<PaymentId, PaymentFound>,
    restrictions: BTreeMap<AccountId, BTreeMap<RestrictionCause, RestrictionRow>>,
    /// Cases that something was said of, or whose payment changed; what follows is worked out once for all of it.
    touched: BTreeMap<CaseId, SaidBy>,
    changed_cases: BTreeSet<CaseId>,
    changed_restrictions: BTreeSet<(AccountId, RestrictionCause)>,
    events: Vec<StoredEvent>,
}

/// Who says what leads to events.
#[derive(Clone)]
struct SaidBy {
    cause: Cause,
    traceparent: Option<String>,
}

impl<'a> Desk<'a> {
    /// Locks and reads what these facts touch.
    pub async fn open(work: &mut Work, policy: &'a Policy, envelopes: &[Envelope]) -> Result<Self, Error> {
        let disputes = || {
            envelopes.iter().filter_map(|envelope| match &envelope.fact {
                Fact::Dispute(dispute) => Some(dispute),
                _ => None,
            })
        };
        let named: BTreeSet<CaseId> = disputes().filter_map(|dispute| dispute.case().ok()).collect();
        let spoken_of = envelopes.iter().filter_map(|envelope| match &envelope.fact {
            Fact::Restriction(restriction) => Some(restriction.account.clone()),
            _ => None,
        });
        let ids = disputes().flat_map(|dispute| std::iter::once(&dispute.payment).chain(&dispute.aliases));
        Self::of(work, policy, &named, ids.cloned().collect(), spoken_of.collect()).await
    }

    /// Locks and reads these cases and accounts.
    pub async fn of(
        work: &mut Work,
        policy: &'a Policy,
        named: &BTreeSet<CaseId>,
        mut ids: BTreeSet<PaymentId>,
        mut accounts: BTreeSet<AccountId>,
    ) -> Result<Self, Error> {
        // What a dispute takes over is told of the warning, too.
        let mut held = named.clone();
        held.extend(store::early_warnings(work, &ids).await?);
        let mut cases = store::lock(work, &held).await?;
        ids.extend(cases.values().flat_map(|row| row.payment_ids.iter().cloned()));
        let payments = store::payments(work, &ids).await?;
        accounts.extend(payments.values().filter_map(|payment| payment.account.clone()));
        accounts.extend(cases.values().filter_map(|row| row.account.clone()));
        let heads = Heads::lock(work, SOURCE_DISPUTES, &accounts).await?;
        let about = payments.values().map(|found| found.payment.clone()).collect();
        for row in store::beside(work, &accounts, &about, &held).await? {
            cases.insert(row.case.clone(), row);
        }
        let restrictions = store::restrictions(work, &accounts).await?;
        Ok(Self {
            policy,
            now: work.now,
            heads,
            cases,
            held,
            payments,
            restrictions,
            touched: BTreeMap::new(),
            changed_cases: BTreeSet::new(),
            changed_restrictions: BTreeSet::new(),
            events: Vec::new(),
        })
    }

    /// Settles one fact in memory. What follows from what is said of a case is worked out at the end of the batch, or before an
    /// operator's word: however often a case is spoken of, it is read once.
    pub fn settle(&mut self, envelope: &Envelope) -> Result<Verdict, Error> {
        let said = SaidBy { cause: envelope.cause.clone(), traceparent: envelope.traceparent.clone() };
        let outcome = match &envelope.fact {
            Fact::Dispute(dispute) => {
                let case = match dispute.case() {
                    Ok(case) => case,
                    Err(error) => {
                        let reason = format!("data.dispute: {error}");
                        return Ok(Verdict::Dead { code: code::INVALID_DISPUTE, reason });
                    }
                };
                self.note(&case, dispute, said)?
            }
            Fact::Restriction(restriction) => {
                self.work_out()?;
                self.restrict(restriction, &said)?
            }
            other => {
                let reason = format!("expected fact.dispute or fact.restriction, got {}", other.kind());
                return Ok(Verdict::Dead { code: code::NOT_READ, reason });
            }
        };
        Ok(Verdict::Done(outcome))
    }

    /// The payment that a fact is about, where it is known.
    pub fn payment_of(&self, dispute: &fact::Dispute) -> Option<PaymentId> {
        self.cases.get(&dispute.case().ok()?)?.payment.clone()
    }

    fn note(&mut self, id: &CaseId, dispute: &fact::Dispute, said: SaidBy) -> Result<Outcome, Error> {
        let row = self.cases.get_mut(id).ok_or_else(|| Error::stored("a dispute", "it is not locked"))?;
        if !row.record.note(&said.cause, dispute) {
            return Ok(Outcome::NoOp);
        }
        row.payment_ids.extend(std::iter::once(&dispute.payment).chain(&dispute.aliases).cloned());
        self.touched.insert(id.clone(), said);
        self.assign(id);
        Ok(match self.cases.get(id).and_then(|row| row.payment.as_ref()) {
            Some(_) => Outcome::Applied,
            None => Outcome::Waiting,
        })
    }

    /// Takes up what is known by now of a case's payment. Whether anything changed.
    pub fn take_up(&mut self, id: &CaseId) -> Result<bool, Error> {
        let Some(cause) = self.cases.get(id).and_then(|row| row.record.last_cause()) else {
            return Ok(false);
        };
        let (is_other, before) = (self.assign(id), self.events.len());
        self.touched.insert(id.clone(), SaidBy { cause, traceparent: None });
        self.work_out()?;
        if let Some(row) = self.cases.get_mut(id) {
            // Looked at: it is not looked for again until its payment changes.
            row.updated_at = self.now;
        }
        Ok(is_other || self.events.len() > before)
    }

    /// Works out what follows from everything that was said until now: how cases stand, what is told of them, what their accounts
    /// may not do; of each account once.
    fn work_out(&mut self) -> Result<(), Error> {
        let mut accounts: BTreeMap<AccountId, SaidBy> = BTreeMap::new();
        for (id, said) in std::mem::take(&mut self.touched) {
            self.read_again(&id, &said);
            self.tell(&id, &said)?;
            for warning in self.warnings_beside(&id) {
                self.tell(&warning, &said)?;
            }
            let Some(row) = self.cases.get_mut(&id) else { continue };
            for account in row.left.take().into_iter().chain(row.account.clone()) {
                accounts.insert(account, said.clone());
            }
        }
        for (account, said) in accounts {
            self.restate(&account, &said)?;
        }
        Ok(())
    }

    fn read_again(&mut self, id: &CaseId, said: &SaidBy) {
        let Some(row) = self.cases.get_mut(id) else { return };
        let before = row.illegal_steps;
        row.read_again(self.now);
        if row.illegal_steps > before {
            metrics::counter!("bursar_dispute_illegal_steps_total")
                .increment((row.illegal_steps - before) as u64);
            tracing::warn!(dispute = %id, cause = %said.cause, state = ?row.state,
                "a dispute's object goes a way that none goes; its state stays, and what was said is kept");
        }
        self.changed_cases.insert(id.clone());
    }

    /// Whose payment it is about, as far as that is known. Whether that changed.
    fn assign(&mut self, id: &CaseId) -> bool {
        let Some(row) = self.cases.get_mut(id) else { return false };
        let found = row.payment_ids.iter().filter_map(|id| self.payments.get(id));
        // Several where two of them have not turned out to be one yet: the one that is somebody's.
        let Some(found) =
            found.max_by_key(|found| (found.account.is_some(), std::cmp::Reverse(&found.payment)))
        else {
            return false;
        };
        let before = (row.payment.as_ref(), row.account.as_ref(), row.is_claimed);
        if before == (Some(&found.payment), found.account.as_ref(), found.is_claimed) {
            return false;
        }
        let left = row.account.clone().filter(|account| Some(account) != found.account.as_ref());
        row.payment = Some(found.payment.clone());
        row.account = found.account.clone();
        row.is_claimed = found.is_claimed;
        row.left = row.left.take().or(left);
        self.changed_cases.insert(id.clone());
        true
    }

    /// Events of a case: the difference between what they last said and what holds.
    fn tell(&mut self, id: &CaseId, said: &SaidBy) -> Result<(), Error> {
        let joined = self.joined(id);
        let Some(row) = self.cases.get_mut(id) else { return Ok(()) };
        let (Some(payment), Some(state)) = (row.payment.clone(), row.state) else { return Ok(()) };
        let told = DisputeTold {
            dispute: id.clone(),
            payment,
            state,
            amount: row.amount,
            evidence_due_by: row.evidence_due_by,
            is_early_warning: row.is_early_warning,
            joined,
        };
        let account = row.account.clone();
        let now = Told::of(&told, account.clone());
        let before = row.told.replace(now.clone());
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        self.changed_cases.insert(id.clone());
        // Another account has not heard of it.
        let before = before.filter(|before| before.account == account);
        let state_before = before.as_ref().map(|before| before.state);
        let mut events: Vec<EventData> = Vec::new();
        if before.is_none() {
            events.push(DisputeOpened(told.clone()).into());
        }
        match state {
            CaseState::Won if state_before != Some(state) => events.push(DisputeWon(told).into()),
            CaseState::Lost if state_before != Some(state) => events.push(DisputeLost(told).into()),
            _ if before.is_some() => events.push(DisputeUpdated(told).into()),
            _ => {}
        }
        for data in events {
            self.emit(account.clone(), data, said)?;
        }
        Ok(())
    }

    /// Early warnings about the same payment, as far as their rows are held: a case may take them over.
    fn warnings_beside(&self, id: &CaseId) -> Vec<CaseId> {
        let Some(payment) = self.cases.get(id).and_then(|row| row.payment.as_ref()) else {
            return Vec::new();
        };
        let is_beside = |row: &&DisputeRow| {
            row.is_early_warning && row.case != *id && row.payment.as_ref() == Some(payment)
        };
        let beside = self.cases.values().filter(is_beside).map(|row| &row.case);
        beside.filter(|case| self.held.contains(*case)).cloned().collect()
    }

    /// The dispute that took an early warning over: of several the first that was opened.
    fn joined(&self, id: &CaseId) -> Option<CaseId> {
        let warning = self.cases.get(id).filter(|row| row.is_early_warning)?;
        let payment = warning.payment.as_ref()?;
        let takes_over = |row: &&DisputeRow| !row.is_early_warning && row.payment.as_ref() == Some(payment);
        let first = self.cases.values().filter(takes_over).min_by_key(|row| (row.opened_at, &row.case))?;
        Some(first.case.clone())
    }

    /// An operator's word on an account.
    fn restrict(&mut self, said_of: &fact::Restriction, said: &SaidBy) -> Result<Outcome, Error> {
        let account = &said_of.account;
        let rows = self.restrictions.entry(account.clone()).or_default();
        let before = standing(rows);
        let mut changed = Vec::new();
        match said_of.act {
            RestrictionAct::Restrict => {
                let cause = RestrictionCause {
                    kind: said_of.kind,
                    cause_kind: CauseKind::Operator,
                    cause: said_of.by.clone(),
                    stage: said.cause.to_string(),
                };
                rows.entry(cause.clone()).or_insert_with(|| RestrictionRow::standing(self.now));
                changed.push(cause);
            }
            RestrictionAct::Restore => {
                let of_kind = |cause: &RestrictionCause| cause.kind == said_of.kind;
                for (cause, row) in rows.iter_mut().filter(|(cause, row)| of_kind(cause) && row.stands()) {
                    (row.ended_at, row.lifted_by) = (Some(self.now), Some(said_of.by.clone()));
                    changed.push(cause.clone());
                }
            }
        }
        if changed.is_empty() {
            return Ok(Outcome::NoOp);
        }
        let changed = changed.into_iter().map(|cause| (account.clone(), cause));
        self.changed_restrictions.extend(changed);
        self.tell_standing(account, &before, said)?;
        Ok(Outcome::Applied)
    }

    /// Lets an account's restrictions follow from its cases: what is asked for and does not stand is put on, unless an operator
    /// has lifted it; what stands and is not asked for any more is lifted. Operators' own stay.
    fn restate(&mut self, account: &AccountId, said: &SaidBy) -> Result<(), Error> {
        let asked = self.asked(account);
        let rows = self.restrictions.entry(account.clone()).or_default();
        let before = standing(rows);
        let mut changed = Vec::new();
        for cause in &asked {
            match rows.get_mut(cause) {
                None => drop(rows.insert(cause.clone(), RestrictionRow::standing(self.now))),
                Some(row) if !row.stands() && row.lifted_by.is_none() => {
                    *row = RestrictionRow::standing(self.now)
                }
                Some(_) => continue,
            }
            changed.push(cause.clone());
        }
        let is_over = |cause: &RestrictionCause, row: &RestrictionRow| {
            row.stands() && cause.cause_kind != CauseKind::Operator && !asked.contains(cause)
        };
        for (cause, row) in rows.iter_mut().filter(|(cause, row)| is_over(cause, row)) {
            row.ended_at = Some(self.now);
            changed.push(cause.clone());
        }
        let changed = changed.into_iter().map(|cause| (account.clone(), cause));
        self.changed_restrictions.extend(changed);
        self.tell_standing(account, &before, said)
    }

    /// What an account's cases ask for. A case whose account is only claimed asks for nothing, nor does a warning that a dispute
    /// took over.
    fn asked(&self, account: &AccountId) -> BTreeSet<RestrictionCause> {
        let disputed: BTreeSet<&PaymentId> = self
            .cases
            .values()
            .filter(|row| !row.is_early_warning)
            .filter_map(|row| row.payment.as_ref())
            .collect();
        let is_taken_over = |row: &DisputeRow| {
            row.is_early_warning && row.payment.as_ref().is_some_and(|payment| disputed.contains(payment))
        };
        let of_account =
            || self.cases.values().filter(|row| row.account.as_ref() == Some(account) && !row.is_claimed);
        let mut asked = BTreeSet::new();
        for row in of_account().filter(|row| !is_taken_over(row)) {
            if let Some(state) = row.state {
                asked.extend(asked_by_case(&row.case, state, &row.epoch, self.policy));
            }
        }
        if let Some(rule) = &self.policy.risk {
            asked.extend(asked_by_risk(counted(of_account(), is_taken_over), rule));
        }
        asked
    }

    /// Events of an account's standing: the difference.
    fn tell_standing(
        &mut self,
        account: &AccountId,
        before: &[Restricted],
        said: &SaidBy,
    ) -> Result<(), Error> {
        let Some(rows) = self.restrictions.get(account) else { return Ok(()) };
        let after = standing(rows);
        let (was, is): (BTreeSet<&Restricted>, BTreeSet<&Restricted>) =
            (before.iter().collect(), after.iter().collect());
        let listed = |some: Vec<&&Restricted>| -> Vec<Restricted> {
            some.into_iter().take(Standing::LISTED_MAX).map(|one| (*one).clone()).collect()
        };
        let (new, gone) = (listed(is.difference(&was).collect()), listed(was.difference(&is).collect()));
        let standing = Standing::of(after);
        let data = match (new.is_empty(), gone.is_empty()) {
            (false, _) => AccountRestricted { restricted: new, standing }.into(),
            (true, false) => AccountRestored { lifted: gone, standing }.into(),
            (true, true) => return Ok(()),
        };
        self.emit(Some(account.clone()), data, said)
    }

    fn emit(&mut self, account: Option<AccountId>, data: EventData, said: &SaidBy) -> Result<(), Error> {
        let event = Event { account, cause: said.cause.clone(), time: self.now, data, balances: None };
        self.events.push(self.heads.emit(NewEvent::of(&event, said.traceparent.as_deref()))?);
        Ok(())
    }

    /// Writes everything that changed. The events are numbered, and the caller's to store.
    pub async fn close(mut self, work: &mut Work) -> Result<Vec<StoredEvent>, Error> {
        self.work_out()?;
        self.save(work).await?;
        self.heads.save(work).await?;
        Ok(self.events)
    }

    /// Writes everything that changed, but for events, and their numbers with them: for a rebuild.
    pub async fn close_in_silence(mut self, work: &mut Work) -> Result<(), Error> {
        self.work_out()?;
        self.save(work).await
    }

    async fn save(&self, work: &mut Work) -> Result<(), Error> {
        let cases = self.changed_cases.iter().filter_map(|id| self.cases.get(id));
        store::save(work, &cases.collect::<Vec<_>>()).await?;
        let restrictions = self.changed_restrictions.iter().filter_map(|(account, cause)| {
            Some((account, cause, self.restrictions.get(account)?.get(cause)?))
        });
        store::save_restrictions(work, &restrictions.collect::<Vec<_>>()).await
    }
}

/// The cases that the rule of risk counts. A dispute that took a warning over is counted as that warning: it is the same
/// suspicion, and what was lifted for it stays lifted.
fn counted<'r>(
    cases: impl Iterator<Item = &'r DisputeRow>,
    is_taken_over: impl Fn(&DisputeRow) -> bool,
) -> Vec<RiskCase> {
    let mut warnings: BTreeMap<&PaymentId, RiskCase> = BTreeMap::new();
    let mut disputes: Vec<(&DisputeRow, RiskCase)> = Vec::new();
    for row in cases {
        let Some((state, opened_at)) = row.state.zip(row.opened_at) else { continue };
        let case = RiskCase { opened_at, case: row.case.clone() };
        match &row.payment {
            Some(payment) if is_taken_over(row) => {
                let first = warnings.entry(payment).or_insert_with(|| case.clone());
                *first = first.clone().min(case);
            }
            _ if RiskCase::counts(state) => disputes.push((row, case)),
            _ => {}
        }
    }
    disputes.sort_by(|a, b| a.1.cmp(&b.1));
    let as_warning = |(row, case): (&DisputeRow, RiskCase)| {
        row.payment.as_ref().and_then(|payment| warnings.remove(payment)).map_or(case.clone(), |warning| {
            RiskCase { opened_at: warning.opened_at.min(case.opened_at), ..warning }
        })
    };
    disputes.into_iter().map(as_warning).collect()
}

/// What stands of these, as it is told: one reason once, since the first of its causes. The rule of risk may have been fulfilled
/// several times, and an operator may have said the same twice.
fn standing(rows: &BTreeMap<RestrictionCause, RestrictionRow>) -> Vec<Restricted> {
    let mut told: BTreeMap<_, (&RestrictionCause, OffsetDateTime)> = BTreeMap::new();
    for (cause, row) in rows.iter().filter(|(_, row)| row.stands()) {
        let reason = (cause.kind, cause.cause_kind, &cause.cause);
        let first = told.entry(reason).or_insert((cause, row.since));
        first.1 = first.1.min(row.since);
    }
    told.into_values().map(|(cause, since)| cause.told(since)).collect()
}

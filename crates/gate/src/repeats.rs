//! What a delivery is whose identity was admitted before: the same, more of the same, or something else.
//!
//! The envelope does not count (a processor's replay changes its notification id), and an upgrade of the translation
//! contradicts nothing: both bodies are read by today's code, and what that says more than was admitted is added. Of what
//! describes something, only values that contradict are a conflict, see [`domain::rendering`]; what counts by itself (usage, a
//! grant) is the same to the letter, or a conflict.

use crate::store::Admitted;
use crate::{ADDED, ADMITTED, Candidate, KEPT, RECOGNISED, REPEAT, code, difference, unrecognised};
use bus::Verdict;
use domain::fact::{Unrecognised, UnrecognisedWhy};
use domain::rendering::union;
use domain::{Cause, Envelope, Fact, FactKind};
use processors::Settings;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// What became of a candidate at the gate.
pub(crate) enum Ruling {
    /// New, and passed on to its readers.
    Admitted,
    /// New, and of a kind that no worker reads.
    Kept,
    /// It says nothing new.
    Repeat,
    /// A delivery that was not understood before, and the facts that it turned out to be.
    Recognised(Candidate),
    /// It says more than what was admitted: both together, as a fact of its own.
    Adds(Candidate),
    /// This rendering's facts are other ones of the delivery: the fact under the identity that it then has.
    Elsewhere(Candidate),
    /// It contradicts what was admitted, and where.
    Conflict(String),
}

impl Ruling {
    pub fn verdict(self) -> Verdict {
        match self {
            Ruling::Admitted => ADMITTED,
            Ruling::Kept => KEPT,
            Ruling::Repeat => REPEAT,
            Ruling::Recognised(_) => RECOGNISED,
            Ruling::Adds(_) => ADDED,
            Ruling::Elsewhere(candidate) => {
                let reason = format!("expected a fact under {} once, got it again", candidate.envelope.cause);
                Verdict::Dead { code: code::CONFLICT, reason }
            }
            Ruling::Conflict(reason) => Verdict::Dead { code: code::CONFLICT, reason },
        }
    }

    /// What a candidate's readers get.
    pub fn passed_on<'a>(&'a self, candidate: &'a Candidate) -> Option<&'a Candidate> {
        match self {
            Ruling::Admitted => Some(candidate),
            Ruling::Recognised(becomes) | Ruling::Adds(becomes) => Some(becomes),
            Ruling::Kept | Ruling::Repeat | Ruling::Elsewhere(_) | Ruling::Conflict(_) => None,
        }
    }

    pub fn recognised(&self) -> Option<&Candidate> {
        if let Ruling::Recognised(candidate) = self { Some(candidate) } else { None }
    }

    pub fn addition(&self) -> Option<&Candidate> {
        if let Ruling::Adds(candidate) = self { Some(candidate) } else { None }
    }

    /// Takes the candidate that has to ask again under another identity.
    pub fn elsewhere(&self) -> Option<Candidate> {
        if let Ruling::Elsewhere(candidate) = self { Some(candidate.clone()) } else { None }
    }
}

/// Renderings of one event that may each add something: there are far fewer versions of an API in use at once.
const RENDERINGS_MAX: usize = 9;

/// As long as an id may be.
const ID_LENGTH_MAX: usize = 200;

/// Reads repeats as today's code does.
pub(crate) struct Repeats<'a> {
    pub settings: &'a Settings,
    /// They came through the door of verified deliveries.
    pub is_verified: bool,
}

impl Repeats<'_> {
    pub fn rule(&self, candidate: &Candidate, admitted: &Admitted) -> Ruling {
        if admitted.hash == candidate.hash {
            return Ruling::Repeat;
        }
        let came = admitted.beside(self.came_today(candidate));
        if came.canonical().get() == admitted.fact {
            return Ruling::Repeat;
        }
        match (&came, admitted.is_unrecognised()) {
            (Fact::Unrecognised(came), true) => rule_on_both_unrecognised(candidate, came, admitted),
            (_, true) if candidate.is_unrecognised() => Ruling::Repeat,
            (_, true) => self.rule_on_unrecognised(candidate, admitted),
            // A delivery that is not understood contradicts nothing, but an operator must see that nothing is in it.
            (Fact::Unrecognised(came), false) if is_silent(came.why) && candidate.envelope.raw.is_some() => {
                Ruling::Repeat
            }
            (_, false) => self.rule_on_rendering(candidate, &came, admitted),
        }
    }

    /// What a candidate says. One that its translator did not understand (an older ingester's, while a fleet is upgraded) is
    /// read by today's code.
    fn came_today(&self, candidate: &Candidate) -> Fact {
        let envelope = &candidate.envelope;
        let raw = envelope.raw.as_ref().filter(|_| candidate.is_unrecognised());
        let again = raw.and_then(|raw| {
            let received_at = envelope.received_at.unwrap_or(envelope.time);
            self.translate_again(&envelope.cause, &raw.body, received_at)
        });
        again.unwrap_or_else(|| envelope.fact.clone())
    }

    /// What the stored body says by today's code.
    fn admitted_today(&self, cause: &Cause, admitted: &Admitted) -> Option<Fact> {
        let raw = admitted.raw.as_ref()?;
        self.translate_again(cause, &raw.body, raw.received_at).map(|today| admitted.beside(today))
    }

    fn translate_again(&self, cause: &Cause, body: &[u8], received_at: OffsetDateTime) -> Option<Fact> {
        let envelopes = unrecognised::translate(self.settings, cause, body, received_at)?;
        envelopes.into_iter().find(|envelope| envelope.cause == *cause).map(|envelope| envelope.fact)
    }

    /// A delivery that was not understood when it was admitted is told so that it is. Its stored body must say so by today's
    /// code, or nothing; where it is gone, what came through the door of verified deliveries is believed.
    fn rule_on_unrecognised(&self, candidate: &Candidate, admitted: &Admitted) -> Ruling {
        let came = &candidate.envelope.fact;
        let recognised = |fact: Fact| Ruling::Recognised(candidate.saying(fact));
        if admitted.raw.is_none() && self.is_verified {
            return recognised(came.clone());
        }
        match self.admitted_today(&candidate.envelope.cause, admitted) {
            Some(Fact::Unrecognised(today)) if self.is_verified && is_silent(today.why) => {
                recognised(came.clone())
            }
            Some(today) if came.kind().is_description() => match union(&today, came) {
                Ok(both) => recognised(both),
                Err(contradiction) => conflict(candidate, &contradiction.0),
            },
            Some(today) if today == *came => recognised(today),
            Some(_) | None => conflict_with(candidate, came, admitted),
        }
    }

    fn rule_on_rendering(&self, candidate: &Candidate, came: &Fact, admitted: &Admitted) -> Ruling {
        let today = self.admitted_today(&candidate.envelope.cause, admitted);
        let is_of_another_kind = admitted.kind != came.kind().as_str();
        if today.as_ref() == Some(came) && (is_of_another_kind || !came.kind().is_description()) {
            return Ruling::Repeat;
        }
        if is_of_another_kind {
            return self.rule_on_another_kind(candidate, came, admitted);
        }
        if !came.kind().is_description() {
            return conflict_with(candidate, came, admitted);
        }
        // What was admitted is what its readers know: an older translation may have given them less than the stored body says.
        let mut contradicted = Vec::new();
        for known in admitted.said().into_iter().chain(today) {
            match union(&known, came) {
                Ok(both) if union(&known, &known).as_ref() == Ok(&both) => return Ruling::Repeat,
                Ok(both) => return adding(candidate, both, admitted),
                Err(contradiction) => contradicted = contradiction.0,
            }
        }
        match contradicted.is_empty() {
            true => conflict_with(candidate, came, admitted),
            false => conflict(candidate, &contradicted),
        }
    }

    /// The first fact of a processor's delivery has the event's own id. A rendering that lacks it has another one there.
    fn rule_on_another_kind(&self, candidate: &Candidate, came: &Fact, admitted: &Admitted) -> Ruling {
        let cause = &candidate.envelope.cause;
        let id = processors::further_id(&cause.id, came);
        let admitted_kind = FactKind::parse(&admitted.kind);
        let are_descriptions =
            came.kind().is_description() && admitted_kind.is_some_and(FactKind::is_description);
        let is_of_a_delivery = self.is_verified && processors::find(&cause.source).is_some();
        if !(are_descriptions && is_of_a_delivery && id.len() <= ID_LENGTH_MAX) {
            return conflict_with(candidate, came, admitted);
        }
        Ruling::Elsewhere(candidate.under(id, came.clone()))
    }
}

/// Two renderings that are not understood are one event if they name the same one.
fn rule_on_both_unrecognised(candidate: &Candidate, came: &Unrecognised, admitted: &Admitted) -> Ruling {
    let event = |fact: &Unrecognised| (fact.processor.clone(), fact.event_type.clone());
    let stored: Result<Unrecognised, _> = serde_json::from_str(&admitted.fact);
    match stored {
        Ok(stored) if event(&stored) == event(came) => Ruling::Repeat,
        Ok(_) | Err(_) => conflict_with(candidate, &Fact::Unrecognised(came.clone()), admitted),
    }
}

/// Whether it says nothing at all of the event, not even that it has no effect.
fn is_silent(why: UnrecognisedWhy) -> bool {
    match why {
        UnrecognisedWhy::EventType | UnrecognisedWhy::Value | UnrecognisedWhy::Malformed => true,
        UnrecognisedWhy::NoEffect | UnrecognisedWhy::Mode | UnrecognisedWhy::ForeignAccount => false,
    }
}

/// The fact that holds both, under an identity of its own: the event's, which addition to it this is, and a digest of what
/// it says, so that no other event's id is the same.
fn adding(candidate: &Candidate, both: Fact, admitted: &Admitted) -> Ruling {
    let cause = &candidate.envelope.cause;
    let number = admitted.additions.len() + 2;
    let digest = Sha256::digest(format!("{cause} {}", both.canonical().get()));
    let id = format!("{}~{number}.{}", cause.id, &hex(&digest)[..12]);
    if number > RENDERINGS_MAX || id.len() > ID_LENGTH_MAX {
        return Ruling::Conflict(format!(
            "expected at most {RENDERINGS_MAX} renderings of one event, and an id of at most {ID_LENGTH_MAX} bytes for \
             what each adds, got rendering {number} of {cause}"
        ));
    }
    let adding = candidate.under(id, both);
    Ruling::Adds(Candidate { adds_to: Some(cause.id.clone()), ..adding })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Differs from what was admitted in what may not differ at all.
fn conflict_with(candidate: &Candidate, came: &Fact, admitted: &Admitted) -> Ruling {
    let fields =
        difference::fields((&admitted.kind, &admitted.fact), (came.kind().as_str(), came.canonical().get()));
    conflict(candidate, &fields)
}

fn conflict(candidate: &Candidate, fields: &[String]) -> Ruling {
    Ruling::Conflict(format!(
        "expected what was admitted under {}, got another {}",
        candidate.envelope.cause,
        difference::named(fields)
    ))
}

impl Candidate {
    /// It, with another fact.
    fn saying(&self, fact: Fact) -> Self {
        Self::new(Envelope { fact, ..self.envelope.clone() })
    }

    /// A fact of the same delivery under another id. The body stays with the delivery's own.
    fn under(&self, id: String, fact: Fact) -> Self {
        let cause = Cause { source: self.envelope.cause.source.clone(), id };
        Self::new(Envelope { cause, fact, raw: None, ..self.envelope.clone() })
    }
}

impl Admitted {
    /// What a ruling makes of it.
    pub fn note(&mut self, ruling: &Ruling) {
        match ruling {
            Ruling::Recognised(candidate) => self.recognise(candidate),
            Ruling::Adds(candidate) => self.additions.push(candidate.canonical.clone()),
            Ruling::Admitted | Ruling::Kept | Ruling::Repeat | Ruling::Elsewhere(_) | Ruling::Conflict(_) => {
            }
        }
    }

    /// A fact as it is to be measured by what was admitted: without what was erased there, and with the digests that were told
    /// first, for a key may have been rotated since.
    fn beside(&self, fact: Fact) -> Fact {
        let fact = if self.is_erased { fact.without_texts() } else { fact };
        match self.latest().filter(|first| first.kind() == fact.kind()) {
            Some(first) => fact.with_origin_of(&first),
            None => fact,
        }
    }

    fn is_unrecognised(&self) -> bool {
        self.kind == FactKind::Unrecognised.as_str()
    }

    /// All that was admitted of it, in one fact; `None` if another version spelled it so that today's code cannot read it.
    fn said(&self) -> Option<Fact> {
        self.latest().map(|said| self.beside(said))
    }

    fn latest(&self) -> Option<Fact> {
        let kind = FactKind::parse(&self.kind)?;
        let text = self.additions.last().unwrap_or(&self.fact);
        Fact::parse(kind, serde_json::from_str(text).ok()?).ok()
    }
}

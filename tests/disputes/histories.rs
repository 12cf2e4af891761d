//! Random histories of disputes through the real worker: in any order, with repeats, in batches of any size, with payments that
//! come late and workers that die at any step. They end as the model says, and everything is told.
//!
//! The seed is printed; `BURSAR_TEST_SEED` sets it, `BURSAR_TEST_HISTORIES` how many are told.

use super::model::{Against, Bought, SAYS, Said, Stands, asked, cases};
use super::{assert_proved, settled};
use crate::histories::histories;
use crate::ledger::ledger_with;
use bus::exchange;
use disputes::{Disputes, DisputesRebuilt, take_up};
use domain::dispute::Policy;
use domain::fact::{
    AccountLink, Dispute, DisputeStatus, LinkProof, Payment, RestrictionAct, RestrictionKind,
};
use domain::ledger::Rules;
use domain::{Cause, Envelope, Fact};
use gate::{Door, Gate};
use jobs::Rebuilds;
use ledger::rebuild::rebuild_with;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use testkit::facts::{AT, catalog, dispute, envelope, link, payment, restriction};
use testkit::{DeathStep, Site, eventually, run_within};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(240);
const ACCOUNTS: [&str; 3] = ["a", "b", "c"];
const PAYMENTS: [&str; 6] = ["txn_1", "txn_2", "txn_3", "txn_4", "txn_5", "txn_6"];
const CASES: usize = 8;

/// What is told, and what of it the model must know.
struct History {
    said: BTreeSet<Said>,
    bought: BTreeMap<String, Bought<'static>>,
    facts: Vec<Envelope>,
}

fn at(seconds: i64) -> OffsetDateTime {
    AT + time::Duration::seconds(seconds)
}

fn status(says: usize) -> DisputeStatus {
    let status = DisputeStatus::ALL.into_iter().find(|status| status.as_str() == SAYS[says]);
    status.unwrap()
}

fn fact(said: &Said) -> Envelope {
    let (round, began) = said.round.clone().unzip();
    let told = Dispute {
        round,
        began_at: said.silent_since.or(began).map(at),
        is_early_warning: said.is_early_warning,
        by: said.by_operator.then(|| "ada".to_owned()),
        reason: said.by_operator.then(|| "seen".to_owned()),
        by_silence: said.silent_since.is_some(),
        occurred_at: at(said.at),
        ..dispute(&said.case, &format!("paddle:{}", said.payment), status(said.says))
    };
    let source = match (said.by_operator, said.silent_since) {
        (true, _) => "operator/ada",
        (false, Some(_)) => "bursar/silence",
        (false, None) => "paddle",
    };
    envelope(&format!("{source}/{}", said.cause), Fact::Dispute(told))
}

fn write(random: &mut StdRng) -> History {
    let bought: BTreeMap<String, Bought<'static>> = PAYMENTS
        .iter()
        .map(|payment| {
            let (account, is_claimed) = (*ACCOUNTS.choose(random).unwrap(), random.random_bool(0.2));
            ((*payment).to_owned(), Bought { account, is_claimed })
        })
        .collect();
    let mut said = BTreeSet::new();
    for number in 0..CASES {
        let payment = (*PAYMENTS.choose(random).unwrap()).to_owned();
        let is_early_warning = random.random_bool(0.25);
        // Some weeks or some months.
        let begin = random.random_range(0..200) * 86_400;
        let goes_round = !is_early_warning && random.random_bool(0.5);
        for place in 0..random.random_range(1..8) {
            let is_silence = random.random_bool(0.1);
            let at = begin + random.random_range(0..12) * 3_600;
            let round = goes_round.then(|| {
                let round: i64 = random.random_range(0..3);
                (format!("adj_{number}_{round}"), begin + round * 4 * 3_600)
            });
            said.insert(Said {
                case: format!("dp_{number}"),
                payment: payment.clone(),
                at,
                says: match (is_silence, is_early_warning) {
                    (true, _) => 5,
                    (false, true) => *[0, 3].choose(random).unwrap(),
                    (false, false) => random.random_range(0..SAYS.len()),
                },
                round,
                by_operator: !is_silence && random.random_bool(0.1),
                silent_since: is_silence.then(|| at - random.random_range(0..6) * 3_600),
                is_early_warning,
                cause: format!("evt_{number}_{place}"),
            });
        }
    }
    let paid = bought.iter().map(|(id, bought)| {
        let proof = if bought.is_claimed { LinkProof::Claimed } else { LinkProof::Stated };
        let account = Some(AccountLink { proof, ..link(bought.account) });
        let fact = Payment { account, ..payment(id, bought.account) };
        envelope(&format!("paddle/evt_{id}"), Fact::Payment(fact))
    });
    let facts = said.iter().map(fact).chain(paid).collect();
    History { said, bought, facts }
}

/// The fleet as far as it has a part in this, and where the dying takes place.
struct World {
    site: Site,
    disputes: Disputes,
    policy: Policy,
}

impl World {
    /// Tells facts in any order, some of them twice, while workers die; waits until each is settled and taken up.
    async fn tell(&self, facts: &[Envelope], random: &mut StdRng) -> u32 {
        let mut told = facts.to_vec();
        told.extend(facts.choose_multiple(random, facts.len() / 3).cloned());
        told.shuffle(random);
        let mut deaths = 0;
        while !told.is_empty() {
            let count = random.random_range(1..=told.len().min(15));
            self.site.state(exchange::VERIFIED, told.drain(..count).collect()).await;
            if random.random_bool(0.5) {
                self.until_it_has_some().await;
                let step = *DeathStep::ALL.choose(random).unwrap();
                deaths += u32::from(self.site.dies_at(step, &self.disputes, random.random_range(1..4)).await);
            }
        }
        let worker = Disputes::new(self.site.namespace.clone(), self.policy.clone());
        let lanes = random.random_range(1..4);
        let running = self.site.start(worker, lanes);
        let causes: BTreeSet<Cause> = facts.iter().map(|fact| fact.cause.clone()).collect();
        settled(&self.site, &causes.into_iter().collect::<Vec<_>>()).await;
        running.stop().await;
        eventually("cases to be taken up", async || {
            (!take_up::step(&self.site.pool, &self.policy).await.unwrap()).then_some(())
        })
        .await;
        deaths
    }

    /// Waits a moment for the gate: what was told may be nothing that this worker reads.
    async fn until_it_has_some(&self) {
        let has_some = async {
            while self.site.depth(disputes::QUEUE).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        drop(tokio::time::timeout(Duration::from_millis(500), has_some).await);
    }

    /// Every case, as it is stored.
    async fn cases(&self) -> BTreeMap<String, (String, u32, i32, Option<String>)> {
        let rows: Vec<(String, String, i32, i32, Option<String>)> = sqlx::query_as(
            "select split_part(dispute, ':', 2), state, reopened, illegal_steps, split_part(told ->> 'joined', ':', 2)
             from disputes",
        )
        .fetch_all(&self.site.pool)
        .await
        .unwrap();
        rows.into_iter()
            .map(|(case, state, rounds, illegal, joined)| (case, (state, rounds as u32, illegal, joined)))
            .collect()
    }

    /// What stands against an account: kind and cause of each.
    async fn against(&self, account: &str) -> Vec<(String, String)> {
        sqlx::query_as(
            "select kind, case cause_kind when 'case' then split_part(cause, ':', 2) when 'operator' then cause else 'risk' end
             from restrictions where account = $1 and ended_at is null order by 1, 2",
        )
        .bind(account)
        .fetch_all(&self.site.pool)
        .await
        .unwrap()
    }

    async fn assert_agrees(
        &self,
        said: &BTreeSet<Said>,
        stand: &BTreeMap<&str, BTreeSet<Against>>,
        what: &str,
    ) {
        let expect: BTreeMap<String, (String, u32, i32, Option<String>)> = cases(said)
            .into_iter()
            .map(|(name, Stands { state, rounds, illegal, joined, .. })| {
                (name, (state, rounds, illegal, joined))
            })
            .collect();
        assert_eq!(self.cases().await, expect, "{what}: {said:#?}");
        for account in ACCOUNTS {
            let mut expect: Vec<(String, String)> =
                stand[account].iter().map(|one| (one.kind.to_owned(), one.cause.clone())).collect();
            expect.sort();
            assert_eq!(self.against(account).await, expect, "{what}: account {account} of {said:#?}");
        }
        self.assert_told(what).await;
        assert_proved(&self.site).await;
        let others: [Arc<dyn Rebuilds>; 1] = [Arc::new(DisputesRebuilt { policy: self.policy.clone() })];
        let rebuilt = rebuild_with(&self.site.owner, &Rules::new(catalog()), &others, 10, &mut |_| {}).await;
        let rebuilt = rebuilt.unwrap();
        assert!(rebuilt.ok, "{what}: {rebuilt:#?}");
    }

    /// What was last told of each case is how it stands, and each was opened once.
    async fn assert_told(&self, what: &str) {
        let untold = self.site.texts(
            "select d.dispute || ' is ' || d.state || ', and told was ' || coalesce(e.data ->> 'state', 'nothing')
             from disputes d left join lateral (
                 select data from events e where e.account = d.account and e.type like 'dispute.%' and e.data ->> 'dispute' = d.dispute
                 order by sequence desc limit 1) e on true
             where e.data ->> 'state' is distinct from d.state or e.data ->> 'joined' is distinct from d.told ->> 'joined'
                or (e.data ->> 'evidence_due_by')::timestamptz is distinct from d.evidence_due_by",
        );
        assert_eq!(untold.await, Vec::<String>::new(), "{what}");
        let opened = "select count(*) from (select account, data ->> 'dispute' from events where type = 'dispute.opened'
                                            group by 1, 2 having count(*) <> 1) twice";
        assert_eq!(self.site.number(opened).await, 0, "{what}: opened twice");
    }
}

fn stand(history: &History) -> BTreeMap<&'static str, BTreeSet<Against>> {
    let cases = cases(&history.said);
    ACCOUNTS.into_iter().map(|account| (account, asked(&cases, &history.bought, account))).collect()
}

/// Of what is asked for, what was not lifted; and what an operator put on.
fn left(
    history: &History,
    lifted: &BTreeMap<&'static str, BTreeSet<Against>>,
    own: &BTreeMap<&'static str, BTreeSet<Against>>,
) -> BTreeMap<&'static str, BTreeSet<Against>> {
    let mut stand = stand(history);
    for (account, against) in &mut stand {
        against.retain(|one| !lifted.get(account).is_some_and(|lifted| lifted.contains(one)));
        against.extend(own.get(account).into_iter().flatten().cloned());
    }
    stand
}

#[test]
fn random_histories_end_as_the_model_says_whoever_dies() {
    for (seed, mut random) in histories() {
        run_within(LIMIT, async |site| {
            let what = format!("BURSAR_TEST_SEED={seed}");
            let mut history = write(&mut random);
            super::readers_are_known(&site).await;
            let gate = Gate::new(Door::Verified, site.namespace.clone(), Default::default(), site.readers());
            let workers = [site.start(gate, 1)];
            let ledger = site.start(ledger_with(&site, catalog()), 1);
            let policy = Policy::default();
            let disputes = Disputes::new(site.namespace.clone(), policy.clone());
            let world = World { site: site.clone(), disputes, policy };

            let mut deaths = world.tell(&history.facts, &mut random).await;
            world.assert_agrees(&history.said, &stand(&history), &what).await;

            // Operators put something on, and lift a kind whatever its causes; then everything is told again.
            let mut own: BTreeMap<&'static str, BTreeSet<Against>> = BTreeMap::new();
            let mut lifted: BTreeMap<&'static str, BTreeSet<Against>> = BTreeMap::new();
            let mut acts = 0;
            for account in ACCOUNTS {
                for (kind, name) in
                    [(RestrictionKind::Access, "access"), (RestrictionKind::Checkout, "checkout")]
                {
                    if random.random_bool(0.4) {
                        continue;
                    }
                    let act = match random.random_bool(0.3) {
                        true => RestrictionAct::Restrict,
                        false => RestrictionAct::Restore,
                    };
                    acts += 1;
                    let act_of =
                        envelope(&format!("operator/ada/act_{acts}"), restriction(account, kind, act));
                    world.tell(&[act_of], &mut random).await;
                    match act {
                        RestrictionAct::Restrict => {
                            let stage = acts.to_string();
                            let against = Against { kind: name, cause: "ada".to_owned(), stage };
                            own.entry(account).or_default().insert(against);
                        }
                        RestrictionAct::Restore => {
                            let stands = left(&history, &lifted, &own).remove(account).unwrap();
                            let gone =
                                stands.into_iter().filter(|one| one.kind == name && one.cause != "ada");
                            lifted.entry(account).or_default().extend(gone);
                            own.entry(account).or_default().retain(|one| one.kind != name);
                        }
                    }
                }
            }
            deaths += world.tell(&history.facts, &mut random).await;
            world.assert_agrees(&history.said, &left(&history, &lifted, &own), &what).await;

            // More is said of every case: another stage or round is restricted again.
            let later: Vec<Said> = later(&history, &mut random);
            history.said.extend(later.iter().cloned());
            for one in later {
                deaths += world.tell(&[fact(&one)], &mut random).await;
            }
            let expect = left(&history, &lifted, &own);
            world.assert_agrees(&history.said, &expect, &what).await;
            println!("{} facts about disputes, {deaths} deaths", history.said.len());
            ledger.stop().await;
            for worker in workers {
                worker.stop().await;
            }
        });
    }
}

/// One thing more of each case, after everything else.
fn later(history: &History, random: &mut StdRng) -> Vec<Said> {
    let last: BTreeMap<&String, &Said> = history.said.iter().map(|said| (&said.case, said)).collect();
    let begin = history.said.iter().map(|said| said.at).max().unwrap() + 86_400;
    last.into_values()
        .enumerate()
        .map(|(number, said)| Said {
            at: begin + number as i64,
            says: if said.is_early_warning { 0 } else { random.random_range(1..SAYS.len()) },
            round: said.round.as_ref().map(|_| (format!("adj_later_{number}"), begin + number as i64)),
            by_operator: false,
            silent_since: None,
            cause: format!("evt_later_{number}"),
            ..said.clone()
        })
        .collect()
}

//! What of disputes is configured.

use crate::submission::StripeApi;
use domain::Money;
use domain::dispute::{Policy, RiskRule};
use domain::economics::CounterFee;
use domain::fact::RestrictionKind;
use domain::money::currency;
use domain::settings::{InvalidSetting, duration};
use jobs::http::Endpoint;
use processors::StripeSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the worker is configured by.
#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: Policy,
    /// How long before evidence is due operators are alerted, the longest first.
    pub deadlines: Vec<Duration>,
    /// After which silence a case counts as decided that its processor never closes.
    pub silence: Duration,
    /// None: Stripe is not called.
    pub stripe: Option<StripeApi>,
}

/// `[disputes]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [disputes]")]
pub struct DisputeSettings {
    pub restrict: RestrictSettings,
    /// How long before evidence is due operators are alerted.
    pub deadlines: Vec<String>,
    /// After which silence a case counts as decided that its processor never closes: Paddle's, and early warnings of fraud.
    pub silence: String,
    /// What Stripe takes for evidence and gives back with a win (`"15.00 USD"`); empty: not known.
    pub counter_fee: String,
    /// How the platform calls itself in evidence; empty: not at all.
    pub seller: String,
    pub risk: RiskSettings,
}

/// `[disputes.restrict]`: what an account may not do while a case of its own is at a stage.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [disputes.restrict]")]
pub struct RestrictSettings {
    pub warning: BTreeSet<RestrictionKind>,
    pub open: BTreeSet<RestrictionKind>,
    pub under_review: BTreeSet<RestrictionKind>,
    pub lost: BTreeSet<RestrictionKind>,
}

/// `[disputes.risk]`: so many disputes of one account within a time restrict it, until an operator lifts that.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, expecting = "the section [disputes.risk]")]
pub struct RiskSettings {
    /// 0: no such rule.
    pub disputes: u32,
    pub within: String,
    pub restrict: BTreeSet<RestrictionKind>,
}

impl Default for DisputeSettings {
    fn default() -> Self {
        let of_days = |days: u32| format!("{days}d");
        Self {
            restrict: RestrictSettings::default(),
            deadlines: vec![of_days(7), of_days(3), of_days(1)],
            silence: of_days(120),
            counter_fee: String::new(),
            seller: String::new(),
            risk: RiskSettings::default(),
        }
    }
}

impl Default for RestrictSettings {
    fn default() -> Self {
        let Policy { warning, open, under_review, lost, risk: _ } = Policy::default();
        Self { warning, open, under_review, lost }
    }
}

impl Default for RiskSettings {
    fn default() -> Self {
        let rule = Policy::default().risk.expect("the default has a rule");
        Self {
            disputes: u32::try_from(rule.disputes).expect("a small number"),
            within: domain::settings::duration_text(rule.within),
            restrict: rule.restricts,
        }
    }
}

impl DisputeSettings {
    /// # Errors
    /// The first setting that is wrong.
    pub fn settings(&self, stripe: &StripeSettings) -> Result<Settings, InvalidSetting> {
        let RestrictSettings { warning, open, under_review, lost } = self.restrict.clone();
        let mut deadlines = self
            .deadlines
            .iter()
            .map(|text| duration(text).map_err(InvalidSetting::at("disputes.deadlines")))
            .collect::<Result<Vec<_>, _>>()?;
        deadlines.sort_unstable_by(|a, b| b.cmp(a));
        deadlines.dedup();
        // There is always an alert at the deadline itself.
        deadlines.retain(|step| !step.is_zero());
        let silence = duration(&self.silence).map_err(InvalidSetting::at("disputes.silence"))?;
        if silence < Duration::from_secs(86_400) {
            let why = format!("disputes.silence: expected a day or more, got {:?}", self.silence);
            return Err(InvalidSetting::new(why));
        }
        self.counter_fee()?;
        let policy = Policy { warning, open, under_review, lost, risk: self.risk.rule()? };
        let stripe = match stripe.authorization()? {
            None => None,
            authorization => Some(StripeApi {
                api: Endpoint { base: stripe.api_url()?, authorization: authorization.clone() },
                files: Endpoint { base: stripe.files_url()?, authorization },
            }),
        };
        Ok(Settings { policy, deadlines, silence, stripe })
    }
}

impl DisputeSettings {
    /// What Stripe takes for evidence.
    ///
    /// # Errors
    /// It is no amount of money.
    pub fn counter_fee(&self) -> Result<CounterFee, InvalidSetting> {
        if self.counter_fee.is_empty() {
            return Ok(CounterFee::Unknown);
        }
        let wrong = || {
            let why = format!(
                "disputes.counter_fee: expected an amount as \"15.00 USD\", got {:?}",
                self.counter_fee
            );
            InvalidSetting::new(why)
        };
        let (amount, code) = self.counter_fee.split_once(' ').ok_or_else(wrong)?;
        let (amount, currency) = (amount.parse().map_err(|_| wrong())?, currency(code).map_err(|_| wrong())?);
        let fee = Money::new(amount, currency).map_err(|_| wrong())?;
        Ok(if fee.is_zero() { CounterFee::None } else { CounterFee::Amount(fee) })
    }
}

impl RiskSettings {
    fn rule(&self) -> Result<Option<RiskRule>, InvalidSetting> {
        let within = duration(&self.within).map_err(InvalidSetting::at("disputes.risk.within"))?;
        let disputes = usize::try_from(self.disputes).unwrap_or(usize::MAX);
        if disputes > 0 && self.restrict.is_empty() {
            let why = "disputes.risk.restrict: expected what is restricted, got nothing; without the rule, say disputes = 0";
            return Err(InvalidSetting::new(why));
        }
        Ok((disputes > 0).then(|| RiskRule { disputes, within, restricts: self.restrict.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let settings: DisputeSettings = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.settings(&StripeSettings::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_section_is_the_default_policy() {
        let settings = read("").unwrap();
        assert_eq!(settings.policy, Policy::default());
        let days = |days: u64| Duration::from_secs(days * 86_400);
        assert_eq!(settings.deadlines, [days(7), days(3), days(1)]);
        assert_eq!(settings.silence, days(120));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        let check = |text: &str, expect: &str| {
            let why = read(text).map(drop).unwrap_err();
            assert!(why.contains(expect), "{text}: {why}");
        };
        check(
            "deadlines = [\"soon\"]",
            "disputes.deadlines: expected a duration such as 365d or 12h, got \"soon\"",
        );
        check("silence = \"1h\"", "disputes.silence: expected a day or more, got \"1h\"");
        check("[risk]\nrestrict = []", "disputes.risk.restrict: expected what is restricted");
        check("[restrict]\nwarning = [\"everything\"]", "expected one of `access`, `checkout`, `balance`");
    }

    #[test]
    fn the_rule_of_risk_can_be_left_out() {
        assert_eq!(read("[risk]\ndisputes = 0").unwrap().policy.risk, None);
    }
}

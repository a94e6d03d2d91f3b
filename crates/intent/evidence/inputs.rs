//! What the factors of risk are computed from: the playbook, the request's own facts, and what was found out.

use jiff::Timestamp;
use marque_spiffe::Environment;

use super::{Evidence, RiskAssessment, RiskInputs, RiskName};
use crate::playbook::Playbook;

/// What an unstated confidence counts as, in tens of points that lack to 100.
const UNSTATED: u64 = 10;

impl Playbook {
    /// The risk of running this playbook now, with everything that was found out. A grant of a playbook that weighs
    /// nothing is as risky as the playbook, and says no more than that.
    #[must_use]
    pub fn assess_risk(
        &self,
        evidence: &Evidence,
        has_ticket: bool,
        environment: Environment,
        now: Timestamp,
    ) -> RiskAssessment {
        let rules = self.risk_rules();
        if rules.weights.is_empty() {
            return RiskAssessment::default();
        }
        let one_if = |holds: bool| u64::from(holds);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let input = |name: RiskName| match name {
            RiskName::OffHours => {
                one_if(rules.hours.as_ref().is_some_and(|hours| !hours.contain(now)))
            }
            RiskName::NewAgentBuild => one_if(evidence.new_build),
            RiskName::OpenGrants => u64::from(evidence.history.open_grants),
            RiskName::RecentDenials => u64::from(evidence.history.denials),
            RiskName::Production => one_if(environment == Environment::Production),
            RiskName::SensitiveData => {
                let sensitive = |class: &&String| rules.sensitive_classes.contains(*class);
                count(self.data_classes().iter().filter(sensitive).count())
            }
            RiskName::SensitiveTool => {
                count(self.tools.values().filter(|tool| tool.sensitive).count())
            }
            RiskName::DestructiveTool => {
                count(self.tools.values().filter(|tool| tool.destructive).count())
            }
            RiskName::NoTicket => one_if(!has_ticket),
            RiskName::Posture => u64::from(evidence.posture.level()),
            RiskName::LowConfidence => evidence
                .confidence
                .map_or(UNSTATED, |stated| (100_u64.saturating_sub(stated.into())).div_ceil(10)),
        };
        let inputs: RiskInputs = rules.weights.keys().map(|name| (*name, input(*name))).collect();
        rules.assess(&inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{History, Posture};
    use crate::fixtures::{PLAYBOOK, REVIEW, start};

    fn weighing(text: &str, risk: &str) -> Playbook {
        let base = text.lines().find(|line| line.starts_with("base = ")).unwrap();
        Playbook::parse(&text.replacen(base, risk, 1)).unwrap()
    }

    fn points(playbook: &Playbook, evidence: &Evidence, ticket: bool, now: &str) -> u32 {
        let now = now.parse().unwrap();
        playbook.assess_risk(evidence, ticket, Environment::Production, now).score
    }

    /// A Tuesday morning in Berlin.
    const MORNING: &str = "2026-03-10T09:00:00Z";

    #[test]
    fn each_factor_is_computed_from_its_own_fact() {
        let evidence = |change: &dyn Fn(&mut Evidence)| {
            let mut evidence =
                Evidence { confidence: Some(100_u64.try_into().unwrap()), ..Evidence::default() };
            change(&mut evidence);
            evidence
        };
        let none = evidence(&|_| {});
        let of = |name: &str, evidence: &Evidence| {
            let hours = "[risk.hours]\nzone = \"Europe/Berlin\"\ndays = [\"tue\"]\nfrom = \"09:00\"\n\
                         until = \"18:00\"\n";
            let extra = match name {
                "off_hours" => hours,
                _ => "",
            };
            let classes = match name {
                "sensitive_data" => "sensitive_classes = [\"tls_material\"]\n",
                _ => "",
            };
            let risk = format!("base = 0\n{classes}[risk.weights]\n{name} = 7\n{extra}");
            points(&weighing(PLAYBOOK, &risk), evidence, true, MORNING)
        };
        for (name, raised, by) in [
            ("new_agent_build", evidence(&|one| one.new_build = true), 7),
            (
                "open_grants",
                evidence(&|one| one.history = History { open_grants: 2, ..History::default() }),
                14,
            ),
            (
                "recent_denials",
                evidence(&|one| one.history = History { denials: 3, ..History::default() }),
                21,
            ),
            ("posture", evidence(&|one| one.posture = Posture::High), 14),
            (
                "low_confidence",
                evidence(&|one| one.confidence = Some(75_u64.try_into().unwrap())),
                21,
            ),
            ("low_confidence", evidence(&|one| one.confidence = None), 70),
        ] {
            assert_eq!((of(name, &none), of(name, &raised)), (0, by), "{name}");
        }
        assert_eq!((of("production", &none), of("sensitive_data", &none)), (7, 7));
        assert_eq!((of("off_hours", &none), of("no_ticket", &none)), (0, 0));
    }

    #[test]
    fn m_38_tools_count_by_what_they_do() {
        let sensitive = weighing(REVIEW, "base = 0\n[risk.weights]\nsensitive_tool = 5\n");
        let destructive = weighing(REVIEW, "base = 0\n[risk.weights]\ndestructive_tool = 9\n");
        let none = Evidence::default();
        assert_eq!(points(&sensitive, &none, true, MORNING), 5);
        assert_eq!(points(&destructive, &none, true, MORNING), 9);
    }

    #[test]
    fn nothing_is_assessed_where_nothing_is_weighed() {
        let playbook = Playbook::parse(PLAYBOOK).unwrap();
        let assessed =
            playbook.assess_risk(&Evidence::default(), true, Environment::Production, start());
        assert!(assessed.is_empty());
    }

    #[test]
    fn no_ticket_and_the_night_add_up() {
        let risk = "base = 10\n[risk.weights]\noff_hours = 15\nno_ticket = 30\n[risk.hours]\n\
                    zone = \"Europe/Berlin\"\ndays = [\"tue\"]\nfrom = \"09:00\"\nuntil = \"18:00\"\n";
        let playbook = weighing(PLAYBOOK, risk);
        assert_eq!(points(&playbook, &Evidence::default(), true, MORNING), 10);
        assert_eq!(points(&playbook, &Evidence::default(), true, "2026-03-10T20:00:00Z"), 25);
        assert_eq!(points(&playbook, &Evidence::default(), false, "2026-03-10T20:00:00Z"), 55);
    }
}

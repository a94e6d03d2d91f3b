//! What is known of an agent when it asks, and what it states in figures: nothing of it is text of its own.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use marque_spiffe::{Repository, SelectorSet};
use serde::{Deserialize, Serialize};

use crate::denial::{Denial, DenialCode};
use crate::request::IntentRequest;

/// The longest category, in bytes.
const MAX_CATEGORY_LEN: usize = 63;

/// What is known of an agent by its registration and its credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentStanding {
    /// Who answers for it; empty where nobody knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// What it attested as: the selectors of its entry, all of which hold of whoever has its identity.
    #[serde(default, skip_serializing_if = "SelectorSet::is_empty")]
    pub selectors: SelectorSet,
    /// Where its code was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// When the credential was issued that it shows, and with it the attestation made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested_at: Option<Timestamp>,
}

impl AgentStanding {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How sure an agent says that it is: 0 to 100. It only ever counts against the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Confidence(u8);

/// The number is no confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a confidence is a whole number from 0 to 100")]
pub struct ConfidenceError;

impl Confidence {
    /// From 0 to 100.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for Confidence {
    type Error = ConfidenceError;

    fn try_from(number: u64) -> Result<Self, ConfidenceError> {
        match u8::try_from(number) {
            Ok(percent @ 0..=100) => Ok(Self(percent)),
            Ok(_) | Err(_) => Err(ConfidenceError),
        }
    }
}

impl From<Confidence> for u64 {
    fn from(confidence: Confidence) -> Self {
        Self::from(confidence.0)
    }
}

/// A category of business justification: 1 to 63 of `a-z 0-9 - _`. Which there are is the playbook's to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Category(String);

/// The text is no category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a category has 1 to {MAX_CATEGORY_LEN} of the characters `a-z`, `0-9`, `-` and `_`")]
pub struct CategoryError;

impl Category {
    /// The category as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Category {
    type Err = CategoryError;

    fn from_str(text: &str) -> Result<Self, CategoryError> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if (1..=MAX_CATEGORY_LEN).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CategoryError)
        }
    }
}

impl TryFrom<String> for Category {
    type Error = CategoryError;

    fn try_from(text: String) -> Result<Self, CategoryError> {
        text.parse()
    }
}

impl From<Category> for String {
    fn from(category: Category) -> Self {
        category.0
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a playbook demands of whoever asks, beside being one of its agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    /// What the agent has to attest as, all of it.
    pub selectors: SelectorSet,
    /// From one of these its code is built; empty demands nothing.
    pub repositories: BTreeSet<Repository>,
    /// How old its attestation may be at most.
    pub max_attestation_age: Option<Duration>,
    /// How sure it has to be at least.
    pub confidence_floor: Option<Confidence>,
    /// One of these is why; empty demands nothing.
    pub categories: BTreeSet<Category>,
}

impl Demands {
    /// Whether a request of an agent meets them all.
    ///
    /// # Errors
    /// `attestation_mismatch`, `repository_not_allowed`, `attestation_stale`, `params_schema_invalid` for a category that
    /// is missing or not the playbook's, or `confidence_too_low`.
    pub fn check(
        &self,
        standing: &AgentStanding,
        request: &IntentRequest,
        now: Timestamp,
    ) -> Result<(), Denial> {
        self.check_agent(standing, now)?;
        self.check_category(request.category())?;
        self.check_confidence(request.confidence())
    }

    /// The part that may change while a grant is open: what the agent is.
    ///
    /// # Errors
    /// `attestation_mismatch`, `repository_not_allowed` or `attestation_stale`.
    pub fn check_agent(&self, standing: &AgentStanding, now: Timestamp) -> Result<(), Denial> {
        if let Some(missing) =
            self.selectors.iter().find(|wanted| !standing.selectors.contains(wanted))
        {
            let detail = format!("the agent's entry does not have the selector `{missing}`");
            return Err(Denial::new(DenialCode::AttestationMismatch, detail));
        }
        let known = standing.repository.as_ref().is_some_and(|one| self.repositories.contains(one));
        if !self.repositories.is_empty() && !known {
            let detail = match &standing.repository {
                Some(other) => format!("the agent is built from `{other}`"),
                None => "the agent's entry does not say what it is built from".to_owned(),
            };
            return Err(Denial::new(DenialCode::RepositoryNotAllowed, detail));
        }
        let Some(most) = self.max_attestation_age else { return Ok(()) };
        let fresh = standing
            .attested_at
            .and_then(|at| at.checked_add(most).ok())
            .is_some_and(|stale_from| now <= stale_from);
        if fresh {
            return Ok(());
        }
        let detail = format!("the agent was not attested within {}s", most.as_secs());
        Err(Denial::new(DenialCode::AttestationStale, detail))
    }

    fn check_category(&self, stated: Option<&Category>) -> Result<(), Denial> {
        let detail = match stated {
            None if self.categories.is_empty() => return Ok(()),
            Some(stated) if self.categories.contains(stated) => return Ok(()),
            None => "the request names no `category` of business justification".to_owned(),
            Some(_) if self.categories.is_empty() => "this playbook takes no `category`".to_owned(),
            Some(stated) => format!("`{stated}` is no category of this playbook"),
        };
        Err(Denial::new(DenialCode::ParamsSchemaInvalid, detail))
    }

    fn check_confidence(&self, stated: Option<Confidence>) -> Result<(), Denial> {
        let Some(floor) = self.confidence_floor else { return Ok(()) };
        let detail = match stated {
            Some(stated) if stated >= floor => return Ok(()),
            Some(stated) => format!("{} is below {}", stated.percent(), floor.percent()),
            None => format!("the playbook wants a `confidence` of at least {}", floor.percent()),
        };
        Err(Denial::new(DenialCode::ConfidenceTooLow, detail))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{at, good_request, request, start};

    const MAIN: &str = "github.com/example/agents@refs/heads/main";

    fn standing() -> AgentStanding {
        AgentStanding {
            owner: "group:platform-sre".to_owned(),
            selectors: ["k8s:ns:agents", "unix:uid:1000"]
                .iter()
                .map(|selector| selector.parse().unwrap())
                .collect(),
            repository: Some(MAIN.parse().unwrap()),
            attested_at: Some(start()),
        }
    }

    fn code(demands: &Demands, standing: &AgentStanding, more: &Value) -> Option<DenialCode> {
        let mut asked = good_request();
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        demands.check(standing, &request(&asked), at(60)).err().map(|denial| denial.code())
    }

    #[test]
    fn m_33_the_repository_is_one_of_the_playbooks() {
        let demands =
            Demands { repositories: [MAIN.parse().unwrap()].into(), ..Demands::default() };
        let of = |repository: Option<&str>| AgentStanding {
            repository: repository.map(|text| text.parse().unwrap()),
            ..standing()
        };
        assert_eq!(code(&demands, &of(Some(MAIN)), &json!({})), None);
        let refused = Some(DenialCode::RepositoryNotAllowed);
        assert_eq!(code(&demands, &of(None), &json!({})), refused);
        for other in
            ["github.com/example/agents@refs/heads/dev", "github.com/fork/agents@refs/heads/main"]
        {
            assert_eq!(code(&demands, &of(Some(other)), &json!({})), refused, "{other}");
        }
    }

    #[test]
    fn an_agent_attests_as_all_that_the_playbook_demands() {
        let demands = |selectors: &[&str]| Demands {
            selectors: selectors.iter().map(|text| text.parse().unwrap()).collect(),
            ..Demands::default()
        };
        assert_eq!(code(&demands(&["k8s:ns:agents"]), &standing(), &json!({})), None);
        let both = demands(&["k8s:ns:agents", "image_digest:sha256:00"]);
        let refused = Some(DenialCode::AttestationMismatch);
        assert_eq!(code(&both, &standing(), &json!({})), refused);
        assert_eq!(code(&both, &AgentStanding::default(), &json!({})), refused);
    }

    #[test]
    fn an_attestation_grows_stale() {
        let within = |seconds| Demands {
            max_attestation_age: Some(Duration::from_secs(seconds)),
            ..Demands::default()
        };
        assert_eq!(code(&within(60), &standing(), &json!({})), None);
        let stale = Some(DenialCode::AttestationStale);
        assert_eq!(code(&within(59), &standing(), &json!({})), stale);
        let unknown = AgentStanding { attested_at: None, ..standing() };
        assert_eq!(code(&within(60), &unknown, &json!({})), stale);
    }

    #[test]
    fn m_39_confidence_only_counts_against_a_request() {
        let demands = Demands { confidence_floor: Some(Confidence(70)), ..Demands::default() };
        let low = Some(DenialCode::ConfidenceTooLow);
        assert_eq!(code(&demands, &standing(), &json!({"confidence": 70})), None);
        assert_eq!(code(&demands, &standing(), &json!({"confidence": 69})), low);
        assert_eq!(code(&demands, &standing(), &json!({})), low);
        let sure_and_built_elsewhere =
            Demands { repositories: ["example.org/other@main".parse().unwrap()].into(), ..demands };
        let refused = code(&sure_and_built_elsewhere, &standing(), &json!({"confidence": 100}));
        assert_eq!(refused, Some(DenialCode::RepositoryNotAllowed));
    }

    #[test]
    fn m_40_a_business_justification_is_a_category_of_the_playbook() {
        let demands = Demands {
            categories: ["scheduled", "incident"].iter().map(|one| one.parse().unwrap()).collect(),
            ..Demands::default()
        };
        let invalid = Some(DenialCode::ParamsSchemaInvalid);
        assert_eq!(code(&demands, &standing(), &json!({"category": "incident"})), None);
        assert_eq!(code(&demands, &standing(), &json!({"category": "whim"})), invalid);
        assert_eq!(code(&demands, &standing(), &json!({})), invalid);
        let none = Demands::default();
        assert_eq!(code(&none, &standing(), &json!({"category": "incident"})), invalid);
    }

    #[test]
    fn a_confidence_and_a_category_have_their_bounds() {
        for (number, fits) in
            [(0, true), (100, true), (101, false), (256, false), (u64::MAX, false)]
        {
            assert_eq!(Confidence::try_from(number).is_ok(), fits, "{number}");
        }
        for text in ["", "Incident", "a b", &"x".repeat(64)] {
            assert!(text.parse::<Category>().is_err(), "{text}");
        }
        assert!("x".repeat(63).parse::<Category>().is_ok());
    }
}

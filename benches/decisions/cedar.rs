//! One question to the policies that ship, beside Cedar itself on the same policies with everything prepared.

use std::fs;
use std::str::FromStr as _;

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};
use jiff::Timestamp;
use marque_intent::{Circumstances, Digest, Grant, IntentRequest, Playbook, Requester, resolve};
use marque_policy::{Act, CedarDecisionPoint, DecisionPoint as _, Question, judge};
use marque_spiffe::Environment;
use serde_json::json;

use crate::ratio::{Pair, table};
use crate::support::folder;

/// The trust domain whose policies, and whose playbook, are asked.
const TRUST_DOMAIN: &str = "dev.example.org";

pub(crate) fn measure() {
    let trust_domain = folder::shipped().join(TRUST_DOMAIN);
    let policies = trust_domain.join("policy");
    let point = CedarDecisionPoint::load(&policies).expect("policies");
    let text = fs::read_to_string(trust_domain.join("playbooks/restart-preview.toml"));
    let playbook = Playbook::parse(&text.expect("a playbook")).expect("a playbook");
    let grant = grant(&playbook);
    let question = Question {
        grant: &grant,
        playbook: &playbook,
        evidence: &grant.evidence,
        environment: Environment::NonProduction,
        act: Act::Request,
        now: Timestamp::UNIX_EPOCH,
    };
    let to_use = Question {
        act: Act::Use { delegator: None, approvals: 0, uses_left: 1, by_policy: true },
        ..question
    };
    let bare = Bare::new(
        &["hard.cedar", "gate.cedar"]
            .map(|file| fs::read_to_string(policies.join(file)).expect("policies")),
    );
    println!("\n## Cedar, per call");
    table(&mut [
        Pair {
            name: "a request: question, entities, both sets, reasons",
            ours: &mut || drop(divan::black_box(point.decide(&question).expect("a verdict"))),
            floor_name: "cedar-policy: both sets, request and entities prepared",
            floor: &mut || bare.ask(),
        },
        Pair {
            name: "the same, with the thresholds of the playbook",
            ours: &mut || {
                drop(divan::black_box(judge(&point, &question, false).expect("a verdict")));
            },
            floor_name: "cedar-policy: both sets, request and entities prepared",
            floor: &mut || bare.ask(),
        },
        Pair {
            name: "a use, which is decided as a request too",
            ours: &mut || drop(divan::black_box(point.decide(&to_use).expect("a verdict"))),
            floor_name: "cedar-policy: both sets, request and entities prepared",
            floor: &mut || bare.ask(),
        },
    ]);
}

fn grant(playbook: &Playbook) -> Grant {
    let request = json!({ "playbook": "restart-preview", "parameters": { "preview": "pr-1207" } });
    let request = request.as_object().expect("an object").clone();
    let request = IntentRequest::from_object(request).expect("a request");
    let agent = format!("spiffe://{TRUST_DOMAIN}/agent/preview-restarter");
    let requester =
        Requester { agent: agent.parse().expect("an agent"), attestation: None, owner: None };
    let circumstances = Circumstances {
        intent_id: "int_00000000000000000000000000".parse().expect("an id"),
        policy_set_digest: Digest::of(b"set"),
        evidence: Default::default(),
        now: Timestamp::UNIX_EPOCH,
    };
    resolve(playbook, &request, &requester, circumstances).expect("a grant")
}

/// Cedar and nothing else: the policies, and a request with what they read.
struct Bare {
    authorizer: Authorizer,
    sets: Vec<PolicySet>,
    request: Request,
    entities: Entities,
}

impl Bare {
    fn new(texts: &[String]) -> Self {
        let id = |text: &str| EntityUid::from_str(text).expect("an id");
        let (agent, playbook) = (id(r#"Marque::Agent::"a""#), id(r#"Marque::Playbook::"p""#));
        let entity = |id: &EntityUid| {
            let domain = RestrictedExpression::new_string(TRUST_DOMAIN.to_owned());
            let attributes = [("trust_domain".to_owned(), domain)].into();
            Entity::new(id.clone(), attributes, [].into()).expect("an entity")
        };
        let entities = Entities::from_entities([entity(&agent), entity(&playbook)], None);
        let context = ["risk", "uses", "token_lifetime_seconds", "approvals_needed"]
            .map(|name| (name.to_owned(), RestrictedExpression::new_long(1)));
        let environment = RestrictedExpression::new_string("non-production".to_owned());
        let context = context.into_iter().chain([("environment".to_owned(), environment)]);
        let context = Context::from_pairs(context).expect("a context");
        let action = id(r#"Marque::Action::"request""#);
        Self {
            authorizer: Authorizer::new(),
            sets: texts.iter().map(|text| text.parse().expect("policies")).collect(),
            request: Request::new(agent, action, playbook, context, None).expect("a request"),
            entities: entities.expect("entities"),
        }
    }

    fn ask(&self) {
        for set in &self.sets {
            let answer = self.authorizer.is_authorized(&self.request, set, &self.entities);
            assert_eq!(divan::black_box(answer).diagnostics().errors().count(), 0, "an error");
        }
    }
}

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use jiff::Timestamp;
use marque_intent::{
    Circumstances, DenialCode, Digest, Evidence, Grant, IntentRequest, Playbook, Requester, resolve,
};
use marque_policy::Act;
use marque_spiffe::Environment;
use serde_json::{Value, json};

use super::*;

const PLAYBOOK: &str = include_str!(
    "../../../../../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml"
);

/// Permits, with a rule that refuses once it has heard from somebody else.
#[derive(Debug)]
struct Waiting(Arc<Slow>, Digest);

#[derive(Debug)]
struct Slow(Mutex<Receiver<()>>);

impl SlowRules for Slow {
    fn veto(&self, _: &Value) -> Result<Option<Veto>, PolicyError> {
        let heard = self.0.lock().unwrap().recv_timeout(Duration::from_secs(20));
        heard.map_err(|error| PolicyError::Evaluation(error.to_string()))?;
        let code = DenialCode::DataClassDenied;
        Ok(Some(Veto { code, rules: Vec::new(), reason: "no".to_owned() }))
    }
}

impl DecisionPoint for Waiting {
    fn decide(&self, question: &Question<'_>) -> Result<Verdict, PolicyError> {
        Ok(Veto::applied(self.0.veto(&question.to_json())?, self.decide_quickly(question)?))
    }

    fn slow(&self) -> Option<Arc<dyn SlowRules>> {
        let rules: Arc<dyn SlowRules> = Arc::clone(&self.0) as _;
        Some(rules)
    }

    fn decide_quickly(&self, _: &Question<'_>) -> Result<Verdict, PolicyError> {
        Ok(Ruling::Approve { rules: Vec::new() }.into())
    }

    fn if_nothing_forbade(&self, _: &Question<'_>) -> Result<Ruling, PolicyError> {
        Ok(Ruling::Approve { rules: Vec::new() })
    }

    fn set_digest(&self) -> &Digest {
        &self.1
    }
}

fn grant(playbook: &Playbook) -> Grant {
    let request = json!({
        "playbook": "ingress-cert-rotation",
        "parameters": {"service": "checkout", "region": "eu-west-1"},
        "ticket": "CHG-1842",
    });
    let request = IntentRequest::from_object(request.as_object().unwrap().clone()).unwrap();
    let requester = Requester {
        agent: "spiffe://prod.example.org/agent/cert-rotator".parse().unwrap(),
        attestation: None,
        owner: None,
    };
    let circumstances = Circumstances {
        intent_id: "int_00000000000000000000000000".parse().unwrap(),
        policy_set_digest: Digest::of(b"set"),
        evidence: Evidence::default(),
        now: Timestamp::UNIX_EPOCH,
    };
    resolve(playbook, &request, &requester, circumstances).unwrap()
}

/// On one thread: whoever evaluated there would wait for itself.
#[tokio::test]
async fn a_long_question_holds_up_nobody_elses_request() {
    let playbook = Playbook::parse(PLAYBOOK).unwrap();
    let grant = grant(&playbook);
    let question = Question {
        grant: &grant,
        playbook: &playbook,
        evidence: &grant.evidence,
        environment: Environment::Production,
        act: Act::Request,
        now: Timestamp::UNIX_EPOCH,
    };
    let (tell, told) = channel();
    let point = Waiting(Arc::new(Slow(Mutex::new(told))), Digest::of(b"set"));
    let room = SlowRoom::default();
    let (verdict, ()) = tokio::join!(room.ruled(&point, &question), async {
        tell.send(()).unwrap();
    });
    let Ruling::Deny { code, .. } = verdict.unwrap().ruling else { panic!("it was permitted") };
    assert_eq!(code, DenialCode::DataClassDenied);
}

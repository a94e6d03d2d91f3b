use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;

use super::role::Stage;
use super::unix_attestors;
use crate::{AttestError, Attestor, Attestors, ProcessPin, UnixAttestor, UnixAttestorConfig};

#[derive(Debug)]
struct Failing;

impl Attestor for Failing {
    fn kind(&self) -> &'static str {
        "failing"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(async { Err(AttestError::Interrupted { pid: process.pid() }) })
    }
}

#[tokio::test]
async fn a_survey_says_what_attestation_would_say() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let _started = stage.start(&program, "obey");
    let actor = stage.accept();
    let survey = unix_attestors().survey(actor.peer.process()).await.unwrap();
    let attested = unix_attestors().attest(&actor.peer).await.unwrap();
    assert_eq!(survey.attestation.as_ref().unwrap().fingerprint, attested.fingerprint);
    assert_eq!(survey.selectors(), attested.selectors);
    assert!(!format!("{survey:?}").contains("unix:"), "selectors are not for logs");
}

#[tokio::test]
async fn an_attestor_that_fails_says_why_and_the_others_are_still_asked() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let _started = stage.start(&program, "obey");
    let actor = stage.accept();
    let unix = UnixAttestor::new(UnixAttestorConfig::default());
    let attestors = Attestors::new(vec![Box::new(Failing), Box::new(unix)]);
    let survey = attestors.survey(actor.peer.process()).await.unwrap();
    let kinds: Vec<_> = survey.found.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, ["failing", "unix"]);
    assert!(survey.found[0].selectors.is_err() && survey.found[1].selectors.is_ok());
    assert!(survey.attestation.is_none(), "nothing is earned in part");
    assert!(!survey.selectors().is_empty());
}

#[tokio::test]
async fn a_process_that_exits_meanwhile_is_not_surveyed() {
    let stage = Stage::new();
    let program = stage.copy_of_this_binary("actor");
    let mut started = stage.start(&program, "obey");
    let actor = stage.accept();
    started.0.kill().unwrap();
    started.0.wait().unwrap();
    let error = unix_attestors().survey(actor.peer.process()).await.unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error:?}");
}

//! What an entry allows its holder: audiences of JWT-SVIDs, and taking part in delegation.

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::operator::Operator;
use crate::support::programs::copy_of_this_program;

const ALLOWED: &str = "https://one.example.org";

async fn create(operator: &Operator, id: &str, program: &std::path::Path, more: &[&str]) -> String {
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let path = format!("unix:path:{}", program.display());
    let entry =
        ["entry", "create", "--expires-in", "1d", "--spiffe-id", id, "--owner", "group:tests"];
    let selectors = ["--selector", &uid, "--selector", &path];
    let created = operator.json(&[&entry[..], &selectors, more].concat()).await;
    created["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_is_for_the_audiences_of_the_entry_alone() {
    let daemon = Daemon::start().await;
    let (operator, place) = (daemon.operator(NON_PRODUCTION), daemon.place(NON_PRODUCTION));
    let program = copy_of_this_program("helper");
    let narrow = place.id("/agent/narrow");
    let more = ["--audience", ALLOWED, "--audience", &place.issuer_url];
    let entry = create(&operator, &narrow, &program, &more).await;
    let mut workload = Workload::start(&program, place);
    workload.try_jwt_svid(&[ALLOWED]).await.unwrap();
    workload.try_jwt_svid(&[ALLOWED, &place.issuer_url]).await.unwrap();
    for audience in [&["https://two.example.org"][..], &[ALLOWED, "https://two.example.org"]] {
        let refused = workload.try_jwt_svid(audience).await.unwrap_err();
        assert!(refused.contains("no identity of the caller may have"), "{refused}");
    }
    let denials = operator.json(&["explain", "denials"]).await.to_string();
    assert!(denials.contains("audience_not_allowed"), "{denials}");
    let shown = operator.json(&["entry", "show", &entry]).await;
    assert_eq!(shown[0]["audiences"].as_array().unwrap().len(), 2, "{shown}");
    // Another identity of the same process without such a list is not held to it.
    create(&operator, &place.id("/agent/wide"), &program, &[]).await;
    workload.try_jwt_svid(&["https://two.example.org"]).await.unwrap();
    let unknown = operator.run(&["entry", "show", "nobody"]).await.failed();
    assert!(format!("{}{}", unknown.out, unknown.err).contains("marque entry list"), "{unknown:?}");
}

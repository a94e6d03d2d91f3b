//! How one list of pods serves many, and whom it does not serve.

use super::*;

#[tokio::test]
async fn many_agents_at_once_do_not_make_as_many_calls() {
    let mut stage = Stage::new().await;
    let server = stage.serve(listed);
    let attestor = stage
        .attestor_with(KubernetesConfig { max_list_age: Duration::from_secs(1000), ..config() });
    let pin = stage.agent.pin();
    let all = futures::future::join_all((0..100).map(|_| attestor.selectors(&pin))).await;
    assert!(all.iter().all(|found| found.as_ref().unwrap().len() == 20));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_list_older_than_allowed_is_asked_for_again() {
    let mut stage = Stage::new().await;
    let server = stage.serve(listed);
    let attestor =
        stage.attestor_with(KubernetesConfig { max_list_age: Duration::ZERO, ..config() });
    for times in 1..=3 {
        assert_eq!(attestor.selectors(&stage.agent.pin()).await.unwrap().len(), 20);
        assert_eq!(server.asked().len(), times);
    }
}

#[tokio::test]
async fn a_list_from_before_a_process_started_does_not_serve_it() {
    let mut stage = Stage::new().await;
    let server = stage.serve(listed);
    let attestor = stage
        .attestor_with(KubernetesConfig { max_list_age: Duration::from_secs(1000), ..config() });
    assert_eq!(attestor.selectors(&stage.agent.pin()).await.unwrap().len(), 20);
    let later = Waiting::start();
    stage.put(&later, POD, AGENT);
    assert_eq!(attestor.selectors(&later.pin()).await.unwrap().len(), 20);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn those_who_wait_for_a_slow_kubelet_share_its_deadline() {
    let mut stage = Stage::new().await;
    stage.kubelet.timeout = Duration::from_millis(200);
    let server = stage.serve(|_| Reply::Silence);
    let attestor = stage.attestor();
    let pin = stage.agent.pin();
    let all = futures::future::join_all((0..50).map(|_| attestor.selectors(&pin))).await;
    for result in all {
        assert!(matches!(*cause(result), SourceError::Deadline { .. }));
    }
    // Whoever came while the first question was on its way asks once more, for all of them.
    assert!(server.asked().len() <= 2, "{}", server.asked().len());
}

#[tokio::test]
async fn a_failure_refuses_nobody_who_comes_later() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(|asked| match asked.nth {
        0 => Reply::Json(503, String::new()),
        _ => listed(asked),
    });
    let attestor = stage.attestor();
    let pin = stage.agent.pin();
    assert!(matches!(*cause(attestor.selectors(&pin).await), SourceError::Status { status: 503 }));
    assert_eq!(attestor.selectors(&pin).await.unwrap().len(), 20);
}

#[tokio::test]
async fn processes_that_are_not_listed_do_not_keep_the_kubelet_busy() {
    let mut stage = Stage::new().await;
    let server = stage.serve(|_| Reply::Json(200, json!({ "items": [] }).to_string()));
    let attestor = stage.attestor();
    let pin = stage.agent.pin();
    let before = super::super::since_boot();
    let all = futures::future::join_all((0..20).map(|_| attestor.selectors(&pin))).await;
    let took = super::super::since_boot() - before;
    assert!(all.into_iter().all(|result| result.is_err()));
    // Asked for all of them at once, each of the four times; a straggler may miss its turn.
    let asked = u32::try_from(server.asked().len()).unwrap();
    assert!((4..=8).contains(&asked), "{asked}");
    assert!(took >= Duration::from_millis(50) * (asked - 1), "{asked} in {took:?}");
}

//! What an engine may say or do without being believed.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::*;

async fn refused(stage: &Stage, body: String) -> Arc<SourceError> {
    let _server = stage.serve(move |_| Reply::Json(200, body.clone()));
    let cause = cause(stage.attest().await);
    std::fs::remove_file(stage.socket()).unwrap();
    cause
}

#[tokio::test]
async fn another_container_than_asked_about_is_refused() {
    let stage = Stage::new();
    let body = stage.inspected(|body| body["Id"] = json!("b".repeat(64)));
    assert!(matches!(*refused(&stage, body).await, SourceError::OtherContainer));
}

#[tokio::test]
async fn a_container_that_does_not_run_is_refused() {
    let stage = Stage::new();
    let stopped = stage.inspected(|body| body["State"]["Running"] = json!(false));
    assert!(matches!(*refused(&stage, stopped).await, SourceError::NotRunning));
    for pid in [0, -1] {
        let body = stage.inspected(|body| body["State"]["Pid"] = json!(pid));
        assert!(matches!(*refused(&stage, body).await, SourceError::NotRunning), "{pid}");
    }
    let mut ended = Waiting::start();
    let body = stage.inspected(|body| body["State"]["Pid"] = json!(ended.pid()));
    ended.end();
    assert!(matches!(*refused(&stage, body).await, SourceError::NotRunning));
}

#[tokio::test]
async fn an_id_alone_is_not_enough_the_containers_own_process_must_be_in_the_same_cgroup() {
    let stage = Stage::new();
    for elsewhere in [
        "/",
        "/system.slice/ssh.service",
        // The same name in another place.
        &format!("/agents.slice/docker-{A}.scope"),
        &format!("/docker/{A}"),
        &format!("/system.slice/docker-{}.scope", "b".repeat(64)),
    ] {
        stage.cgroups.put(&stage.main, elsewhere);
        let body = stage.inspected(|_| {});
        let cause = refused(&stage, body).await;
        assert!(matches!(*cause, SourceError::Elsewhere), "{elsewhere}: {cause}");
    }
}

#[tokio::test]
async fn a_service_that_borrows_a_podman_containers_name_is_refused() {
    let stage = Stage::new();
    stage.cgroups.put(&stage.main, &format!("/system.slice/a.service/libpod-payload-{A}"));
    stage.cgroups.put(&stage.agent, &format!("/system.slice/b.service/libpod-payload-{A}"));
    let _server = stage.serve_inspected();
    let podman = EngineAttestor::podman(stage.config()).with_cgroups(stage.cgroups.clone());
    match podman.selectors(&stage.agent.pin()).await.unwrap_err() {
        AttestError::Source { attestor: "podman", source } => {
            assert!(matches!(*source, SourceError::Elsewhere), "{source}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_container_that_changes_while_it_is_asked_about_is_refused() {
    let stage = Stage::new();
    let other = Waiting::start();
    let first = stage.inspected(|_| {});
    for second in [
        Reply::Json(200, stage.inspected(|body| body["State"]["StartedAt"] = json!("later"))),
        Reply::Json(200, stage.inspected(|body| body["State"]["Pid"] = json!(other.pid()))),
        missing(),
    ] {
        let (first, second) = (first.clone(), std::sync::Mutex::new(Some(second)));
        let _server = stage.serve(move |asked| match asked.nth {
            0 => Reply::Json(200, first.clone()),
            _ => second.lock().unwrap().take().unwrap(),
        });
        assert!(matches!(*cause(stage.attest().await), SourceError::Changed));
        std::fs::remove_file(stage.socket()).unwrap();
    }
}

#[tokio::test]
async fn an_answer_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let stage = Stage::new();
    let body = stage.inspected(|_| {});
    let limit = body.len();
    let longer = format!("{body} ");
    let attest = async |body: String| {
        let _server = stage.serve(move |_| Reply::Json(200, body.clone()));
        let config = EngineConfig { max_response: limit, ..stage.config() };
        let docker = EngineAttestor::docker(config).with_cgroups(stage.cgroups.clone());
        let told = docker.selectors(&stage.agent.pin()).await;
        std::fs::remove_file(stage.socket()).unwrap();
        told
    };
    assert_eq!(attest(body).await.unwrap().len(), 7);
    let cause = cause(attest(longer).await);
    assert!(matches!(*cause, SourceError::TooLong { limit: told } if told == limit), "{cause}");
}

#[tokio::test]
async fn an_answer_without_end_is_refused_at_the_limit() {
    let stage = Stage::new();
    let _server = stage.serve(|_| Reply::Dribble);
    assert!(matches!(*cause(stage.attest().await), SourceError::TooLong { .. }));
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_waited_for_until_the_deadline() {
    let stage = Stage::new();
    let limit = Duration::from_millis(50);
    let config = EngineConfig { timeout: limit, ..stage.config() };
    let docker = EngineAttestor::docker(config).with_cgroups(stage.cgroups.clone());
    let _server = stage.serve(|_| Reply::Silence);
    let silent = cause(docker.selectors(&stage.agent.pin()).await);
    assert!(matches!(*silent, SourceError::Deadline { limit: told } if told == limit), "{silent}");
    // One that takes connections and reads nothing.
    std::fs::remove_file(stage.socket()).unwrap();
    let _listener = UnixListener::bind(stage.socket()).unwrap();
    let deaf = cause(docker.selectors(&stage.agent.pin()).await);
    assert!(matches!(*deaf, SourceError::Deadline { .. }), "{deaf}");
}

#[tokio::test]
async fn what_is_not_the_expected_json_is_refused_without_being_quoted() {
    let stage = Stage::new();
    let secret = "a-secret-of-the-container";
    let bodies = [
        String::new(),
        "[]".to_owned(),
        "null".to_owned(),
        secret.to_owned(),
        stage.inspected(|body| body["State"]["Pid"] = json!(secret)),
        stage.inspected(|body| body["State"]["Pid"] = json!(1_u64 << 40)),
        stage.inspected(|body| body["State"]["Running"] = json!(secret)),
        stage.inspected(|body| body["Config"]["Env"] = json!({ secret: secret })),
        stage.inspected(|body| body["Config"]["Labels"] = json!([secret])),
        stage.inspected(|body| body["State"] = json!(null)),
        stage.inspected(|body| drop(body.as_object_mut().unwrap().remove("Id"))),
        format!("{}{secret}", stage.inspected(|_| {})),
        stage.inspected(|_| {}).replacen('{', &format!("{{\"Id\":\"{secret}\","), 1),
    ];
    for body in bodies {
        let cause = refused(&stage, body.clone()).await;
        assert!(matches!(*cause, SourceError::Malformed { .. }), "{body}: {cause}");
        let told = format!("{cause} {cause:?}");
        assert!(!told.contains(secret), "{told}");
    }
}

#[tokio::test]
async fn a_status_that_means_nothing_is_refused() {
    let stage = Stage::new();
    for code in [204, 301, 400, 401, 403, 500, 503] {
        let _server = stage.serve(move |_| Reply::Json(code, "{}".to_owned()));
        let cause = cause(stage.attest().await);
        assert!(matches!(*cause, SourceError::Status { status } if status == code), "{cause}");
        std::fs::remove_file(stage.socket()).unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_an_error_not_an_empty_set() {
    let stage = Stage::new();
    assert!(matches!(*cause(stage.attest().await), SourceError::Connect { .. }));
    // A socket that nobody listens on any more.
    drop(UnixListener::bind(stage.socket()).unwrap());
    assert!(matches!(*cause(stage.attest().await), SourceError::Connect { .. }));
}

/// Counts one counter.
#[derive(Default)]
struct Counted(AtomicU64);

impl CounterFn for Counted {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, _value: u64) {}
}

struct Only(&'static str, Arc<Counted>);

impl Recorder for Only {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.to_string() == self.0 { Arc::clone(&self.1).into() } else { Counter::noop() }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn a_container_that_the_engine_does_not_know_earns_nothing_and_is_counted() {
    let stage = Stage::new();
    let _server = stage.serve(|_| missing());
    let counted = Arc::new(Counted::default());
    let name = "Key(marque_attestor_unknown_containers_total, [attestor = docker])";
    let recorder = Only(name, Arc::clone(&counted));
    let _local = metrics::set_default_local_recorder(&recorder);
    for times in 1..=2 {
        assert!(stage.attest().await.unwrap().is_empty());
        assert_eq!(counted.0.load(Ordering::SeqCst), times);
    }
}

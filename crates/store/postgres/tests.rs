use super::*;

fn schema() -> SchemaName {
    SchemaName::of(&"prod.example.org".parse().unwrap())
}

#[tokio::test]
async fn a_malformed_address_is_refused_without_repeating_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(marque_testkit::FixedClock::default());
    let domain = "prod.example.org".parse().unwrap();
    let url = "postgres://user:hunter2@host:port/db";
    let refused = PostgresStore::connect(url, dir.path(), &domain, clock).await.unwrap_err();
    assert!(matches!(refused, StoreError::Address), "{refused:?}");
    assert!(!format!("{refused:?} {refused}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(marque_testkit::FixedClock::default());
    let domain = "prod.example.org".parse().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://user@127.0.0.1:{}/db", listener.local_addr().unwrap().port());
    drop(listener);
    let refused = PostgresStore::connect(&url, dir.path(), &domain, clock).await.unwrap_err();
    assert!(matches!(refused, StoreError::Server(_)), "{refused:?}");
}

#[test]
fn the_operators_options_stay_and_ours_have_the_last_word() {
    let config = "host=localhost options='-c synchronous_commit=off -c jit=off'".parse().unwrap();
    let configured = configured(config, &schema());
    let options = configured.get_options().unwrap();
    assert!(options.starts_with("-c synchronous_commit=off -c jit=off "), "{options}");
    assert!(
        options.rfind("synchronous_commit=on") > options.rfind("synchronous_commit=off"),
        "{options}"
    );
    assert!(options.ends_with(&format!("search_path={}", schema())), "{options}");
    assert_eq!(configured.get_application_name(), Some(schema().as_str()));
}

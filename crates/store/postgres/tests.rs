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

/// The server that tests may use.
fn server() -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "which databases a test may use is a matter of its environment"
    )]
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let url = variable("MARQUE_TEST_POSTGRES_URL");
    assert!(
        url.is_some() || variable("MARQUE_REQUIRE_POSTGRES").as_deref() != Some("1"),
        "MARQUE_REQUIRE_POSTGRES=1, but MARQUE_TEST_POSTGRES_URL names no database"
    );
    url
}

#[tokio::test]
async fn oauth_15_asking_for_status_lists_reads_an_index_and_looks_at_no_other_token() {
    let Some(url) = server() else { return };
    let domain = format!("t{}.example.org", uuid::Uuid::new_v4().simple()).parse().unwrap();
    let config = configured(Config::from_str(&url).unwrap(), &SchemaName::of(&domain));
    schema::prepare(&config, &SchemaName::of(&domain), &domain).await.unwrap();
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    // Twenty thousand tokens, every other one expired, of which three ended before that.
    let fill = "INSERT INTO intents VALUES ('int_1', 'a', 'p', 'approved', 1, 0, '{}');
        INSERT INTO tokens (id, intent, expires_at, document, place, ended_at)
        SELECT 'tok_' || i, 'int_1', 1000 + i % 2 * 2000, '{}', i, CASE WHEN i < 3 THEN 1 END
        FROM generate_series(0, 20000) AS n (i);
        ANALYZE tokens";
    client.batch_execute(fill).await.unwrap();
    let ended =
        |now: &str| read::ENDED.replace("$1", "0").replace("$2", "131072").replace("$3", now);
    for (query, index) in [
        (read::FIRST_PLACE.to_owned(), "tokens_by_place"),
        (ended("999"), "tokens_ended"),
        (ended("2000"), "tokens_ended"),
    ] {
        let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {query}");
        let rows = client.query(&explain, &[]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
        assert!(!plan.contains("Rows Removed"), "{plan}");
    }
    let drop = format!(
        "SET client_min_messages = warning; DROP SCHEMA {} CASCADE",
        SchemaName::of(&domain)
    );
    client.batch_execute(&drop).await.unwrap();
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

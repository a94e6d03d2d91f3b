//! What only this engine can meet: full disks, locks of other processes, files that are something else.

mod copies;
mod older;

use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_testkit::FixedClock;
use tempfile::TempDir;

use super::*;
use crate::queue::{Job, MAX_BATCH};
use crate::transactions::Append;
use crate::writer::answer;

/// A connection that is configured like the writer's, without its thread.
struct Bench {
    dir: TempDir,
    connection: Connection,
    shared: Shared,
    queue: Arc<Queue>,
    receiver: Receiver<Box<dyn Job>>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(dir.path().join("marque.sqlite")).unwrap();
        configure(&connection).unwrap();
        migrations().run(&mut connection).unwrap();
        let trust_domain: TrustDomain = "prod.example.org".parse().unwrap();
        let (journal, orders) = Journal::open(&dir.path().join("kills"), &trust_domain).unwrap();
        let kills = KillBoard::new(journal, orders, marque_intent::KillState::default());
        let clock = Arc::new(FixedClock::default());
        let intents = Arc::new(crate::known::KnownIntents::new());
        let status_key = marque_exchange::StatusKey::new([7; 32]);
        let size = watch::Sender::new(0);
        let heard = Heard::alone();
        let pace = std::sync::RwLock::default();
        let tenant = std::sync::RwLock::default();
        let shared =
            Shared { trust_domain, status_key, clock, kills, heard, intents, size, pace, tenant };
        let (sender, receiver) = channel();
        Self {
            dir,
            connection,
            shared,
            queue: Arc::new(Queue::new(Mailbox::Thread(sender))),
            receiver,
        }
    }

    fn other(&self) -> Connection {
        Connection::open(self.dir.path().join("marque.sqlite")).unwrap()
    }

    /// Puts an event into the queue, lets the writer commit it, and tells what its caller was told.
    async fn append(&mut self, event: Event) -> Result<u64, Failure> {
        let queue = self.queue.clone();
        let caller = tokio::spawn(async move { queue.run(Append { event }).await });
        while self.receiver.try_recv().map(|job| self.commit(job)).is_err() {
            tokio::task::yield_now().await;
        }
        caller.await.unwrap()
    }

    fn commit(&mut self, job: Box<dyn Job>) {
        let mut jobs = vec![job];
        let committed = writer::commit(&mut self.connection, &self.shared, &mut jobs);
        answer(jobs, &committed);
    }
}

fn event() -> Event {
    Event::new(EventKind::TokenRefused, Timestamp::UNIX_EPOCH)
}

fn size(connection: &Connection) -> u64 {
    head(connection).unwrap().size
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_nothing_is_recorded_or_answered_as_done() {
    let mut bench = Bench::new();
    assert_eq!(bench.append(event()).await.unwrap(), 0);
    let pages: i64 =
        bench.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    bench.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let large = || event().with_detail("pad", "x".repeat(60_000));
    let refused = bench.append(large()).await;
    assert!(matches!(refused, Err(Failure::Engine(_))), "{refused:?}");
    assert_eq!((size(&bench.other()), *bench.shared.size.borrow()), (1, 1));
    bench.connection.pragma_update(None, "max_page_count", pages + 1000).unwrap();
    assert_eq!(bench.append(large()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_read_only_database_is_an_error() {
    let mut bench = Bench::new();
    bench.connection.pragma_update(None, "query_only", true).unwrap();
    assert!(matches!(bench.append(event()).await, Err(Failure::Engine(_))));
    bench.connection.pragma_update(None, "query_only", false).unwrap();
    assert_eq!(bench.append(event()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_that_somebody_else_holds_is_an_error() {
    let mut bench = Bench::new();
    bench.connection.busy_timeout(Duration::ZERO).unwrap();
    let holder = bench.other();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(bench.append(event()).await, Err(Failure::Engine(_))));
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(bench.append(event()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_batch_takes_all_that_wait_up_to_its_limit() {
    let bench = Bench::new();
    let callers: Vec<_> = (0..MAX_BATCH + 3)
        .map(|_| {
            let queue = bench.queue.clone();
            tokio::spawn(async move { queue.run(Append { event: event() }).await })
        })
        .collect();
    while bench.queue.waiting() < MAX_BATCH + 3 {
        tokio::task::yield_now().await;
    }
    let mut linger = crate::queue::Linger::default();
    let mut batch = || {
        let first = bench.receiver.recv().unwrap();
        writer::gather(first, &bench.receiver, &mut linger).len()
    };
    let sizes = [batch(), batch()];
    assert_eq!(sizes, [MAX_BATCH, 3]);
    drop(bench);
    for caller in callers {
        assert!(matches!(caller.await.unwrap(), Err(Failure::Stopped)));
    }
}

#[tokio::test]
async fn a_batch_waits_about_a_millisecond_for_company_and_not_longer() {
    let bench = Bench::new();
    let queue = bench.queue.clone();
    let caller = tokio::spawn(async move { queue.run(Append { event: event() }).await });
    tokio::task::yield_now().await;
    let job = bench.receiver.recv().unwrap();
    let mut linger = crate::queue::Linger::default();
    linger.took(64);
    let began = Instant::now();
    assert_eq!(writer::gather(job, &bench.receiver, &mut linger).len(), 1);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(1), "{waited:?}");
    caller.abort();
}

#[test]
fn an_unsafe_setting_is_refused() {
    let bench = Bench::new();
    bench.connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
    let refused = durability(&bench.connection);
    assert!(
        matches!(&refused, Err(StoreError::NotDurable { setting: "synchronous", value }) if value == "1"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_file_and_its_journal_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marque.sqlite");
    let domain = "prod.example.org".parse().unwrap();
    let store = SqliteStore::open(&path, &domain, Arc::new(FixedClock::default())).await.unwrap();
    store.queue.run(Append { event: event() }).await.unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            file.file_name()
        );
        seen += 1;
    }
    assert!(seen >= 3, "the database, its log and the journal");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marque.sqlite");
    std::fs::write(&path, "something else ".repeat(100)).unwrap();
    let domain = "prod.example.org".parse().unwrap();
    let refused = SqliteStore::open(&path, &domain, Arc::new(FixedClock::default())).await;
    assert!(matches!(refused, Err(StoreError::File { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_place_among_the_readers_is_taken_until_the_query_ends_although_its_caller_went_away() {
    let bench = Bench::new();
    let readers = Arc::new(Readers::new(
        bench.dir.path().join("marque.sqlite"),
        bench.shared.intents.clone(),
    ));
    let (begun, mut running) = tokio::sync::mpsc::unbounded_channel();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let places = readers.free_places();
    let callers: Vec<_> = (0..places)
        .map(|_| {
            let (readers, begun, held) = (readers.clone(), begun.clone(), held.clone());
            tokio::spawn(async move {
                let query = move |_: &Connection| {
                    begun.send(()).unwrap();
                    held.lock().unwrap().recv().unwrap_err();
                    Ok(())
                };
                readers.run(query).await
            })
        })
        .collect();
    for _ in 0..places {
        running.recv().await.unwrap();
    }
    for caller in callers {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    assert_eq!(readers.free_places(), 0);
    drop(release);
    readers.run(|_| Ok(())).await.unwrap();
    while readers.free_places() < places {
        tokio::task::yield_now().await;
    }
}

/// How many rows each query of status lists looks at, by the steps of the engine's machine.
fn steps(connection: &Connection, query: &str, parameters: &[i64]) -> i32 {
    let mut statement = connection.prepare(query).unwrap();
    let rows = statement
        .query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, i64>(0))
        .unwrap()
        .count();
    assert!(rows <= 3, "{rows} rows");
    statement.get_status(rusqlite::StatementStatus::VmStep)
}

fn plan(connection: &Connection, query: &str, parameters: &[i64]) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
    let rows =
        statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn oauth_15_asking_for_status_lists_costs_the_same_however_many_tokens_there_are() {
    let bench = Bench::new();
    let tokens = |from: i64, to: i64| {
        // Every token has expired by 1000; the intents are nobody's business here.
        bench.connection.pragma_update(None, "foreign_keys", false).unwrap();
        let fill =
            "WITH RECURSIVE n (i) AS (VALUES (?1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT INTO tokens (id, intent, expires_at, document, place, ended_at)
             SELECT 'tok_' || i, 'int_' || i, 1000, '{}', i, CASE WHEN i < 3 THEN 1 END FROM n";
        bench.connection.execute(fill, [from, to]).unwrap();
    };
    let cost = || {
        [
            steps(&bench.connection, read::FIRST_PLACE, &[]),
            steps(&bench.connection, read::ENDED, &[0, 1 << 17, 999]),
            steps(&bench.connection, read::ENDED, &[0, 1 << 17, 2000]),
        ]
    };
    tokens(0, 9);
    let few = cost();
    tokens(10, 20_000);
    assert_eq!(cost(), few);
    let first = plan(&bench.connection, read::FIRST_PLACE, &[]);
    assert_eq!(first, ["SEARCH tokens USING COVERING INDEX tokens_by_place (place>?)"]);
    let ended = plan(&bench.connection, read::ENDED, &[0, 1, 2]);
    assert_eq!(ended, ["SEARCH tokens USING INDEX tokens_ended (place>? AND place<?)"]);
}

#[test]
fn the_queue_of_approvers_is_found_by_its_state_alone() {
    let bench = Bench::new();
    let queue = marque_intent::IntentFilter {
        state: Some(marque_intent::State::Pending),
        order: marque_intent::ListOrder::Queue,
        ..marque_intent::IntentFilter::default()
    };
    let found = plan(&bench.connection, &read::listing(&queue), &[0, 0, 0]);
    let by_state = "SEARCH intents USING INDEX intents_by_state (state=?)";
    assert!(found.iter().any(|step| step == by_state), "{found:?}");
}

#[test]
fn a_kill_does_not_wait_for_the_runtimes_threads_for_blocking_work() {
    use marque_intent::{IntentStore, KillMode, KillScope, NewKill, Reason};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marque.sqlite");
    let domain = "prod.example.org".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let clock = Arc::new(FixedClock::default());
    let store = runtime.block_on(SqliteStore::open(&path, &domain, clock)).unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    let reason = Reason::new("drill").unwrap();
    let (mode, actor) = (KillMode::Stop, "operator:alice(1000)".to_owned());
    let kill = NewKill {
        scope: KillScope::All,
        mode,
        reason,
        actor,
        expires_at: None,
        origin: None,
        hits: Default::default(),
    };
    let state = runtime.block_on(store.kill(kill, Timestamp::UNIX_EPOCH)).unwrap();
    assert_eq!(state.epoch, 1);
    let journal = std::fs::read_to_string(journal_path(&path)).unwrap();
    assert_eq!(journal.lines().count(), 1);
    drop(release);
}

#[tokio::test]
async fn a_kill_does_not_wait_for_a_database_that_does_not_answer() {
    use marque_intent::{IntentStore, KillMode, KillScope, NewKill, Reason};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marque.sqlite");
    let domain = "prod.example.org".parse().unwrap();
    let store = SqliteStore::open(&path, &domain, Arc::new(FixedClock::default())).await.unwrap();
    let holder = Connection::open(&path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let reason = Reason::new("drill").unwrap();
    let (mode, actor) = (KillMode::Stop, "operator:alice(1000)".to_owned());
    let kill = NewKill {
        scope: KillScope::All,
        mode,
        reason,
        actor,
        expires_at: None,
        origin: None,
        hits: Default::default(),
    };
    let state = store.kill(kill, Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(state.epoch, 1);
    assert_eq!(kills(&holder).unwrap().epoch, 0);
    holder.execute_batch("ROLLBACK").unwrap();
    // It was only late.
    marque_audit::LogStore::changed(&store).wait_for(|size| *size == 1).await.unwrap();
    assert_eq!(kills(&holder).unwrap(), state);
}

//! What the other replicas did: the size of the log and the kill state, looked up every second, and at once when somebody
//! says by NOTIFY that there is something new.
//!
//! The two go by ways of their own. A replica that cannot listen hears of everything a second later; one that cannot look
//! up either stops answering for what it does not know ([`marque_exchange::TokenStore::current_kills`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use marque_exchange::KILLS_HEARD_WITHIN;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Config, NoTls};

use super::read::PooledReader;
use super::{SchemaName, pool};
use crate::Failure;
use crate::reader::Reader;
use crate::writer::Shared;

/// How long to rely on pushes alone. With the time of one look-up it stays within [`KILLS_HEARD_WITHIN`].
const LOOK_UP_EVERY: Duration = Duration::from_secs(1);
/// How long one look-up may take.
const LOOK_UP_WITHIN: Duration = Duration::from_millis(900);
/// How long to wait before another connection is tried.
const RECONNECT_AFTER: Duration = Duration::from_millis(250);

/// Runs until it is aborted.
pub(super) async fn run(
    config: Config,
    schema: SchemaName,
    shared: Arc<Shared>,
    reader: Arc<PooledReader>,
) {
    let something_new = Notify::new();
    futures::join!(
        keep_listening(&config, &schema, &something_new),
        follow(&config, &shared, &reader, &something_new),
    );
}

async fn keep_listening(config: &Config, schema: &SchemaName, something_new: &Notify) {
    loop {
        if let Err(failure) = listen(config, schema, something_new).await {
            let error = &failure as &dyn std::error::Error;
            tracing::warn!(error, "what other replicas do is heard with delay");
        }
        sleep(RECONNECT_AFTER).await;
    }
}

/// Listens on one connection, as long as it holds.
async fn listen(
    config: &Config,
    schema: &SchemaName,
    something_new: &Notify,
) -> Result<(), Failure> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let driver = async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                // One waiting notice is enough: the look-up after it sees everything.
                Some(Ok(AsyncMessage::Notification(_))) => something_new.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Failure::from(error)),
                None => return Ok(()),
            }
        }
    };
    let begin = async {
        client.batch_execute(&format!("LISTEN {schema}")).await?;
        // What was said before is not said again.
        something_new.notify_one();
        std::future::pending().await
    };
    tokio::select! {
        ended = driver => ended,
        ended = begin => ended,
    }
}

/// Looks up on a connection that nobody else uses; while there is none, on one of those that everybody reads by.
async fn follow(
    config: &Config,
    shared: &Shared,
    everybodys: &PooledReader,
    something_new: &Notify,
) {
    let mut own = None;
    loop {
        let reader = match &own {
            Some(reader) => reader,
            None => match pool(config.clone(), 1) {
                Ok(pool) => own.insert(PooledReader::new(pool, shared.intents.clone())),
                Err(_unbuilt) => everybodys,
            },
        };
        let mut heard = look_up(shared, reader).await;
        if heard.is_err() {
            // A connection that does not answer is not used again.
            own = None;
            heard = look_up(shared, everybodys).await;
        }
        match heard {
            Ok(()) => drop(timeout(LOOK_UP_EVERY, something_new.notified()).await),
            Err(failure) => {
                tell(failure.as_ref());
                sleep(RECONNECT_AFTER).await;
            }
        }
    }
}

fn tell(failure: Option<&Failure>) {
    let error = failure.map(|failure| failure as &dyn std::error::Error);
    tracing::warn!(error, "what other replicas do is not heard");
}

/// Takes up what the database says now; the error is none where it said nothing in time.
async fn look_up(shared: &Shared, reader: &PooledReader) -> Result<(), Option<Failure>> {
    let asked = Instant::now();
    let answer = async {
        let head = reader.head().await?;
        shared.grown(head.size);
        // Whatever their number: after a fail-over that lost a kill, another one may have it.
        shared.kills.store(reader.kills().await?);
        Ok(())
    };
    match timeout(LOOK_UP_WITHIN.min(KILLS_HEARD_WITHIN), answer).await {
        Ok(Ok(())) => {
            shared.heard.hear(asked);
            Ok(())
        }
        Ok(Err(failure)) => Err(Some(failure)),
        Err(_late) => Err(None),
    }
}

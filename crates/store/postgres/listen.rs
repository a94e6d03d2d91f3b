//! What the other replicas did: the size of the log and the kill state, pushed by NOTIFY and looked up every second in case
//! a push was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Config, NoTls};

use super::SchemaName;
use super::read::PooledReader;
use crate::Failure;
use crate::reader::Reader;
use crate::writer::Shared;

/// How long to rely on pushes alone.
const LOOK_UP_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before another connection is tried.
const RECONNECT_AFTER: Duration = Duration::from_millis(250);

/// Runs until it is aborted.
pub(super) async fn run(
    config: Config,
    schema: SchemaName,
    shared: Arc<Shared>,
    reader: Arc<PooledReader>,
) {
    loop {
        if let Err(failure) = listen(&config, &schema, &shared, &reader).await {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "what other replicas do is not heard"
            );
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Listens on one connection, as long as it holds.
async fn listen(
    config: &Config,
    schema: &SchemaName,
    shared: &Shared,
    reader: &PooledReader,
) -> Result<(), Failure> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let (sender, mut heard) = mpsc::channel(1);
    let driver = async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                // One waiting notice is enough: the look-up after it sees everything.
                Some(Ok(AsyncMessage::Notification(_))) => drop(sender.try_send(())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Failure::from(error)),
                None => return Ok(()),
            }
        }
    };
    let follow = async {
        client.batch_execute(&format!("LISTEN {schema}")).await?;
        loop {
            look_up(shared, reader).await?;
            if let Ok(None) = timeout(LOOK_UP_EVERY, heard.recv()).await {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = driver => ended,
        ended = follow => ended,
    }
}

/// Takes up what the database says now.
async fn look_up(shared: &Shared, reader: &PooledReader) -> Result<(), Failure> {
    let head = reader.head().await?;
    shared.grown(head.size);
    if shared.known_kills(head.kill_epoch).is_none() {
        shared.kills.store(reader.kills().await?);
    }
    Ok(())
}

//! Open streams, and whoever waits for messages on them.

use std::path::Path;

use tokio::sync::mpsc;
use tonic::Streaming;

use super::child::{commands, say};
use super::protocol::{Client, X509SvidResponse, message};

pub(crate) const PART: &str = "holder";

/// Streams that have had their first message, each on its place among so many to one connection.
pub(crate) async fn open(
    socket: &Path,
    connections: usize,
    streams_each: usize,
) -> Vec<Streaming<X509SvidResponse>> {
    let mut streams = Vec::with_capacity(connections * streams_each);
    for _ in 0..connections {
        let mut client = Client::connect(socket).await;
        for _ in 0..streams_each {
            let mut stream = client.x509_svids().await.expect("a stream");
            message(&mut stream).await;
            streams.push(stream);
        }
    }
    streams
}

/// Says so on the channel whenever one of the streams has a message: how many identities there are in it.
pub(crate) fn listen(streams: Vec<Streaming<X509SvidResponse>>) -> mpsc::UnboundedReceiver<usize> {
    let (said, heard) = mpsc::unbounded_channel();
    for mut stream in streams {
        let said = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                if said.send(message.svids.len()).is_err() {
                    return;
                }
            }
        });
    }
    heard
}

/// The part: holds streams until the standard input ends, and says a line for each message after the first.
pub(crate) async fn hold(socket: &Path, connections: usize, streams_each: usize) {
    let streams = open(socket, connections, streams_each).await;
    let mut heard = listen(streams);
    say("ready");
    let mut commands = commands();
    loop {
        tokio::select! {
            message = heard.recv() => {
                let identities = message.expect("the streams go on");
                say(&identities.to_string());
            }
            order = commands.next_line() => {
                if order.expect("a line").is_none() {
                    return;
                }
            }
        }
    }
}

//! The least that durable records cost: one thread writes all that wait behind each other, with one `fdatasync`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use tokio::sync::oneshot;

/// A file that many append to.
pub(crate) struct GroupCommit {
    queue: Sender<(Vec<u8>, oneshot::Sender<()>)>,
}

impl GroupCommit {
    pub(crate) fn start(path: &Path) -> Self {
        let mut file = File::options().create_new(true).append(true).open(path).expect("a file");
        let (queue, waiting) = channel::<(Vec<u8>, oneshot::Sender<()>)>();
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let all: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                let bytes: Vec<u8> = all.iter().flat_map(|(record, _)| record.clone()).collect();
                file.write_all(&bytes).expect("written");
                file.sync_data().expect("fdatasync");
                // Whoever went away does not have to be told.
                all.into_iter().for_each(|(_, done)| done.send(()).unwrap_or_default());
            }
        });
        Self { queue }
    }

    pub(crate) async fn write(&self, record: [u8; 700]) {
        let (done, written) = oneshot::channel();
        self.queue.send((record.to_vec(), done)).expect("the writer is there");
        written.await.expect("written");
    }
}

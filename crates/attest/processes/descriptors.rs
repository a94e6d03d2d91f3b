use std::io::Write;
use std::os::unix::net::UnixStream;

use super::role::{Stage, hear};
use super::unix_attestors;
use crate::{AttestError, Peer};

const ROUNDS: usize = 500;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Played alone in a process, so that no other test opens descriptors meanwhile.
pub(super) fn count(answer: &UnixStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let attestors = unix_attestors();
    let (own, _other) = UnixStream::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let stage = Stage::new();
    let mut started = stage.start_self("obey");
    let gone = stage.accept_unpinned();
    started.0.kill().unwrap();
    started.0.wait().unwrap();
    let round = || {
        let peer = Peer::capture(&own).unwrap();
        runtime.block_on(async {
            attestors.attest(&peer).await.unwrap();
            assert!(futures::FutureExt::now_or_never(peer.exited()).is_none());
        });
        assert!(matches!(Peer::capture(&file), Err(AttestError::PeerCredentials(_))));
        assert!(matches!(Peer::capture(&gone), Err(AttestError::Exited { .. })));
    };
    round();
    let before = open_descriptors();
    (0..ROUNDS).for_each(|_| round());
    writeln!(&*answer, "{before} {}", open_descriptors()).unwrap();
}

#[test]
fn no_descriptor_stays_open_after_success_or_early_error() {
    let stage = Stage::new();
    let _started = stage.start_self("count-descriptors");
    let answer = hear(&stage.accept_unpinned());
    let (before, after) = answer.split_once(' ').unwrap();
    assert_eq!(before, after);
}

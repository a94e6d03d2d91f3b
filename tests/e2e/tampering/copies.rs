//! Exported copies that somebody alters.

use std::fs;
use std::path::{Path, PathBuf};

use marque_audit::{Checkpoint, Hash, Leaf, SignedCheckpoint, VerifierKey};

use super::{Row, Stranger, forged, has_ticket};
use crate::audit::{found, key};
use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::oauth::{Client, approved_rotation};
use crate::support::{folder, log};

/// An exported folder with one bundle.
pub(crate) struct Copy {
    entries: PathBuf,
    hashes: PathBuf,
    checkpoint: PathBuf,
}

fn one_file(folder: &Path) -> PathBuf {
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

impl Copy {
    fn of(folder: &Path) -> Self {
        Self {
            entries: one_file(&folder.join("tile/entries/000.p")),
            hashes: one_file(&folder.join("tile/0/000.p")),
            checkpoint: folder.join("checkpoint"),
        }
    }

    /// Makes one of these leaves, signed by a stranger; the key that verifies it.
    pub(crate) fn sign(folder: &Path, leaves: &[Leaf]) -> String {
        let place = |kind: &str| folder.join(format!("tile/{kind}/000.p/{}", leaves.len()));
        let copy = Self {
            entries: place("entries"),
            hashes: place("0"),
            checkpoint: folder.join("checkpoint"),
        };
        for file in [&copy.entries, &copy.hashes] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        let rows: Vec<Row> = leaves
            .iter()
            .map(|leaf| (leaf.hash().as_bytes().to_vec(), leaf.bytes().to_vec()))
            .collect();
        copy.write(&rows);
        let origin = format!("{PRODUCTION}/marque/audit");
        let hashes: Vec<Hash> = leaves.iter().map(Leaf::hash).collect();
        let (size, root) = (leaves.len() as u64, marque_audit::merkle::root(&hashes));
        let stranger = Stranger::new(&origin);
        let signed = SignedCheckpoint::sign(&Checkpoint { origin, size, root }, &stranger).unwrap();
        fs::write(&copy.checkpoint, signed.text()).unwrap();
        VerifierKey::of(&stranger).unwrap().to_string()
    }

    fn leaves(&self) -> Vec<Row> {
        let bundle = fs::read(&self.entries).unwrap();
        let mut rest = bundle.as_slice();
        let mut leaves = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let (leaf, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
            leaves.push((Hash::of_leaf(leaf).as_bytes().to_vec(), leaf.to_vec()));
            rest = behind;
        }
        leaves
    }

    fn write(&self, leaves: &[Row]) {
        let bundle = leaves.iter().flat_map(|(_, leaf)| {
            let length = u16::try_from(leaf.len()).unwrap().to_be_bytes();
            [length.to_vec(), leaf.clone()].concat()
        });
        fs::write(&self.entries, bundle.collect::<Vec<u8>>()).unwrap();
        let hashes: Vec<u8> = leaves.iter().flat_map(|(hash, _)| hash.clone()).collect();
        fs::write(&self.hashes, hashes).unwrap();
    }
}

/// What is done to a copy, and how that is called.
type Alteration = (&'static str, fn(&Copy), &'static str);

const ALTERATIONS: [Alteration; 9] = [
    (
        "flip",
        |copy| {
            let mut bundle = fs::read(&copy.entries).unwrap();
            bundle[60] ^= 1;
            fs::write(&copy.entries, bundle).unwrap();
        },
        "leaf_altered",
    ),
    (
        "flip a hash",
        |copy| {
            let mut hashes = fs::read(&copy.hashes).unwrap();
            hashes[3] ^= 1;
            fs::write(&copy.hashes, hashes).unwrap();
        },
        "leaf_altered",
    ),
    (
        "drop",
        |copy| {
            let mut leaves = copy.leaves();
            leaves.remove(3);
            copy.write(&leaves);
        },
        "tile_mismatch",
    ),
    (
        "drop from the leaves alone",
        |copy| {
            let (mut leaves, hashes) = (copy.leaves(), fs::read(&copy.hashes).unwrap());
            leaves.remove(3);
            copy.write(&leaves);
            fs::write(&copy.hashes, hashes).unwrap();
        },
        "leaf_altered",
    ),
    (
        "reorder",
        |copy| {
            let mut leaves = copy.leaves();
            leaves.swap(3, 4);
            copy.write(&leaves);
        },
        "leaf_altered",
    ),
    (
        "drop a file",
        |copy| {
            fs::remove_file(&copy.entries).unwrap();
        },
        "tile_missing",
    ),
    (
        "cut short",
        |copy| {
            let mut bundle = fs::read(&copy.entries).unwrap();
            bundle.truncate(bundle.len() - 10);
            fs::write(&copy.entries, bundle).unwrap();
        },
        "bundle_malformed",
    ),
    (
        "fork",
        |copy| {
            let mut leaves = copy.leaves();
            let at = leaves.iter().position(has_ticket).unwrap();
            leaves[at] = forged(&leaves[at].1);
            copy.write(&leaves);
        },
        "history_rewritten",
    ),
    (
        "sign again",
        |copy| {
            let checkpoint = fs::read_to_string(&copy.checkpoint).unwrap();
            fs::write(&copy.checkpoint, Stranger::sign_again(&checkpoint)).unwrap();
        },
        "checkpoint_untrusted",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_altered_is_found_and_named() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let operator = daemon.operator(PRODUCTION);
    log::export(&operator, &daemon.path("earlier")).await;
    rotator.exchange(&approved_rotation(&daemon, &rotator).await).await.expect(200);
    log::export(&operator, &daemon.path("log")).await;
    let kept = daemon.path("log/checkpoint").display().to_string();
    let key = key(&operator).await;
    let verify = async |name: &str| {
        let copy = daemon.path(name).display().to_string();
        let from = ["audit", "verify", "--log", &copy, "--key", &key, "--checkpoint", &kept];
        operator.run(&from).await
    };
    verify("log").await.succeeded();
    // Shortened to what was signed for before: whole in itself, and found by the newer checkpoint alone.
    let truncated = verify("earlier").await;
    assert_eq!(found(&truncated), "shrunk");
    assert!(truncated.err.contains("the log was cut back"), "{truncated:?}");
    let earlier = daemon.path("earlier").display().to_string();
    operator.run(&["audit", "verify", "--log", &earlier, "--key", &key]).await.succeeded();
    for (name, alter, code) in ALTERATIONS {
        folder::copy(&daemon.path("log"), &daemon.path(name));
        alter(&Copy::of(&daemon.path(name)));
        assert_eq!(found(&verify(name).await), code, "{name}");
    }
}

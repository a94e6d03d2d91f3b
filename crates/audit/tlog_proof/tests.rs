use super::*;
use crate::merkle::{inclusion_proof, root};
use crate::testing::{ORIGIN, TestSigner, leaves};

fn proof(count: usize, index: usize) -> TlogProof {
    let leaves = leaves(count);
    let hashes: Vec<Hash> = leaves.iter().map(Leaf::hash).collect();
    let checkpoint =
        Checkpoint { origin: ORIGIN.to_owned(), size: count as u64, root: root(&hashes) };
    let signed = SignedCheckpoint::sign(&checkpoint, &TestSigner::new(1)).unwrap();
    TlogProof::new(&leaves[index], inclusion_proof(&hashes, index).unwrap(), &signed)
}

fn verified(text: &str) -> Result<ProvenLeaf, TlogProofError> {
    TlogProof::parse(text)?.verify(&TestSigner::new(1).key())
}

/// The example of C2SP tlog-proof, with a whole key in place of what it leaves out.
const PUBLISHED: &str = "c2sp.org/tlog-proof@v1
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

\u{2014} example.com/fancylog hI2DJwAA
";

#[test]
fn a_proof_reads_back_what_it_writes_and_proves_its_leaf() {
    for (count, index) in [(1, 0), (2, 1), (9, 8), (300, 17)] {
        let proof = proof(count, index);
        let text = proof.to_text();
        assert_eq!(TlogProof::parse(&text).unwrap(), proof);
        let proven = verified(&text).unwrap();
        assert_eq!(proven.leaf.seq(), index as u64);
        assert_eq!(proven.checkpoint.size, count as u64);
    }
}

#[test]
fn the_published_form_reads_and_writes_back() {
    let read = TlogProof::parse(PUBLISHED).unwrap();
    assert_eq!((read.index(), read.path.len(), read.leaf.as_ref()), (73_894, 2, None));
    assert_eq!(read.to_text(), PUBLISHED);
}

#[test]
fn every_part_of_a_proof_that_is_changed_is_named() {
    let text = proof(9, 4).to_text();
    let lines: Vec<&str> = text.split('\n').collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n")
    };
    let other = proof(9, 5).to_text();
    let other: Vec<&str> = other.split('\n').collect();
    for (spoiled, kind) in [
        (with(0, "c2sp.org/tlog-proof@v2"), "proof_malformed"),
        (with(1, "extra !"), "proof_malformed"),
        (with(1, "other"), "proof_malformed"),
        (with(2, "index 04"), "proof_malformed"),
        (with(3, "AAAA"), "proof_malformed"),
        (with(1, other[1]), "leaf_not_included"),
        (with(2, "index 5"), "leaf_not_included"),
        (with(3, other[3]), "leaf_not_included"),
        (text.replacen("\n9\n", "\n8\n", 1), "checkpoint_untrusted"),
        (text.replace("\n\n", "\n"), "proof_malformed"),
        (lines[..1].join("\n"), "proof_malformed"),
    ] {
        assert_ne!(spoiled, text);
        assert_eq!(verified(&spoiled).unwrap_err().kind(), kind, "{spoiled}");
    }
    let key = TestSigner::new(2).key();
    let error = TlogProof::parse(&text).unwrap().verify(&key).unwrap_err();
    assert_eq!(error.kind(), "checkpoint_untrusted");
}

#[test]
fn a_proof_past_its_limits_is_refused() {
    let text = proof(2, 0).to_text();
    let hash = format!("{}\n", Hash::of_leaf(b""));
    let of =
        |hashes: usize| text.replacen("index 0\n", &format!("index 0\n{}", hash.repeat(hashes)), 1);
    // One hash is the proof's own.
    assert!(TlogProof::parse(&of(MAX_HASHES - 1)).is_ok());
    assert!(TlogProof::parse(&of(MAX_HASHES)).is_err());
    let padded = |length: usize| format!("{text}{}", "x".repeat(length - text.len()));
    assert!(TlogProof::parse(&padded(MAX_PROOF_BYTES)).is_ok());
    assert!(TlogProof::parse(&padded(MAX_PROOF_BYTES + 1)).is_err());
}

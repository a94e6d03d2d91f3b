use super::*;
use crate::testing::{MemoryLog, ORIGIN, TestSigner, event, leaves};
use crate::{EventKind, merkle};

fn sequencer(store: &Arc<MemoryLog>) -> Sequencer {
    Sequencer::new(store.clone(), Arc::new(TestSigner::new(1)), ORIGIN.to_owned())
}

#[tokio::test]
async fn it_signs_what_is_new_and_nothing_twice() {
    let store = Arc::new(MemoryLog::of(leaves(PAGE + 3)));
    let mut sequencer = sequencer(&store);
    let first = sequencer.advance().await.unwrap().unwrap();
    assert_eq!(first.checkpoint().size, PAGE as u64 + 3);
    assert_eq!(sequencer.advance().await.unwrap(), None);
    store.append(event(EventKind::Kill, "int_x", 9)).await.unwrap();
    let second = sequencer.advance().await.unwrap().unwrap();
    let hashes: Vec<_> = store.leaves.lock().unwrap().iter().map(crate::Leaf::hash).collect();
    assert_eq!(second.checkpoint().root, merkle::root(&hashes));
    assert_eq!(store.checkpoint().await.unwrap().unwrap().text, second.text());
}

#[tokio::test]
async fn an_empty_log_gets_no_checkpoint() {
    let store = Arc::new(MemoryLog::of(Vec::new()));
    assert_eq!(sequencer(&store).advance().await.unwrap(), None);
}

#[tokio::test]
async fn a_new_one_goes_on_where_the_last_one_stopped() {
    let store = Arc::new(MemoryLog::of(leaves(5)));
    sequencer(&store).advance().await.unwrap();
    assert_eq!(sequencer(&store).advance().await.unwrap(), None);
    store.append(event(EventKind::Kill, "int_x", 9)).await.unwrap();
    assert_eq!(sequencer(&store).advance().await.unwrap().unwrap().checkpoint().size, 6);
}

#[tokio::test]
async fn a_spoiled_frontier_is_computed_again_from_the_leaves() {
    let store = Arc::new(MemoryLog::of(leaves(5)));
    sequencer(&store).advance().await.unwrap();
    if let Some(kept) = store.checkpoint.lock().unwrap().as_mut() {
        kept.frontier = Frontier::new();
    }
    store.append(event(EventKind::Kill, "int_x", 9)).await.unwrap();
    let hashes: Vec<_> = store.leaves.lock().unwrap().iter().map(crate::Leaf::hash).collect();
    let signed = sequencer(&store).advance().await.unwrap().unwrap();
    assert_eq!(signed.checkpoint().root, merkle::root(&hashes));
}

#[tokio::test]
async fn it_signs_nothing_that_contradicts_an_earlier_checkpoint() {
    let store = Arc::new(MemoryLog::of(leaves(6)));
    sequencer(&store).advance().await.unwrap();
    if let Some(kept) = store.checkpoint.lock().unwrap().as_mut() {
        kept.frontier = Frontier::new();
    }
    store.leaves.lock().unwrap().truncate(5);
    let refused = sequencer(&store).advance().await;
    assert!(matches!(refused, Err(SequencerError::Altered { size: 6 })), "{refused:?}");
}

#[tokio::test]
async fn it_does_not_go_on_from_the_checkpoint_of_another_key() {
    let store = Arc::new(MemoryLog::of(leaves(6)));
    Sequencer::new(store.clone(), Arc::new(TestSigner::new(2)), ORIGIN.to_owned())
        .advance()
        .await
        .unwrap();
    assert!(matches!(sequencer(&store).advance().await, Err(SequencerError::Kept(_))));
}

#[tokio::test]
async fn it_signs_nothing_for_a_log_that_has_gone_back() {
    let store = Arc::new(MemoryLog::of(leaves(6)));
    let mut running = sequencer(&store);
    let signed = running.advance().await.unwrap();
    store.leaves.lock().unwrap().truncate(5);
    for mut sequencer in [running, sequencer(&store)] {
        let refused = sequencer.advance().await;
        let shrunk = matches!(refused, Err(SequencerError::Shrunk { found: 5, size: 6 }));
        assert!(shrunk, "{refused:?}");
    }
    let kept = store.checkpoint().await.unwrap().map(|kept| kept.text);
    assert_eq!(kept, signed.map(|signed| signed.text().to_owned()));
}

#[tokio::test]
async fn it_signs_nothing_for_a_log_that_has_gone_back_and_grown_again() {
    let store = Arc::new(MemoryLog::of(leaves(6)));
    let mut running = sequencer(&store);
    running.advance().await.unwrap();
    let older = Arc::new(MemoryLog::of(leaves(4)));
    sequencer(&older).advance().await.unwrap();
    store.leaves.lock().unwrap().truncate(4);
    *store.checkpoint.lock().unwrap() = older.checkpoint().await.unwrap();
    for second in 20..23 {
        store.append(event(EventKind::Kill, "int_x", second)).await.unwrap();
    }
    for _again in 0..2 {
        let refused = running.advance().await;
        let shrunk = matches!(refused, Err(SequencerError::Shrunk { found: 4, size: 6 }));
        assert!(shrunk, "{refused:?}");
    }
    // One that knows nothing of it signs what is there: that is no tree of the one that does.
    sequencer(&store).advance().await.unwrap().unwrap();
    for _again in 0..2 {
        let refused = running.advance().await;
        assert!(matches!(refused, Err(SequencerError::Altered { size: 7 })), "{refused:?}");
    }
}

#[tokio::test]
async fn two_of_one_log_go_on_after_each_other() {
    let store = Arc::new(MemoryLog::of(leaves(3)));
    let (mut one, mut other) = (sequencer(&store), sequencer(&store));
    one.advance().await.unwrap().unwrap();
    assert_eq!(other.advance().await.unwrap(), None);
    for second in 20..24 {
        store.append(event(EventKind::Kill, "int_x", second)).await.unwrap();
        one.advance().await.unwrap().unwrap();
        if second % 2 == 0 {
            store.append(event(EventKind::Kill, "int_x", second)).await.unwrap();
            other.advance().await.unwrap().unwrap();
        }
    }
    let hashes: Vec<_> = store.leaves.lock().unwrap().iter().map(crate::Leaf::hash).collect();
    let kept = store.checkpoint().await.unwrap().unwrap();
    assert_eq!((kept.frontier.size(), kept.frontier.root()), (9, merkle::root(&hashes)));
}

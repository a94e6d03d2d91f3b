//! The store as it looks after grants that are open at once.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::{
    Holding, Intent, IntentId, IntentStoreError, MAX_LISTED, OpenBy, OpenCount, OpenIntents,
    UnendedPage,
};

use crate::{Failure, Store};

/// Which intents that have not ended are looked for.
#[derive(Debug, Clone)]
pub(crate) enum OpenQuery {
    /// Those of which a clock has run out, the longest due first, and those of which no clock is written down.
    Due { now: Timestamp },
    /// Those that count against one thing.
    Held(Holding),
    /// Those after one, by id.
    Unended { after: Option<IntentId> },
}

impl Store {
    async fn open_intents(
        &self,
        query: OpenQuery,
        limit: usize,
    ) -> Result<Vec<Intent>, IntentStoreError> {
        // Those that do not read may be among the first every time, and keep nobody else from being found.
        loop {
            let known = self.unreadable_rows();
            let most = limit.saturating_add(known);
            let ids = self.reader.open_ids(query.clone(), most).await.map_err(unavailable)?;
            let intents = self.unended_of(&ids).await?;
            if self.unreadable_rows() <= known {
                return Ok(intents);
            }
        }
    }

    /// Of these intents those that have not ended, without those that do not read.
    async fn unended_of(&self, ids: &[IntentId]) -> Result<Vec<Intent>, IntentStoreError> {
        let mut intents = Vec::new();
        for id in ids {
            let found = self.readable(id).await?;
            intents.extend(found.filter(|intent| !intent.state().is_terminal()));
        }
        Ok(intents)
    }

    /// An intent that is there and reads.
    async fn readable(&self, id: &IntentId) -> Result<Option<Intent>, IntentStoreError> {
        let read = self.reader.intent(id).await;
        let found = self.shared.intents.unreadable().pass_over(read).map_err(unavailable)?;
        if found.is_some() {
            self.shared.intents.unreadable().reads(id);
        }
        Ok(found.flatten())
    }
}

impl OpenIntents for Store {
    fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Intent>, IntentStoreError>> {
        async move {
            let found = self.open_intents(OpenQuery::Due { now }, limit).await?;
            Ok(found.into_iter().filter(|one| one.expire_if_due(now).is_some()).collect())
        }
        .boxed()
    }

    fn orphans(
        &self,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Intent, Intent)>, IntentStoreError>> {
        async move {
            let mut pairs = Vec::new();
            for (child, parent) in self.reader.orphans(limit).await.map_err(unavailable)? {
                let (child, parent) = (self.readable(&child).await?, self.readable(&parent).await?);
                pairs.extend(child.zip(parent));
            }
            Ok(pairs)
        }
        .boxed()
    }

    fn open_counts(
        &self,
        by: OpenBy,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OpenCount>, IntentStoreError>> {
        async move { self.reader.open_counts(by, now).await.map_err(unavailable) }.boxed()
    }

    fn open_for(
        &self,
        by: OpenBy,
        names: Vec<String>,
        without: Option<IntentId>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<u32, IntentStoreError>> {
        async move {
            if names.is_empty() {
                return Ok(0);
            }
            let mut found = self.reader.open_for(by, names, now).await.map_err(unavailable)?;
            if let Some(own) = without {
                found.remove(own.as_str());
            }
            Ok(u32::try_from(found.len()).unwrap_or(u32::MAX))
        }
        .boxed()
    }

    fn held(&self, holding: Holding) -> BoxFuture<'_, Result<Vec<Intent>, IntentStoreError>> {
        self.open_intents(OpenQuery::Held(holding), MAX_LISTED).boxed()
    }

    fn unended(
        &self,
        after: Option<IntentId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<UnendedPage, IntentStoreError>> {
        async move {
            let query = OpenQuery::Unended { after };
            let ids = self.reader.open_ids(query, limit).await.map_err(unavailable)?;
            let intents = self.unended_of(&ids).await?;
            Ok(UnendedPage { intents, last: ids.into_iter().next_back() })
        }
        .boxed()
    }
}

fn unavailable(failure: Failure) -> IntentStoreError {
    IntentStoreError::Unavailable(Box::new(failure))
}

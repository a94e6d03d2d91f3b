//! Registration entries and who has their identities.

use jiff::Timestamp;
use marque_registry::NewEntry;

use super::super::messages;
use super::super::view::{EntryView, ExplanationView, RefusedCallerView, SharedIdentityView};
use super::{AdminClient, CallError, proto, timestamp};

impl AdminClient {
    /// The registration entries.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn entries(&mut self) -> Result<Vec<EntryView>, CallError> {
        let answer = self.inner.list_entries(proto::ListEntriesRequest {}).await?.into_inner();
        let proto::ListEntriesResponse { entries } = answer;
        entries.into_iter().map(TryInto::try_into).collect()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn create_entry(&mut self, entry: &NewEntry) -> Result<EntryView, CallError> {
        let request = proto::CreateEntryRequest { spec: Some(messages::entry_spec(entry)) };
        let proto::CreateEntryResponse { entry } =
            self.inner.create_entry(request).await?.into_inner();
        entry.ok_or(CallError::Malformed("entry"))?.try_into()
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn delete_entry(&mut self, id: String) -> Result<(), CallError> {
        let answer = self.inner.delete_entry(proto::DeleteEntryRequest { id }).await?;
        let proto::DeleteEntryResponse {} = answer.into_inner();
        Ok(())
    }

    /// What a process attests as, and what that earns it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn explain(&mut self, pid: i32) -> Result<ExplanationView, CallError> {
        let request = proto::ExplainProcessRequest { pid };
        self.inner.explain_process(request).await?.into_inner().try_into()
    }

    /// Who was refused an identity lately, the last first.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn denials(&mut self) -> Result<Vec<RefusedCallerView>, CallError> {
        let answer = self.inner.list_denials(proto::ListDenialsRequest {}).await?.into_inner();
        let proto::ListDenialsResponse { denials } = answer;
        denials.into_iter().map(TryInto::try_into).collect()
    }

    /// The identities that were shared since then.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn shared_identities(
        &mut self,
        since: Option<Timestamp>,
    ) -> Result<Vec<SharedIdentityView>, CallError> {
        let request = proto::ListSharedIdentitiesRequest { since: since.map(timestamp) };
        let answer = self.inner.list_shared_identities(request).await?.into_inner();
        let proto::ListSharedIdentitiesResponse { identities } = answer;
        Ok(identities.into_iter().map(Into::into).collect())
    }
}

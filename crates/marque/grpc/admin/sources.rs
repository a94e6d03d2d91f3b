//! The files of the folder that is served, one message each.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tonic::Status;

use super::super::proto::admin as proto;
use crate::issuer::folder::FolderFiles;

pub(super) fn stream(
    files: &FolderFiles,
) -> BoxStream<'static, Result<proto::StreamSourcesResponse, Status>> {
    let files = files.clone();
    let mut next = Some(String::new());
    let messages = futures::stream::poll_fn(move |_context| {
        let found = next.take().and_then(|after| files.after(&after));
        std::task::Poll::Ready(found.map(|(name, content)| {
            next = Some(name.to_owned());
            Ok(proto::StreamSourcesResponse { name: name.to_owned(), content: content.to_vec() })
        }))
    });
    messages.boxed()
}

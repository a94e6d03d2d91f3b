//! The files of the folder that is served, one message each.

use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::AdminService;
use super::calls::SourcesStream;
use crate::issuer::folder::FolderFiles;

impl AdminService {
    pub(super) async fn sources(
        &self,
        request: Request<proto::StreamSourcesRequest>,
    ) -> Result<Response<SourcesStream>, Status> {
        self.operator("StreamSources", &request).await?;
        let proto::StreamSourcesRequest {} = request.into_inner();
        Ok(Response::new(stream(&self.door.sources())))
    }
}

fn stream(files: &FolderFiles) -> SourcesStream {
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

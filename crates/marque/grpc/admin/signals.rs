//! Shared signals as operators see them.
//!
//! Absent on purpose: sending, and secrets.

use tonic::{Request, Response, Status};

use super::super::client::CallError;
use super::super::proto::admin as proto;
use super::super::time::{from_timestamp, timestamp};
use super::AdminService;
use crate::error;
use crate::ssf::{AsideView, SignalDirection, SignalView};

impl AdminService {
    pub(super) async fn signals(
        &self,
        request: Request<proto::ListSignalsRequest>,
    ) -> Result<Response<proto::ListSignalsResponse>, Status> {
        self.operator("ListSignals", &request).await?;
        let proto::ListSignalsRequest {} = request.into_inner();
        let found = self.door.signals().await.map_err(error::admin)?;
        let signals = found.into_iter().map(signal).collect();
        Ok(Response::new(proto::ListSignalsResponse { signals }))
    }

    pub(super) async fn verify_signals(
        &self,
        request: Request<proto::VerifySignalStreamRequest>,
    ) -> Result<Response<proto::VerifySignalStreamResponse>, Status> {
        self.operator("VerifySignalStream", &request).await?;
        let proto::VerifySignalStreamRequest { name, state } = request.into_inner();
        self.door.verify_signals(name, state).await.map_err(error::admin)?;
        Ok(Response::new(proto::VerifySignalStreamResponse {}))
    }
}

fn signal(view: SignalView) -> proto::Signal {
    let SignalView {
        name,
        direction,
        peer,
        behind,
        waiting,
        failed,
        retry_at,
        failure,
        delivered_at,
        aside,
    } = view;
    let direction = match direction {
        SignalDirection::Push => proto::signal::Direction::Push,
        SignalDirection::Poll => proto::signal::Direction::Poll,
        SignalDirection::Receive => proto::signal::Direction::Receive,
    };
    let refused = |view: AsideView| {
        let AsideView { jti, leaf, at, failure } = view;
        proto::RefusedSignal { jti, leaf, at: Some(timestamp(at)), failure }
    };
    proto::Signal {
        name,
        direction: direction.into(),
        peer,
        behind,
        waiting,
        failed,
        retry_at: retry_at.map(timestamp),
        failure: failure.unwrap_or_default(),
        delivered_at: delivered_at.map(timestamp),
        aside: aside.into_iter().map(refused).collect(),
    }
}

impl TryFrom<proto::Signal> for SignalView {
    type Error = CallError;

    fn try_from(message: proto::Signal) -> Result<Self, CallError> {
        let proto::Signal {
            name,
            direction,
            peer,
            behind,
            waiting,
            failed,
            retry_at,
            failure,
            delivered_at,
            aside,
        } = message;
        let direction = match proto::signal::Direction::try_from(direction) {
            Ok(proto::signal::Direction::Push) => SignalDirection::Push,
            Ok(proto::signal::Direction::Poll) => SignalDirection::Poll,
            Ok(proto::signal::Direction::Receive) => SignalDirection::Receive,
            Ok(proto::signal::Direction::Unspecified) | Err(_) => {
                return Err(CallError::Malformed("direction"));
            }
        };
        let refused = |message: proto::RefusedSignal| {
            let proto::RefusedSignal { jti, leaf, at, failure } = message;
            let at = at.and_then(from_timestamp).unwrap_or_default();
            AsideView { jti, leaf, at, failure }
        };
        Ok(Self {
            name,
            direction,
            peer,
            behind,
            waiting,
            failed,
            retry_at: retry_at.and_then(from_timestamp),
            failure: Some(failure).filter(|failure| !failure.is_empty()),
            delivered_at: delivered_at.and_then(from_timestamp),
            aside: aside.into_iter().map(refused).collect(),
        })
    }
}

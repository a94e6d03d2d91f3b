//! Reports, what somebody found about a broken glass, and what is taken away of an intent that is over.

use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::from_timestamp;
use super::{AdminService, requests};
use crate::error;
use crate::reports::{self, Finding, UnknownReport, Which};

impl AdminService {
    pub(super) async fn reports(
        &self,
        request: Request<proto::MakeReportRequest>,
    ) -> Result<Response<proto::MakeReportResponse>, Status> {
        self.operator("MakeReport", &request).await?;
        let proto::MakeReportRequest { reports, since } = request.into_inner();
        let which: Result<Vec<Which>, UnknownReport> =
            reports.iter().map(|name| name.parse()).collect();
        let mut which = which.map_err(|error| error::malformed_field("reports", &error))?;
        which.sort();
        which.dedup();
        if which.is_empty() {
            which = Which::ALL.to_vec();
        }
        let since = match since {
            None => Timestamp::MIN,
            Some(since) => from_timestamp(since).ok_or_else(|| error::missing_field("since"))?,
        };
        let (document, playbooks) = (self.door.document(), self.door.playbooks());
        let (registry, log) = (self.door.registry(), self.door.log());
        let about = (&*document, &*playbooks, &*registry);
        let made = reports::make(&which, about, &*log, (since, self.door.now())).await;
        let findings = made.map_err(error::log)?.into_iter().map(finding).collect();
        Ok(Response::new(proto::MakeReportResponse { findings }))
    }

    pub(super) async fn review(
        &self,
        request: Request<proto::ReviewBreakGlassRequest>,
    ) -> Result<Response<proto::ReviewBreakGlassResponse>, Status> {
        let (operator, id) =
            self.operator_for("ReviewBreakGlass", &request, |body| &body.id).await?;
        let proto::ReviewBreakGlassRequest { id: _, finding } = request.into_inner();
        let found = requests::reason(&finding)?;
        let intent = self.door.review(operator, id, found).await.map_err(error::admin)?;
        Ok(Response::new(proto::ReviewBreakGlassResponse { intent: Some(self.intent(&intent)) }))
    }

    pub(super) async fn read_sealed(
        &self,
        request: Request<proto::ReadPayloadsRequest>,
    ) -> Result<Response<proto::ReadPayloadsResponse>, Status> {
        let (operator, id) = self.operator_for("ReadPayloads", &request, |body| &body.id).await?;
        let found = self.door.payloads(operator, id).await.map_err(error::admin)?;
        let payload = |(name, text): (&str, String)| proto::Payload { name: name.to_owned(), text };
        let payloads = found.into_iter().map(payload).collect();
        Ok(Response::new(proto::ReadPayloadsResponse { payloads }))
    }

    pub(super) async fn erase(
        &self,
        request: Request<proto::EraseIntentRequest>,
    ) -> Result<Response<proto::EraseIntentResponse>, Status> {
        let (operator, id) = self.operator_for("EraseIntent", &request, |body| &body.id).await?;
        let proto::EraseIntentRequest { id: _, reason } = request.into_inner();
        let reason = requests::reason(&reason)?;
        let intent = self.door.erase(operator, id, reason).await.map_err(error::admin)?;
        Ok(Response::new(proto::EraseIntentResponse { intent: Some(self.intent(&intent)) }))
    }
}

fn finding(finding: Finding) -> proto::ReportFinding {
    let Finding { report, subject, owner, summary, act, facts } = finding;
    proto::ReportFinding {
        report: report.to_string(),
        subject,
        owner,
        summary,
        act,
        facts_json: serde_json::to_string(&facts).unwrap_or_default(),
    }
}

//! What approvers decided, and how fast.

use super::super::Session;
use super::super::daemon::Of;
use super::super::failure::Failure;
use super::super::output::table;
use crate::grpc::admin::ApproverRecordView;

pub(super) async fn run(session: &mut Session, fail: bool) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let approvers = home.admin.approvers().await?;
        all.extend(approvers.into_iter().map(|one| home.of(one)));
    }
    let hasty = all.iter().filter(|of| of.item.rubber_stamp).count();
    session.output.show(&all, |all| render(all))?;
    if fail && hasty > 0 {
        return Err(Failure::failed(format!(
            "{hasty} approvers decide in less than three seconds"
        ))
        .next("ask fewer people for less: see `max_per_hour` in [approvals]"));
    }
    Ok(())
}

fn render(all: &[Of<ApproverRecordView>]) -> String {
    if all.is_empty() {
        return "Nobody decided anything in the last 30 days.".to_owned();
    }
    let rows = all.iter().map(|Of { trust_domain, item }| {
        let ApproverRecordView { approver, approved, refused, median_ms, rubber_stamp } = item;
        let decided = u64::from(*approved) + u64::from(*refused);
        let rate = (u64::from(*approved) * 100).checked_div(decided).unwrap_or(0);
        let median = median_ms
            .map_or_else(|| "-".to_owned(), |ms| format!("{}.{}s", ms / 1000, ms % 1000 / 100));
        [
            trust_domain.clone(),
            approver.clone(),
            approved.to_string(),
            refused.to_string(),
            format!("{rate}%"),
            median,
            if *rubber_stamp { "RUBBER STAMP" } else { "" }.to_owned(),
        ]
    });
    table(["TRUST DOMAIN", "APPROVER", "APPROVED", "REFUSED", "RATE", "MEDIAN", ""], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_decides_faster_than_anybody_reads_is_named() {
        let one = |approver: &str, median_ms, rubber_stamp| Of {
            trust_domain: "prod.example.org".to_owned(),
            item: ApproverRecordView {
                approver: approver.to_owned(),
                approved: 3,
                refused: 1,
                median_ms,
                rubber_stamp,
            },
        };
        let all = [one("uid:1000", Some(1_250), true), one("uid:1001", None, false)];
        insta::assert_snapshot!(render(&all), @r"
        TRUST DOMAIN      APPROVER  APPROVED  REFUSED  RATE  MEDIAN
        prod.example.org  uid:1000  3         1        75%   1.2s    RUBBER STAMP
        prod.example.org  uid:1001  3         1        75%   -
        ");
    }
}

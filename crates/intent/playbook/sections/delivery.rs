//! `delivery`: how a grant reaches its work.

use crate::grant::Delivery;
use crate::playbook::report::Report;

pub(crate) fn read(text: &str, report: &mut Report<'_>) -> Option<Delivery> {
    match text {
        "token" => Some(Delivery::Token),
        "gateway_only" => Some(Delivery::GatewayOnly),
        "certificate" => Some(Delivery::Certificate),
        "cloud_session" => Some(Delivery::CloudSession),
        _ => {
            report
                .refuse("delivery", "is `token`, `gateway_only`, `certificate` or `cloud_session`");
            None
        }
    }
}

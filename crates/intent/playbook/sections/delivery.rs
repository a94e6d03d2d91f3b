//! `delivery`: how a grant reaches its work.

use crate::grant::Delivery;
use crate::playbook::report::Report;

pub(crate) fn read(text: &str, report: &mut Report<'_>) -> Option<Delivery> {
    match text {
        "token" => Some(Delivery::Token),
        "gateway_only" | "certificate" | "cloud_session" => {
            report.refuse("delivery", format!("`{text}` is not supported yet; use `token`"));
            None
        }
        _ => {
            report.refuse("delivery", "is `token`");
            None
        }
    }
}

//! What came before a request, as far as anybody looked.

use marque_intent::History;

use super::super::text::lines;
use crate::grpc::admin::GrantView;

/// What came before; none where nothing did.
pub(super) fn rows(grant: &GrantView) -> Option<(&'static str, String)> {
    let history = &grant.evidence.history;
    let History {
        open_grants,
        open_for_delegator: _,
        denials,
        same_request,
        same_target,
        target_denied,
        justification_repeated,
    } = history;
    let mut told = vec![
        format!(
            "{open_grants} grants of this agent are open; it was refused {denials} times in 30 days"
        ),
        format!("the same was asked {same_request} times, this target {same_target} times"),
    ];
    if *target_denied {
        told.push("THE TARGET WAS REFUSED IN THE LAST DAY".to_owned());
    }
    if *justification_repeated {
        told.push("nearly the same was said for a request that was refused".to_owned());
    }
    (!history.is_empty()).then(|| ("before", lines(&told)))
}

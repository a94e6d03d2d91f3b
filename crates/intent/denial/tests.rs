use std::collections::BTreeSet;

use super::*;

#[test]
fn every_code_of_the_specification_is_here_once() {
    let names: BTreeSet<&str> = DenialCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), DenialCode::ALL.len());
    assert_eq!(DenialCode::ALL.len(), 96);
    let per_class: Vec<(DenialClass, usize)> = DenialClass::ALL
        .iter()
        .map(|class| (*class, DenialCode::ALL.iter().filter(|code| code.class() == *class).count()))
        .collect();
    let counts: Vec<usize> = per_class.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [7, 11, 5, 4, 12, 8, 3, 8, 10, 14, 7, 7]);
}

#[test]
fn a_code_reads_back_its_own_name_and_serde_agrees() {
    for code in DenialCode::ALL {
        assert_eq!(code.as_str().parse::<DenialCode>().unwrap(), *code);
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
    for class in DenialClass::ALL {
        assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
    }
    assert!("because".parse::<DenialCode>().is_err());
}

#[test]
fn budgets_are_those_of_the_table() {
    let budget = |class: DenialClass| class.budget();
    assert_eq!(budget(DenialClass::Malformed), 3);
    assert_eq!(budget(DenialClass::Change), 5);
    assert_eq!(budget(DenialClass::Risk), 1);
    assert_eq!(budget(DenialClass::System), 3);
    for class in [
        DenialClass::Identity,
        DenialClass::Boundary,
        DenialClass::Attenuation,
        DenialClass::Intent,
        DenialClass::Approval,
        DenialClass::Grant,
        DenialClass::Stop,
    ] {
        assert_eq!(budget(class), 0, "{class}");
    }
}

#[test]
fn a_stopped_agent_is_never_told_to_try_again() {
    for code in DenialCode::ALL.iter().filter(|code| code.class() == DenialClass::Stop) {
        assert_eq!(code.retry(), Retry { allowed: false, after: None, max: Some(0) });
        assert_eq!(code.remediation(), Remediation::ContactOperator);
    }
}

#[test]
fn a_problem_tells_the_agent_about_its_own_input_and_nothing_of_what_others_expected() {
    let own =
        Denial::new(DenialCode::ParamsSchemaInvalid, "`/region` is not one of the listed values")
            .to_problem();
    assert_eq!(own.detail.as_deref(), Some("`/region` is not one of the listed values"));
    assert_eq!((own.status, own.kind.as_str()), (400, "urn:marque:problem:params_schema_invalid"));

    let others =
        Denial::new(DenialCode::ApproverNotEligible, "needs a member of `sre-leads`").to_problem();
    assert_eq!(others.detail, None);
    assert_eq!(others.status, 403);
}

#[test]
fn a_problem_has_the_members_of_the_specification() {
    let denial = Denial::new(DenialCode::TicketMissing, "no ticket")
        .by_policy(Digest::of(b"set"), vec!["prod-needs-a-ticket".to_owned()]);
    insta::assert_json_snapshot!(denial.to_problem());
}

#[test]
fn the_detail_is_bounded() {
    let denial = Denial::new(DenialCode::InvalidRequest, "x".repeat(MAX_DETAIL_CHARS + 1));
    assert_eq!(denial.detail().chars().count(), MAX_DETAIL_CHARS);
}

/// What the classes are, for the page.
const CLASSES: [(DenialClass, &str); 12] = [
    (DenialClass::Malformed, "The request is not one that we understand."),
    (DenialClass::Identity, "The caller is not who it must be."),
    (DenialClass::Boundary, "The request crosses a boundary."),
    (DenialClass::Attenuation, "The request widens what it derives from."),
    (DenialClass::Intent, "The request or the call is outside of the intent."),
    (DenialClass::Change, "The change ticket or the window does not fit."),
    (DenialClass::Risk, "It is too risky."),
    (DenialClass::Approval, "Approval is missing or refused."),
    (DenialClass::Grant, "The grant does not stand."),
    (DenialClass::Stop, "Somebody pulled the kill switch."),
    (DenialClass::Pace, "It is too much or too soon."),
    (DenialClass::System, "We cannot decide, so we refuse."),
];

/// The table of the page, from the table in the code.
fn table() -> String {
    use std::fmt::Write as _;
    let mut page = String::new();
    for (class, about) in CLASSES {
        let tries = match class.budget() {
            0 => "none".to_owned(),
            tries => tries.to_string(),
        };
        let wait =
            class.backoff().map_or_else(|| "-".to_owned(), |wait| format!("{} s", wait.as_secs()));
        write!(page, "\n## Class `{class}`\n\n{about} Further tries: {tries}. Wait: {wait}.\n")
            .unwrap();
        for code in DenialCode::ALL.iter().filter(|code| code.class() == class) {
            let retry = code.retry();
            let again = match (retry.allowed, retry.max, retry.after) {
                (false, _, _) => "no".to_owned(),
                (true, max, after) => {
                    let max =
                        max.map_or_else(|| "yes".to_owned(), |max| format!("up to {max} times"));
                    after.map_or_else(
                        || max.clone(),
                        |after| format!("{max}, after {} s", after.as_secs()),
                    )
                }
            };
            write!(
                page,
                "\n### {code}\n\n{}.\n\n- Agents: {} Again: {again}.\n- Operators: {}\n\
                 - On the wire: HTTP {}, OAuth `{}`, gRPC `{}`\n",
                code.title(),
                code.remediation().sentence(),
                code.guide(),
                code.http_status(),
                code.oauth_error(),
                code.grpc_status(),
            )
            .unwrap();
        }
    }
    page
}

#[test]
fn m_112_the_page_explains_every_code_as_it_is() {
    const TABLE: &str = "<!-- Everything below is written by a test from the table of codes. -->\n";
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(DENIALS_PAGE);
    let page = std::fs::read_to_string(&file).unwrap_or_default();
    let (told, found) = page.split_once(TABLE).unwrap_or((&page, ""));
    #[expect(clippy::disallowed_methods, reason = "how a person asks for the page to be written")]
    if std::env::var_os("MARQUE_WRITE_DOCS").is_some() {
        std::fs::write(&file, format!("{told}{TABLE}{}", table())).unwrap();
        return;
    }
    assert!(
        found == table(),
        "docs/denials.md is stale: run `MARQUE_WRITE_DOCS=1 cargo test -p marque-intent m_112_the_page`"
    );
}

#[test]
fn every_code_has_an_answer_on_every_wire_and_a_guide() {
    for code in DenialCode::ALL {
        let status = code.http_status();
        assert!([400, 403, 409, 429, 503].contains(&status), "{code}");
        assert!(!code.guide().is_empty() && code.guide().ends_with('.'), "{code}");
        assert!(!code.title().ends_with('.'), "{code}");
        let retry = code.retry();
        assert!(
            retry.allowed || retry.after.is_none(),
            "{code} is not to be tried again, after a wait"
        );
        let doc = Denial::new(*code, "").to_problem().doc;
        assert_eq!(doc, format!("docs/denials.md#{code}"));
    }
    let oauth = |code: DenialCode| code.oauth_error();
    assert_eq!(oauth(DenialCode::ApprovalDenied), "access_denied");
    assert_eq!(oauth(DenialCode::ApprovalPending), "authorization_pending");
    assert_eq!(oauth(DenialCode::ToolNotInGrant), "insufficient_authorization_details");
    assert_eq!(oauth(DenialCode::ParamsSchemaInvalid), "invalid_authorization_details");
    assert_eq!(oauth(DenialCode::AuditUnavailable), "temporarily_unavailable");
}

#[test]
fn a_refusal_says_how_long_to_wait_and_what_is_left_where_that_is_known() {
    let denial = Denial::new(DenialCode::CooldownAfterDenial, "wait");
    let waits = denial.clone().after(Duration::from_millis(59_001)).retry();
    assert_eq!((waits.allowed, waits.after), (true, Some(Duration::from_secs(60))));
    assert_eq!(denial.after(Duration::ZERO).retry().after, Some(Duration::from_secs(1)));
    let spent = Denial::new(DenialCode::TicketMissing, "no").with_tries_left(0).retry();
    assert_eq!((spent.allowed, spent.max), (false, Some(0)));
}

#[test]
fn a_stored_refusal_of_before_reads_still() {
    let old = r#"{"code":"ticket_missing","detail":"no ticket"}"#;
    let denial: Denial = serde_json::from_str(old).unwrap();
    assert_eq!(serde_json::to_string(&denial).unwrap(), old);
}

#[test]
fn the_id_of_a_refusal_reads_back_and_is_its_intents() {
    let intent: crate::IntentId = "int_0123456789abcdefghjkmnpqrs".parse().unwrap();
    let id = DenialId::of_intent(&intent);
    assert_eq!(id.as_str(), "den_0123456789abcdefghjkmnpqrs");
    assert_eq!(id.as_str().parse::<DenialId>().unwrap(), id);
    for bad in ["", "den_", "int_0123456789abcdefghjkmnpqrs", "den_0123456789abcdefghjkmnpqr"] {
        assert!(bad.parse::<DenialId>().is_err(), "{bad}");
    }
}

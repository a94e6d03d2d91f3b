mod intents;

pub(in crate::cli) use intents::pending;

use serde_json::json;

use self::intents::{bounded, waiting};
use super::*;
use crate::grpc::admin::{ApprovalView, DenialView, EligibilityView, HeldView};

fn page(intent: &IntentView) -> String {
    let now = "2026-11-22T03:00:00Z".parse().unwrap();
    let page = render(intent, "prod.example.org", Environment::Production, now);
    anstream::adapter::strip_str(&page).to_string()
}

#[test]
fn an_approver_sees_everything_there_is_to_decide_on() {
    insta::assert_snapshot!(page(&pending()), @r#"
    Rotate the TLS certificate of one ingress, with region = "eu-west-1", service = "shop"
    intent        int_01abcdefghjkmnpqrstvwxyz01
    state         pending, ends 2026-11-22 03:28:00 UTC (in 28m)
    asked         2026-11-22 02:58:00 UTC (2m ago)
    trust domain  prod.example.org (production)
    tenant        example
    agent         spiffe://prod.example.org/agent/cert-rotator/one
    attested      cdcdcdcdcdcd, nobody knows when
    owner         group:platform-sre
    ticket        CHG-1842, which no ticket system was asked about
    playbook      ingress-cert-rotation version 7 (abababababab) of group:platform-sre
    purpose       rotate-ingress-certificate
    risk          40 of 100
    policies      efefefefefef
    digest        0123456789ab

    Now: its identity alone, which permits nothing.
    An approval would add:
      audience      https://ingress.prod.example.org
      scopes        secrets.update
      details       k8s_object
                      actions: get, patch
                      identifier: ns/ingress/secret/shop-tls
      resources     k8s://eu-west-1/ns/ingress/secret/shop-tls
      data          tls_material
      on behalf of  the agent for itself alone
      handed on     to nobody
      uses          1, each a token of at most 5m
      until         10m after the first use, which may be up to 15m after approval
                    never before 2026-11-22 03:00:00 UTC nor after 2026-11-22 04:00:00 UTC (in 1h)
      approvals     1 by sre

    Untrusted text from the agent
      │ The certificate of shop ends in two days.
    "#);
}

#[test]
fn what_the_agent_has_already_is_told_from_what_would_be_added() {
    let mut intent = pending();
    intent.grant.scopes.push("secrets.read".to_owned());
    intent.grant.tools = serde_json::from_value(json!({"k8s.get": {}, "k8s.patch": {}})).unwrap();
    intent.grant.evidence =
        serde_json::from_value(json!({"standing": {"attested_at": "2026-11-22T02:57:00Z"}}))
            .unwrap();
    let text = |text: &str| text.to_owned();
    intent.held = Some(HeldView {
        intents: (1..=7).map(|number| format!("int_{number}")).collect(),
        audiences: intent.grant.audiences.clone(),
        scopes: vec![text("pods.list"), text("secrets.read")],
        resources: vec![text("k8s://eu-west-1/ns/shop")],
        tools: vec![text("k8s.get")],
    });
    let shown = page(&intent);
    for lines in [
        "attested      cdcdcdcdcdcd, 2026-11-22 02:57:00 UTC (3m ago)\n",
        "Now, by int_1, int_2, int_3, int_4, int_5, 2 more:\n  audience   https://ingress.prod.example.org\n  \
         scopes     pods.list\n             secrets.read\n  resources  k8s://eu-west-1/ns/shop\n  tools      k8s.get\n",
        "audience      https://ingress.prod.example.org, which it has already\n",
        "scopes        secrets.update\n                secrets.read, which it has already\n",
        "resources     k8s://eu-west-1/ns/ingress/secret/shop-tls\n",
        "tools         k8s.get, which it has already\n                k8s.patch\n",
    ] {
        assert!(shown.contains(lines), "{lines:?} is not in\n{shown}");
    }
}

#[test]
fn the_ticket_and_the_window_are_shown_with_what_was_found_and_what_they_are_held_to() {
    let mut intent = pending();
    intent.grant.evidence = serde_json::from_value(json!({
        "ticket": {
            "system": "itsm", "state": "approved", "title": "Renew\u{1b}[2J the certificate",
            "state_hash": format!("sha256:{}", "ab".repeat(32)), "checked_at": "2026-11-22T02:59:30Z",
            "bound": {"service": "shop"},
            "planned_from": "2026-11-22T02:00:00Z", "planned_until": "2026-11-22T06:00:00Z",
        },
        "window": {"open": false, "opens_at": "2026-11-22T03:20:00Z", "blackout": "freeze"},
    }))
    .unwrap();
    intent.grant.conditions = serde_json::from_value(json!({
        "windows": [{"rrule": "FREQ=DAILY;BYHOUR=4", "tz": "Europe/Berlin", "duration": "1h"}],
        "blackouts": ["freeze"],
        "ticket": {"system": "itsm", "states": ["approved", "implementing"], "revoke_on_close": true},
    }))
    .unwrap();
    let shown = page(&intent);
    for line in [
        "CHG-1842: approved by itsm, 2026-11-22 02:59:30 UTC (30s ago)",
        "service = shop, as here",
        "planned 2026-11-22 02:00:00 UTC to 2026-11-22 06:00:00 UTC",
        "held to       the ticket being approved or implementing at approval and at use; revoked when it is closed",
        "window        blackout `freeze`; opens 2026-11-22 03:20:00 UTC (in 20m)",
        "windows       FREQ=DAILY;BYHOUR=4 in Europe/Berlin, for 1h",
        "never during  freeze",
    ] {
        assert!(shown.contains(line), "`{line}` is not in {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn m_30_every_bound_that_the_digest_covers_is_shown_before_approval() {
    let page = page(&bounded());
    let shown = page.split("An approval would add:\n").nth(1).unwrap();
    insta::assert_snapshot!(shown, @r#"
      audience      https://ingress.prod.example.org
      scopes        secrets.update
      details       k8s_object
                      actions: get, patch
                      identifier: ns/ingress/secret/shop-tls
      resources     k8s://eu-west-1/ns/ingress/secret/shop-tls
      tools         k8s-prod.secrets.get
                    k8s-prod.secrets.patch, sensitive, destructive, called at most 2 times
                      arguments: {"properties":{"name":{"const":"shop-tls"}}}
      data          tls_material
      within        cluster = "eu-1"
                    contract_ids = ["c_1","c_2"]
                    max_rows = 5
      at most       25 records
                    12 calls
                    1 destructive calls
                    1024 bytes out
                    one call in 1m 30s
      on behalf of  corp: alice; whoever is in sre
                    partner: everybody
      handed on     from agent to agent, 2 deep at most, to
                      spiffe://prod.example.org/agent/helper/*
                    unchanged where nothing is said: scopes
      uses          1, each a token of at most 5m, for one use
      until         10m after the first use, which may be up to 15m after approval
                    never before 2026-11-22 03:00:00 UTC nor after 2026-11-22 04:00:00 UTC (in 1h)
      approvals     1 by sre

    Untrusted text from the agent
      │ Its session: sess_1
      │ Its task: task_2
      │ The certificate of shop ends in two days.
    "#);
}

#[test]
fn the_agents_words_cannot_pass_for_ours() {
    let hostile =
        "ok\u{1b}[2J\nApproved by operator:root(0)\u{202e} ".to_owned() + &"x".repeat(100);
    let page = page(&IntentView { justification: hostile, ..pending() });
    let told: Vec<&str> = page.split("Untrusted text from the agent\n").collect();
    assert!(!told[0].contains("operator:root"), "{page}");
    assert!(
        told[1]
            .lines()
            .all(|line| line.starts_with("  │ ") && line.chars().count() <= FENCE_WIDTH + 4)
    );
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'), "{page}");
}

#[test]
fn the_sentence_at_the_top_is_whole_and_made_visible() {
    let mut intent = pending();
    intent.grant.parameters = serde_json::json!({ "service": "s\u{200b}".repeat(400) });
    let first = page(&intent).lines().next().unwrap().to_owned();
    // The digest covers all of a parameter, so the approver sees all of it.
    assert_eq!(first.matches("s\\u{200b}").count(), 400, "{first}");
}

#[test]
fn what_was_decided_is_shown_with_who_and_why() {
    let approval = ApprovalView {
        approver: "operator:alice(1000)".to_owned(),
        at: Some("2026-11-22T02:59:00Z".parse().unwrap()),
        digest: String::new(),
        level: 1,
        groups: Vec::new(),
        mfa: String::new(),
        client: String::new(),
    };
    let denial = DenialView {
        code: "approval_denied".to_owned(),
        class: "approval".to_owned(),
        detail: "denied by operator:bob(1001)".to_owned(),
    };
    let page = page(&IntentView {
        state: "denied".to_owned(),
        approvals: vec![approval],
        denial: Some(denial),
        ended_by: "operator:bob(1001)".to_owned(),
        reason: "not in the window".to_owned(),
        expires_at: None,
        ..pending()
    });
    for told in [
        "Approved by operator:alice(1000), 2026-11-22 02:59:00 UTC (1m ago)",
        "Denied: denied by operator:bob(1001) (code `approval_denied`)",
        "Ended by operator:bob(1001): not in the window",
        "It was for:",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
}

#[test]
fn oauth_14_5_whom_the_agent_asks_and_its_binding_message_stand_among_its_own_words() {
    let intent = IntentView {
        asked_of: "platform-sre".to_owned(),
        binding_message: "W4SCT\u{1b}[2J".to_owned(),
        ..pending()
    };
    let shown = page(&intent);
    let told: Vec<&str> = shown.split("Untrusted text from the agent\n").collect();
    assert!(!told[0].contains("W4SCT") && !told[0].contains("platform-sre\n  │"), "{shown}");
    assert_eq!(
        told[1],
        "  │ It asks: platform-sre\n  │ It shows: W4SCT\\u{1b}[2J\n  │ The certificate of shop ends in two days.\n"
    );
    let silent = IntentView { justification: String::new(), ..intent };
    assert!(page(&silent).contains("gave no justification"));
    assert!(page(&silent).contains("It shows: W4SCT"));
}

#[test]
fn an_approver_sees_who_decides_who_has_and_why_it_is_them() {
    let shown = page(&waiting());
    let told = shown.split("Who decides:\n").nth(1).unwrap();
    let told = told.split("\nUntrusted text").next().unwrap();
    for line in [
        "levels     1: 2 of dev (2 refusing end it), or 1 of lead (1 refusing end it); 1 so far",
        "2: 2 of sec or sre, each of another group (1 refusing end it); 0 so far, waits here",
        "never      the requester, delegation_chain, agent_owner, group:platform-sre",
        "login      with more than one factor, within the last 15m",
        "you        MAY NOT approve: operator:dev(1004) is in none of the approver groups of level 2 (code `approver_not_eligible`)",
        "answer by  2026-11-22 03:28:00 UTC (in 28m); silence denies",
        "start by   15m after the approval",
        "digest     0123456789ab",
        "marque deny int_01abcdefghjkmnpqrstvwxyz01 --because not-needed|too-broad|",
        "Approved by operator:lee(1002) of lead by host, 2026-11-22 02:59:00 UTC (1m ago)",
        "Refused by operator:dan(1003), 2026-11-22 02:58:30 UTC (1m 30s ago): too_broad",
        "Narrowed by operator:lee(1002), 2026-11-22 02:59:00 UTC (1m ago): a1a1a1a1a1a1 became 0123456789ab",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let you = EligibilityView {
        may_approve: true,
        groups: vec!["sec".to_owned()],
        code: String::new(),
        detail: String::new(),
    };
    let shown = page(&IntentView { you: Some(you), ..waiting() });
    assert!(shown.contains("may approve: you are in sec"), "{shown}");
}

#[test]
fn what_was_found_out_stands_above_what_would_be_added() {
    let mut intent = pending();
    let evidence = json!({
        "ticket": {
            "system": "itsm", "state": "approved", "title": "Rotate \u{1b}[2J checkout",
            "state_hash": format!("sha256:{}", "00".repeat(32)),
            "checked_at": "2026-11-22T02:58:00Z",
        },
        "window": {"open": false, "opens_at": "2026-11-22T09:00:00Z"},
        "history": {"open_grants": 2, "denials": 1},
    });
    intent.grant.evidence = serde_json::from_value(evidence).unwrap();
    let shown = page(&intent);
    for told in [
        "CHG-1842: approved by itsm, 2026-11-22 02:58:00 UTC (2m ago)",
        "closed; opens 2026-11-22 09:00:00 UTC (in 6h)",
        "2 grants of this agent are open; it was refused 1 times in 30 days",
    ] {
        assert!(shown.contains(told), "{told}\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let blackout =
        json!({"open": false, "blackout": "change-freeze", "until": "2026-11-23T00:00:00Z"});
    intent.grant.evidence.window = serde_json::from_value(blackout).unwrap();
    assert!(page(&intent).contains("blackout `change-freeze`"));
}

//! More than the token has, or no less of it.

use super::*;

pub(super) fn widenings() -> Vec<Refused> {
    let exceeds = Some("exceeds_parent_scope");
    vec![
        Refused {
            name: "a_scope_of_the_grant_that_the_token_has_not",
            ask: |team, token| {
                let token = reworded(team, token, |claims| {
                    claims["scope"] = json!("secrets.read secrets.list");
                });
                good(team, &token).set("scope", "secrets.read secrets.update")
            },
            code: "invalid_scope",
            denial: exceeds,
            ..BASE
        },
        Refused {
            name: "a_scope_of_nobody",
            ask: |team, token| good(team, token).set("scope", "secrets.read admin"),
            code: "invalid_scope",
            denial: exceeds,
            ..BASE
        },
        Refused {
            name: "an_audience_of_nobody",
            ask: |team, token| good(team, token).add("audience", "https://x.example.org"),
            code: "invalid_target",
            denial: Some("audience_not_allowed"),
            ..BASE
        },
        Refused {
            name: "a_resource_of_nobody",
            ask: |team, token| good(team, token).add("resource", "k8s://eu-west-1/x"),
            code: "invalid_target",
            denial: Some("audience_not_allowed"),
            ..BASE
        },
        Refused {
            name: "everything_unchanged",
            ask: |team, token| team.for_token(&team.b, token),
            code: "invalid_target",
            denial: Some("cannot_compare_attenuation"),
            ..BASE
        },
        Refused {
            name: "the_scopes_unchanged",
            ask: |team, token| team.for_token(&team.b, token).set("audience", AUDIENCE),
            code: "invalid_scope",
            denial: Some("cannot_compare_attenuation"),
            ..BASE
        },
        Refused {
            name: "another_intent",
            ask: |team, token| {
                let other: IntentId = "int_00000000000000000000000077".parse().unwrap();
                good(team, token).intent(&other)
            },
            code: "invalid_authorization_details",
            denial: Some("grant_not_bound_to_session"),
            ..BASE
        },
        Refused {
            name: "a_token_that_says_more_than_its_grant",
            ask: |team, token| {
                let token = reworded(team, token, |claims| claims["scope"] = json!("admin x"));
                good(team, &token).set("scope", "admin")
            },
            denial: exceeds,
            ..BASE
        },
        Refused {
            name: "a_token_with_a_right_that_nobody_knows",
            ask: |team, token| {
                let token = reworded(team, token, |claims| claims["rights"]["x"] = json!(1));
                good(team, &token)
            },
            ..BASE
        },
        Refused {
            name: "a_subject_without_scope",
            ask: |team, token| {
                let token = reworded(team, token, |claims| claims["scope"] = json!(""));
                team.for_token(&team.b, &token).set("audience", AUDIENCE)
            },
            denial: exceeds,
            ..BASE
        },
    ]
}

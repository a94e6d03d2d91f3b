//! What stands, whom a kill would hit, and how fast one spreads.

use serde_json::Value;

use super::super::Session;
use super::super::daemon::{Home, Of};
use super::super::failure::Failure;
use super::super::output::{table, visible};
use super::super::person::AsPerson;
use super::super::text::moment;
use super::{How, Target};
use crate::grpc::admin::{IrrevocableView, KillScopeView, KillStateView};

/// How many names of a kind are shown to people; JSON has them all.
const SHOWN: usize = 20;

/// The kills that stand.
pub(super) async fn list(session: &mut Session, as_person: &AsPerson) -> Result<(), Failure> {
    if as_person.is_meant() {
        let states = vec![super::lift::standing(session, as_person).await?];
        return session.output.show(&states, |states| render(states));
    }
    let mut states = Vec::new();
    for mut home in session.homes().await? {
        let state = home.admin.kill_state().await?;
        states.push(home.of(state));
    }
    session.output.show(&states, |states| render(states))
}

/// Whom a kill would hit.
pub(super) async fn impact(
    session: &mut Session,
    target: Target,
    how: &How,
) -> Result<(), Failure> {
    let Target { scope, places } = target;
    let order = how.order(scope)?;
    let mut impacts = Vec::new();
    for at in places {
        let mut home = Home::reach(at).await?;
        let impact = read(&home.admin.preview_kill(&order).await?)?;
        impacts.push(home.of(impact));
    }
    session.output.show(&impacts, |impacts| impacts.iter().map(hit).collect())
}

/// How fast a kill spreads.
pub(super) async fn drill(session: &mut Session) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for mut home in session.homes().await? {
        let report = read(&home.admin.drill_kill().await?)?;
        reports.push(home.of(report));
    }
    session.output.show(&reports, |reports| {
        let rows: Vec<_> = reports.iter().flat_map(measured).collect();
        table(["TRUST DOMAIN", "POINT", "HEARD AFTER"], rows)
    })
}

fn read(json: &str) -> Result<Value, Failure> {
    serde_json::from_str(json)
        .map_err(|error| Failure::because("the daemon's answer cannot be read", &error))
}

fn hit(of: &Of<Value>) -> String {
    let mut text = format!("Would be hit in {}, and nothing was changed:\n", of.trust_domain);
    for kind in ["agents", "grants", "tokens"] {
        let of_kind = of.item.get(kind);
        let count = of_kind.and_then(|all| all.get("count")).and_then(Value::as_u64);
        text.push_str(&format!("  {kind}: {}\n", count.unwrap_or_default()));
        let names = of_kind.and_then(|all| all.get("names")).and_then(Value::as_array);
        let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
        for name in names.iter().take(SHOWN) {
            text.push_str(&format!("    {name}\n"));
        }
        if names.len() > SHOWN {
            text.push_str("    … (all with --output json)\n");
        }
    }
    text.push_str(&good_elsewhere(&of.item));
    let streams = of.item.get("streams").and_then(Value::as_u64).unwrap_or_default();
    text.push_str(&format!("  open Workload API streams: {streams}\n"));
    if of.item.get("truncated").and_then(Value::as_bool) == Some(true) {
        text.push_str("  There are more intents than were looked through.\n");
    }
    text
}

/// What a kill would not end at once.
fn good_elsewhere(impact: &Value) -> String {
    let mut text = String::new();
    let until = |of: Option<&Value>| of.and_then(Value::as_str).unwrap_or("-").to_owned();
    let tokens = impact.get("irrevocable");
    let count = tokens.and_then(|of| of.get("count")).and_then(Value::as_u64).unwrap_or_default();
    if let Some(tokens) = tokens.filter(|_| count > 0) {
        let at = tokens.get("audiences").and_then(Value::as_array);
        let at: Vec<&str> = at.into_iter().flatten().filter_map(Value::as_str).collect();
        let until = until(tokens.get("until"));
        text.push_str(&format!(
            "  not revocable until {until}: {count} of these tokens, at {}\n",
            at.join(", ")
        ));
    }
    if let Some(ends) = impact.get("svids_until").filter(|ends| !ends.is_null()) {
        let until = until(Some(ends));
        text.push_str(&format!("  not revocable until {until}: SVIDs that the agents have\n"));
    }
    text
}

/// Where a kill is not heard of, and for how long.
pub(super) fn out_of_reach(irrevocable: Option<&IrrevocableView>) -> String {
    let Some(IrrevocableView { audiences, until }) = irrevocable else { return String::new() };
    let at: Vec<String> = audiences.iter().map(|one| visible(one)).collect();
    format!(
        "Not revocable until {}: tokens that are out for {}, which hears of no token's end\n",
        moment(*until),
        at.join(", ")
    )
}

fn measured(of: &Of<Value>) -> Vec<[String; 3]> {
    let points = of.item.get("points").and_then(Value::as_array);
    let row = |heard: &Value| {
        let point = heard.get("point").and_then(Value::as_str).unwrap_or_default();
        let after = match heard.get("micros").and_then(Value::as_u64) {
            Some(micros) => format!("{}.{:03} ms", micros / 1000, micros % 1000),
            None => "not within five seconds".to_owned(),
        };
        [of.trust_domain.clone(), point.to_owned(), after]
    };
    points.into_iter().flatten().map(row).collect()
}

/// What is stopped, in words.
pub(super) fn stopped(scope: &KillScopeView) -> String {
    let KillScopeView { scope, selector } = scope;
    let scope = scope.replace('_', " ");
    selector.iter().fold(scope, |scope, one| format!("{scope} {one}"))
}

fn render(states: &[Of<KillStateView>]) -> String {
    let rows: Vec<_> = states
        .iter()
        .flat_map(|of| of.item.kills.iter().map(|kill| (&of.trust_domain, kill)))
        .map(|(trust_domain, kill)| {
            [
                trust_domain.clone(),
                stopped(&kill.scope),
                kill.mode.clone(),
                moment(kill.at),
                kill.expires_at.map_or_else(|| "lifted".to_owned(), |end| moment(Some(end))),
                kill.actor.clone(),
                kill.reason.clone(),
                kill.id.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "Nothing is killed.".to_owned();
    }
    let kills =
        table(["TRUST DOMAIN", "STOPPED", "MODE", "SINCE", "UNTIL", "BY", "REASON", "ID"], rows);
    let asks = states.iter().flat_map(|of| &of.item.asks).map(|ask| {
        let what = if ask.mode.is_empty() { "lift" } else { "relax" };
        format!(
            "{} wants to {what} {} until {}: {}\n",
            ask.actor,
            ask.kill,
            moment(ask.until),
            ask.id
        )
    });
    let unknown = states.iter().filter(|of| !of.item.asks_unknown.is_empty()).map(|of| {
        format!(
            "Who wants what lifted in {} is not known: {}\n",
            of.trust_domain, of.item.asks_unknown
        )
    });
    let here = states
        .iter()
        .filter(|of| of.item.kept_here_only)
        .map(|of| format!("{}{}", of.trust_domain, super::HERE_ONLY));
    asks.chain(unknown).chain(here).fold(kills, |text, line| format!("{text}\n{line}"))
}

#[cfg(test)]
mod tests {
    use crate::grpc::admin::KillView;

    use super::*;

    fn state(epoch: u64, kills: Vec<KillView>) -> KillStateView {
        KillStateView {
            epoch,
            kills,
            asks: Vec::new(),
            asks_unknown: String::new(),
            kept_here_only: false,
        }
    }

    #[test]
    fn the_kills_that_stand_say_who_and_why() {
        let kill = KillView {
            scope: KillScopeView {
                scope: "agent".to_owned(),
                selector: Some("spiffe://prod.example.org/agent/a".to_owned()),
            },
            reason: "runs in circles".to_owned(),
            actor: "operator:alice(1000)".to_owned(),
            at: Some("2026-11-22T03:00:00Z".parse().unwrap()),
            epoch: 1,
            id: "kill_000000000000000000000001".to_owned(),
            mode: "stop".to_owned(),
            expires_at: None,
        };
        let one = state(1, vec![kill]);
        let alone = KillStateView { kept_here_only: true, ..one.clone() };
        let alone = Of { trust_domain: "prod.example.org".to_owned(), item: alone };
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: one };
        insta::assert_snapshot!(render(&[of]), @r"
        TRUST DOMAIN      STOPPED                                  MODE  SINCE                    UNTIL   BY                    REASON           ID
        prod.example.org  agent spiffe://prod.example.org/agent/a  stop  2026-11-22 03:00:00 UTC  lifted  operator:alice(1000)  runs in circles  kill_000000000000000000000001
        ");
        assert!(render(&[alone]).contains("order it at every other replica"));
        let none = state(0, Vec::new());
        let of = Of { trust_domain: "prod.example.org".to_owned(), item: none };
        assert_eq!(render(&[of]), "Nothing is killed.");
    }
}

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    write: WriteArgs,
}

fn args(more: &[&str]) -> Result<WriteArgs, String> {
    let line = ["write", "--dir", "/run/x"];
    let parsed = Line::try_parse_from(line.iter().chain(more));
    parsed.map(|line| line.write).map_err(|error| error.to_string())
}

#[test]
fn a_reload_command_takes_everything_up_to_a_semicolon() {
    let parsed = args(&["--reload-command", "nginx", "-s", "reload", ";", "--once"]).unwrap();
    let expected = Reload::Command {
        program: "nginx".to_owned(),
        arguments: vec!["-s".to_owned(), "reload".to_owned()],
        at_most: Duration::from_secs(30),
    };
    assert_eq!(parsed.reload.action(), expected);
    assert!(parsed.once);
    assert_eq!(args(&[]).unwrap().reload.action(), Reload::Nothing);
}

#[test]
fn options_that_contradict_one_another_are_refused() {
    for refused in [
        &["--reload-signal", "HUP"][..],
        &["--pid-file", "/run/x.pid"],
        &["--reload-signal", "HUP", "--pid-file", "x", "--reload-command", "true"],
        &["--reload-signal", "NOPE", "--pid-file", "x"],
        &["--bundle-only", "--jwt-audience", "a"],
        &["--bundle-of", "example.org"],
        &["--spiffe-id", "spiffe://a/b", "--hint", "c"],
        &["--key-mode", "rw"],
        &["--key-mode", "0200"],
    ] {
        assert!(args(refused).is_err(), "{refused:?}");
    }
}

#[test]
fn names_are_plain_and_differ_and_a_key_is_never_for_everybody() {
    assert!(args(&["--key-mode", "0640", "--svid-file", "tls.crt"]).unwrap().names.check().is_ok());
    for refused in [
        &["--svid-file", "../svid.pem"][..],
        &["--svid-file", ""],
        &["--svid-file", "..data"],
        &["--svid-file", "bundle.pem"],
        &["--key-mode", "0644"],
        &["--key-mode", "0602"],
    ] {
        assert!(args(refused).unwrap().names.check().is_err(), "{refused:?}");
    }
    assert_eq!(args(&[]).unwrap().names, Names::default());
}

#[test]
fn a_token_is_renewed_at_half_of_what_is_left() {
    let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
    let at = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(half_life(now, at(300)), at(150));
    assert_eq!(half_life(at(10), now), at(10));
}

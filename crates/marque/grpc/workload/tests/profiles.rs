//! The switch of each profile, over the real socket.

use marque_registry::EntryRole;
use marque_workload::Profiles;
use tonic::Code;

use super::super::super::proto::workload as proto;
use super::super::super::serve::Limits;
use super::super::super::stage::Stage;
use super::{AUDIENCE, Headers, every_rpc, jwt_request, proper, raw, validation};

/// How each of the seven RPCs fails for a caller with an identity.
async fn codes(profiles: Profiles) -> [Code; 7] {
    let stage = Stage::new();
    stage.register("/agent/a", EntryRole::Agent);
    let served = stage.serve_profiles(Limits::default(), profiles);
    every_rpc(&mut raw(&served, proper).await).await
}

// `every_rpc` has a token checked that is none.
const OK: Code = Code::Ok;
const CHECKED: Code = Code::InvalidArgument;
const OFF: Code = Code::Unimplemented;

#[tokio::test]
async fn wa_1_every_profile_is_served_that_is_switched_on() {
    assert_eq!(codes(Profiles::ALL).await, [OK, OK, OK, OK, CHECKED, OK, OK]);
}

#[tokio::test]
async fn wa_1_both_calls_of_the_x509_profile_are_unimplemented_when_it_is_off() {
    let codes = codes(Profiles { x509: false, ..Profiles::ALL }).await;
    assert_eq!(codes, [OFF, OFF, OK, OK, CHECKED, OK, OK]);
}

#[tokio::test]
async fn wa_1_all_three_calls_of_the_jwt_profile_are_unimplemented_when_it_is_off() {
    let codes = codes(Profiles { jwt: false, ..Profiles::ALL }).await;
    assert_eq!(codes, [OK, OK, OFF, OFF, OFF, OK, OK]);
}

#[tokio::test]
async fn wa_1_both_calls_of_the_wit_profile_are_unimplemented_when_it_is_off() {
    let codes = codes(Profiles { wit: false, ..Profiles::ALL }).await;
    assert_eq!(codes, [OK, OK, OK, OK, CHECKED, OFF, OFF]);
}

#[tokio::test]
async fn wa_1_what_is_off_is_said_before_a_request_is_read_or_anybody_attested() {
    // Nobody has an identity here: whoever is attested gets PermissionDenied.
    let stage = Stage::new();
    let off = Profiles { x509: false, jwt: false, wit: false };
    let served = stage.serve_profiles(Limits::default(), off);
    let mut client = raw(&served, proper).await;
    assert_eq!(every_rpc(&mut client).await, [OFF; 7]);
    let refused = client.fetch_jwtsvid(jwt_request(&[], "no id")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (OFF, "JWT-SVIDs are not served here"));
    let refused = client.validate_jwtsvid(validation(AUDIENCE, "")).await.unwrap_err();
    assert_eq!(refused.code(), OFF);
    let request = proto::WitsvidRequest { spiffe_id: "no id".to_owned() };
    let refused = client.fetch_witsvid(request).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (OFF, "WIT-SVIDs are not served here"));
    // The header comes first, as for everything on the socket (WE-2).
    let without: Headers = Ok;
    let codes = every_rpc(&mut raw(&served, without).await).await;
    assert_eq!(codes, [Code::InvalidArgument; 7]);
}

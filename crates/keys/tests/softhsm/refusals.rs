use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::Attribute,
    session::UserType,
    types::AuthPin,
};
use marque_keys::{KeyAlgorithm, KeyError, KeyManager, KeyPurpose, TokenKeys, TokenSettings};

use crate::{CONTEXT, Hsm, PIN, code, own_process, slot};

#[test]
fn a_module_that_is_not_there_or_is_none_is_named() {
    own_process::run("refusals::a_module_that_is_not_there_or_is_none_is_named", |folder| {
        let hsm = Hsm::with_token(folder);
        fs::write(folder.join("text.so"), "no library").unwrap();
        for module in [folder.join("missing.so"), folder.join("text.so")] {
            let settings = TokenSettings { module: module.clone(), ..hsm.settings() };
            let error = TokenKeys::open(&settings, CONTEXT).unwrap_err();
            assert_eq!(code(&error), "key_token_module");
            let text = std::error::Error::source(&error).unwrap().to_string();
            assert!(text.contains(&module.display().to_string()), "{text}");
        }
    });
}

#[test]
fn a_token_is_found_by_its_label_alone() {
    own_process::run("refusals::a_token_is_found_by_its_label_alone", |folder| {
        let hsm = Hsm::with_token(folder);
        hsm.init_token("twice");
        hsm.init_token("twice");
        let of = |label: &str| {
            let settings = TokenSettings { label: label.to_owned(), ..hsm.settings() };
            TokenKeys::open(&settings, CONTEXT)
        };
        assert_eq!(code(&of("nobody").unwrap_err()), "key_token_absent");
        assert_eq!(code(&of("twice").unwrap_err()), "key_token_ambiguous");
        of(crate::LABEL).unwrap();
    });
}

#[test]
fn a_wrong_pin_is_said_and_its_file_is_held_to_its_form() {
    own_process::run("refusals::a_wrong_pin_is_said_and_its_file_is_held_to_its_form", |folder| {
        let hsm = Hsm::with_token(folder);
        hsm.write_pin("0000000");
        assert_eq!(code(&hsm.open().unwrap_err()), "key_token_pin_wrong");
        let long = "1".repeat(256);
        for text in ["", "\n", "8675309\n\n", "8675309\r\n", "86\t75309", &long] {
            hsm.write_pin(text);
            assert_eq!(code(&hsm.open().unwrap_err()), "key_token_pin_file", "{text:?}");
        }
        hsm.write_pin(PIN);
        fs::set_permissions(hsm.pin_file(), Permissions::from_mode(0o640)).unwrap();
        assert_eq!(code(&hsm.open().unwrap_err()), "key_token_pin_file");
        fs::remove_file(hsm.pin_file()).unwrap();
        assert_eq!(code(&hsm.open().unwrap_err()), "key_token_pin_file");
        hsm.write_pin(PIN);
        let opened = hsm.open().unwrap();
        assert!(!format!("{opened:?}").contains(PIN), "a PIN is never printed");
    });
}

#[test]
fn a_key_of_an_algorithm_that_its_purpose_does_not_have_is_not_made() {
    own_process::run(
        "refusals::a_key_of_an_algorithm_that_its_purpose_does_not_have_is_not_made",
        |folder| {
            let keys = Hsm::with_token(folder).open().unwrap();
            let error = keys.generate(&slot(KeyPurpose::X509Authority), KeyAlgorithm::Rsa2048);
            assert!(matches!(error, Err(KeyError::NotAllowed { .. })));
            assert!(keys.list().unwrap().is_empty());
        },
    );
}

/// Makes a key by hand, under the label of a slot.
fn make(name: &str, id: u8, extractable: bool) {
    let library = Pkcs11::new(own_process::module().unwrap()).unwrap();
    drop(library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)));
    let token = library.get_slots_with_initialized_token().unwrap()[0];
    let session = library.open_rw_session(token).unwrap();
    drop(session.login(UserType::User, Some(&AuthPin::from(PIN))));
    let both = [
        Attribute::Token(true),
        Attribute::Label(format!("{CONTEXT}/{name}").into_bytes()),
        Attribute::Id(vec![id]),
    ];
    let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let public = [&both[..], &[Attribute::EcParams(p256), Attribute::Verify(true)]].concat();
    let private = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Sign(true),
        Attribute::Extractable(extractable),
    ];
    let private = [&both[..], &private].concat();
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
}

#[test]
fn a_key_that_can_leave_the_token_is_refused() {
    own_process::run("refusals::a_key_that_can_leave_the_token_is_refused", |folder| {
        let hsm = Hsm::with_token(folder);
        let keys = hsm.open().unwrap();
        make("access-token-a-1", 1, true);
        let name = slot(KeyPurpose::AccessToken);
        assert_eq!(code(&keys.load(&name).unwrap_err()), "key_token_key");
        assert_eq!(code(&hsm.open().unwrap_err()), "key_token_key");
        // It is not written over either.
        let taken = keys.generate(&name, KeyAlgorithm::EcdsaP256).unwrap_err();
        assert!(matches!(taken, KeyError::AlreadyExists { .. }), "{taken:?}");
    });
}

#[test]
fn of_two_keys_with_one_name_neither_is_used() {
    own_process::run("refusals::of_two_keys_with_one_name_neither_is_used", |folder| {
        let keys = Hsm::with_token(folder).open().unwrap();
        make("jwt-svid-a-1", 1, false);
        let name = slot(KeyPurpose::JwtSvid);
        keys.load(&name).unwrap().unwrap();
        make("jwt-svid-a-1", 2, false);
        assert_eq!(code(&keys.load(&name).unwrap_err()), "key_token_key");
        assert_eq!(code(&keys.reachable().unwrap_err()), "key_token_key");
    });
}

#[test]
fn a_key_of_the_trust_domain_that_is_named_after_no_slot_is_told_of() {
    own_process::run(
        "refusals::a_key_of_the_trust_domain_that_is_named_after_no_slot_is_told_of",
        |folder| {
            let hsm = Hsm::with_token(folder);
            let keys = hsm.open().unwrap();
            make("mine", 1, false);
            assert_eq!(code(&keys.list().unwrap_err()), "key_token_key");
            assert_eq!(code(&hsm.open().unwrap_err()), "key_token_key");
        },
    );
}

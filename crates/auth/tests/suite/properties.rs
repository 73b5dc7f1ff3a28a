//! Every input gets an answer, and none logs in by chance.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iperf_auth::{Denied, Padding};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fs;

use crate::openssl::{KEYS, MARIO, PADDINGS};

/// A token with any text inside.
pub(crate) fn sealed(text: &[u8], padding: Padding) -> String {
    let file = pem::parse(fs::read(KEYS.path("public.pem")).unwrap()).unwrap();
    let key = PublicEncryptingKey::from_der(file.contents()).unwrap();
    let mut block = vec![0; key.key_size_bytes()];
    match padding {
        Padding::Oaep => OaepPublicEncryptingKey::new(key).and_then(|key| {
            Ok(key
                .encrypt(&OAEP_SHA1_MGF1SHA1, text, &mut block, None)?
                .len())
        }),
        Padding::Pkcs1 => Pkcs1PublicEncryptingKey::new(key)
            .and_then(|key| Ok(key.encrypt(text, &mut block)?.len())),
    }
    .unwrap();
    STANDARD.encode(block)
}

/// Texts that look much like a login, and some that do not.
fn login_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"user:".to_vec()),
        Just(b"pwd:".to_vec()),
        Just(b"ts:".to_vec()),
        "[ \t\n\r\\x0b\0]{0,2}".prop_map(String::into_bytes),
        "[a-z]{1,6}".prop_map(String::into_bytes),
        "[+-]?[0-9]{0,21}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..14).prop_map(|pieces| {
        let mut text = pieces.concat();
        text.truncate(200);
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_token_is_answered(token in "\\PC{0,400}", base64 in vec(any::<u8>(), 0..300)) {
        for padding in PADDINGS {
            let server = KEYS.server(MARIO, padding);
            for token in [&token, &STANDARD.encode(&base64)] {
                prop_assert!(matches!(server.check(token), Err(Denied::BadToken)));
            }
        }
    }

    #[test]
    fn any_block_is_answered(block in vec(any::<u8>(), 256)) {
        for padding in PADDINGS {
            let outcome = KEYS.server(MARIO, padding).check(&STANDARD.encode(&block));
            prop_assert!(matches!(outcome, Err(Denied::BadToken)));
        }
    }

    #[test]
    fn any_text_is_answered(text in login_like()) {
        for padding in PADDINGS {
            prop_assert!(KEYS.server(MARIO, padding).check(&sealed(&text, padding)).is_err());
        }
    }

    #[test]
    fn any_login_arrives(user in "[!-~]{1,40}", password in "[^\\s\\x00-\\x20\\x7f]{1,30}") {
        for padding in PADDINGS {
            let outcome = KEYS.server(MARIO, padding).check(&KEYS.token(&user, &password, padding));
            prop_assert!(matches!(outcome, Err(Denied::UnknownUserOrWrongPassword)), "{outcome:?}");
        }
    }

    #[test]
    fn any_users_file_is_answered(users in vec(any::<u8>(), 0..300)) {
        let server = KEYS.server("", Padding::Oaep);
        fs::write(server.users(), &users).unwrap();
        let outcome = server.check(&KEYS.token("mario", "rossi", Padding::Oaep));
        prop_assert!(matches!(outcome, Err(Denied::UnknownUserOrWrongPassword)));
    }
}

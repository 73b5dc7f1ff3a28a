//! Which logins a server accepts, and its errors for the others.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iperf_auth::{AuthError, Denied, Padding, Password, token};

use crate::openssl::{KEYS, MARIO, PADDINGS, Server, at, openssl};

/// The users file of most tests here, including all kinds of lines that are ignored.
fn users() -> String {
    let windows = MARIO.replace('\n', "\r\n");
    format!("# users\r\n\r\n\n#{MARIO}no comma\n,\nluigi,00\r\n{windows}peach,11")
}

#[test]
fn a_user_with_the_password_is_admitted() {
    for padding in PADDINGS {
        let server = KEYS.server(&users(), padding);
        let token = KEYS.token("mario", "rossi", padding);
        assert_eq!(server.check(&token).unwrap(), "mario");
    }
}

#[test]
fn both_ends_must_pad_alike() {
    for (padding, other) in [
        (Padding::Oaep, Padding::Pkcs1),
        (Padding::Pkcs1, Padding::Oaep),
    ] {
        let outcome = KEYS
            .server(MARIO, padding)
            .check(&KEYS.token("mario", "rossi", other));
        assert!(matches!(outcome, Err(Denied::BadToken)), "{outcome:?}");
    }
}

#[test]
fn names_and_passwords_are_exact() {
    let server = KEYS.server(&users(), Padding::Oaep);
    for (user, password) in [
        ("mario", "Rossi"),
        ("mario", "ross"),
        ("mario", "rossi1"),
        ("Mario", "rossi"),
        ("mari", "orossi"),
        ("luigi", "rossi"),
        ("#mario", "rossi"),
        ("nobody", "rossi"),
    ] {
        let outcome = server.check(&KEYS.token(user, password, Padding::Oaep));
        assert!(
            matches!(outcome, Err(Denied::UnknownUserOrWrongPassword)),
            "{user} {password}: {outcome:?}"
        );
    }
}

#[test]
fn hashes_are_in_lower_case_and_alone() {
    let (name, hash) = MARIO.trim_end().split_once(',').unwrap();
    for line in [
        format!("{name},{}", hash.to_uppercase()),
        format!("{name}, {hash}"),
        format!("{name},{hash} "),
        format!("{name},{hash},"),
        format!(" {name},{hash}"),
        format!("{name},{}", &hash[1..]),
        format!("{name},"),
        format!("{name} {hash}"),
    ] {
        let outcome =
            KEYS.server(&line, Padding::Oaep)
                .check(&KEYS.token("mario", "rossi", Padding::Oaep));
        assert!(
            matches!(outcome, Err(Denied::UnknownUserOrWrongPassword)),
            "{line}: {outcome:?}"
        );
    }
}

#[test]
fn a_name_may_have_several_passwords() {
    let users = format!("mario,00\n{MARIO}mario,11\n");
    let token = KEYS.token("mario", "rossi", Padding::Oaep);
    assert!(KEYS.server(&users, Padding::Oaep).check(&token).is_ok());
}

#[test]
fn clocks_may_differ_as_much_as_allowed() {
    let server = KEYS.server(MARIO, Padding::Oaep);
    let token = KEYS.token("mario", "rossi", Padding::Oaep);
    for (server_clock, client_is_ahead) in [
        (0, None),
        (10, None),
        (-10, None),
        (11, Some(-11)),
        (-11, Some(11)),
        (86_400, Some(-86_400)),
    ] {
        match server.authorizer.check(Some(&token), at(server_clock)) {
            Ok(user) => assert_eq!((user.as_str(), client_is_ahead), ("mario", None)),
            Err(Denied::Skew { seconds }) => assert_eq!(Some(seconds), client_is_ahead),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_skew_is_reported_with_its_sign() {
    let outcome = |seconds| Denied::Skew { seconds }.to_string();
    assert_eq!(outcome(-11), "the client's clock is 11 s behind this one's");
    assert_eq!(
        outcome(11),
        "the client's clock is 11 s ahead of this one's"
    );
    assert!(outcome(i64::MIN).contains("9223372036854775808 s behind"));
}

#[test]
fn a_time_far_off_is_refused_without_overflow() {
    let server = KEYS.server(MARIO, Padding::Oaep);
    for time in [i64::MIN, i64::MAX] {
        let text = format!("user: mario\npwd:  rossi\nts:   {time}");
        let outcome = server.check(&sealed(text.as_bytes()));
        assert!(matches!(outcome, Err(Denied::Skew { .. })), "{outcome:?}");
    }
}

#[test]
fn the_users_file_is_read_at_each_login() {
    let server = KEYS.server("", Padding::Oaep);
    let token = KEYS.token("mario", "rossi", Padding::Oaep);
    assert!(server.check(&token).is_err());
    fs::write(server.users(), MARIO).unwrap();
    assert!(server.check(&token).is_ok());
    fs::remove_file(server.users()).unwrap();
    assert!(matches!(server.check(&token), Err(Denied::UsersFile(_))));
}

#[test]
fn what_is_no_token_is_refused() {
    let server = KEYS.server(MARIO, Padding::Oaep);
    assert!(matches!(
        server.authorizer.check(None, at(0)),
        Err(Denied::NoToken)
    ));
    let token = KEYS.token("mario", "rossi", Padding::Oaep);
    for bad in [
        String::new(),
        "mario rossi".to_owned(),
        format!("{token}AAAA"),
        format!("{token}\n"),
        token[..token.len() - 4].to_owned(),
        token.replace('=', ""),
        STANDARD.encode([0xff; 256]),
        STANDARD.encode([0; 256]),
        "A".repeat(10_000_000),
        sealed(b""),
        sealed(b"user: mario\npwd:  rossi\n"),
        sealed(b"user: mario\n pwd:\nts: 1795368534"),
        sealed(&[0xff; 200]),
    ] {
        let outcome = server.check(&bad);
        assert!(matches!(outcome, Err(Denied::BadToken)), "{outcome:?}");
    }
}

#[test]
fn a_token_for_another_server_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), "genrsa -out private.pem 3072", b"");
    openssl(
        folder.path(),
        "rsa -in private.pem -pubout -out public.pem",
        b"",
    );
    let other = Server::new(&folder.path().join("private.pem"), MARIO, Padding::Oaep);
    let outcome = other.check(&KEYS.token("mario", "rossi", Padding::Oaep));
    assert!(matches!(outcome, Err(Denied::BadToken)), "{outcome:?}");
}

#[test]
fn a_token_can_only_be_made_of_what_arrives_whole() {
    let key = KEYS.public();
    let make = |user: &str, password: &str, padding| {
        token(&key, user, &Password::new(password), at(0), padding)
    };
    for bad in [
        "", " ", "a b", "a\n", "\ta", "a\r", "a\x0bb", "a\x0cb", "a\0",
    ] {
        for (user, password) in [(bad, "rossi"), ("mario", bad)] {
            let outcome = make(user, password, Padding::Oaep);
            assert!(
                matches!(outcome, Err(AuthError::Unsendable { .. })),
                "{user:?} {password:?}"
            );
        }
    }
    // 256 bytes of key, less 42 or 11 of padding, less 30 of labels and time.
    for (padding, room) in [(Padding::Oaep, 184), (Padding::Pkcs1, 215)] {
        let secret = "x".repeat(room - 5);
        assert!(make("mario", &secret, padding).is_ok());
        let outcome = make("luigi1", &secret, padding).unwrap_err();
        assert!(matches!(outcome, AuthError::TooLong { room: outcome } if outcome == room));
        assert!(!format!("{outcome} {outcome:?}").contains('x'), "{outcome}");
    }
}

/// A token with any text inside.
fn sealed(text: &[u8]) -> String {
    crate::properties::sealed(text, Padding::Oaep)
}

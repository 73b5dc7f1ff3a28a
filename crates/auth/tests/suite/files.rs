//! Which keys can be used, and the errors for the others.

use std::fs;
use std::path::Path;
use std::time::Duration;

use iperf_auth::{Authorizer, Padding, Password, PublicKey, token};

use crate::openssl::{KEYS, MARIO, PADDINGS, Server, at, openssl};

const CLIENT: &str = "you must specify a username, password, and path to a valid RSA public key";
const SERVER: &str =
    "you must specify a path to a valid RSA private key and a user credential file";

fn public_error(path: &Path) -> String {
    PublicKey::load(path).unwrap_err().to_string()
}

fn private_error(path: &Path) -> String {
    let users = KEYS.path("public.pem");
    let error = Authorizer::load(path, &users, Duration::from_secs(10), Padding::Oaep).unwrap_err();
    assert_eq!(error.code().0, 23);
    error.to_string()
}

#[test]
fn all_forms_of_a_key_are_the_same_key() {
    for padding in PADDINGS {
        for public in ["public.pem", "public-rsa.pem"] {
            let key = PublicKey::load(&KEYS.path(public)).unwrap();
            let token = token(&key, "mario", &Password::new("rossi"), at(0), padding).unwrap();
            for private in ["private.pem", "private-rsa.pem"] {
                let server = Server::new(&KEYS.path(private), MARIO, padding);
                assert_eq!(server.check(&token).unwrap(), "mario", "{public} {private}");
            }
        }
    }
}

#[test]
fn a_key_file_may_contain_other_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let [public, private] = ["public.pem", "private.pem"].map(|name| {
        let key = fs::read_to_string(KEYS.path(name)).unwrap();
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text = format!("a note\n{other}{key}{other}").replace('\n', "\r\n");
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    });
    let key = PublicKey::load(&public).unwrap();
    let token = token(&key, "mario", &Password::new("rossi"), at(0), Padding::Oaep).unwrap();
    let server = Server::new(&private, MARIO, Padding::Oaep);
    assert_eq!(server.check(&token).unwrap(), "mario");
}

#[test]
fn an_unusable_key_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for words in [
        "genrsa -out small.pem 768",
        "rsa -in small.pem -pubout -out small-public.pem",
        "ecparam -name prime256v1 -genkey -out ec.pem",
        "pkcs8 -topk8 -nocrypt -in ec.pem -out ec-8.pem",
        "ec -in ec.pem -pubout -out ec-public.pem",
        "genpkey -algorithm ed25519 -out ed25519.pem",
        "pkey -in ed25519.pem -pubout -out ed25519-public.pem",
    ] {
        openssl(folder.path(), words, b"");
    }
    fs::write(file("empty.pem"), "").unwrap();
    for (name, label) in [
        ("damaged.pem", "PRIVATE KEY"),
        ("damaged-public.pem", "PUBLIC KEY"),
    ] {
        let text = format!("-----BEGIN {label}-----\nsecret?\n-----END {label}-----\n");
        fs::write(file(name), text).unwrap();
    }
    let small = "the RSA key has 768 bits; 1024 to 8192 are possible";
    let ed25519 = "the key is Ed25519; an RSA key is needed";
    let ec = "the key is EC; an RSA key is needed";
    let damaged = "the PEM text is damaged";
    let passphrase = "the key is encrypted; a key without passphrase is needed";
    let no_private = "the file holds no RSA private key in PEM form";
    let old_ec = format!("{no_private}, but EC PARAMETERS and EC PRIVATE KEY");
    let public = format!("{no_private}, but PUBLIC KEY");
    for (path, why) in [
        (file("missing.pem"), "No such file or directory"),
        (folder.path().to_owned(), "Is a directory"),
        (file("empty.pem"), no_private),
        (KEYS.path("public.pem"), &public),
        (file("ec.pem"), &old_ec),
        (file("ec-8.pem"), ec),
        (file("damaged.pem"), damaged),
        (file("small.pem"), small),
        (file("ed25519.pem"), ed25519),
        (KEYS.path("encrypted.pem"), passphrase),
        (KEYS.path("encrypted-rsa.pem"), passphrase),
    ] {
        assert_eq!(
            private_error(&path),
            format!("{SERVER}: {}: {why}", path.display())
        );
    }
    let no_public = "the file holds no RSA public key in PEM form";
    let private = format!("{no_public}, but PRIVATE KEY");
    for (path, why) in [
        (file("missing.pem"), "No such file or directory"),
        (file("empty.pem"), no_public),
        (KEYS.path("private.pem"), &private),
        (file("ec-public.pem"), ec),
        (file("damaged-public.pem"), damaged),
        (file("small-public.pem"), small),
        (file("ed25519-public.pem"), ed25519),
    ] {
        assert_eq!(
            public_error(&path),
            format!("{CLIENT}: {}: {why}", path.display())
        );
    }
}

/// iperf3 takes them, too.
#[test]
fn a_small_key_is_used_and_called_weak() {
    let folder = tempfile::tempdir().unwrap();
    for bits in [1024, 1536, 2047] {
        for words in [
            format!("genrsa -out private.pem {bits}"),
            "rsa -in private.pem -traditional -out private-rsa.pem".to_owned(),
            "rsa -in private.pem -pubout -out public.pem".to_owned(),
            "rsa -in private.pem -RSAPublicKey_out -out public-rsa.pem".to_owned(),
        ] {
            openssl(folder.path(), &words, b"");
        }
        for padding in PADDINGS {
            for [private, public] in [
                ["private.pem", "public.pem"],
                ["private-rsa.pem", "public-rsa.pem"],
            ] {
                let key = PublicKey::load(&folder.path().join(public)).unwrap();
                let weak = format!("an RSA key of {bits} bits is weak; use 2048 or more");
                assert!(key.weakness().unwrap().ends_with(&weak));
                let made = token(&key, "mario", &Password::new("rossi"), at(0), padding).unwrap();
                let server = Server::new(&folder.path().join(private), MARIO, padding);
                assert_eq!(server.check(&made).unwrap(), "mario", "{bits} {padding:?}");
                let other = PADDINGS
                    .into_iter()
                    .find(|other| *other != padding)
                    .unwrap();
                let server = Server::new(&folder.path().join(private), MARIO, other);
                assert!(server.check(&made).is_err(), "{bits} {padding:?}");
            }
        }
    }
    let usual = PublicKey::load(&KEYS.path("public.pem")).unwrap();
    assert_eq!(usual.weakness(), None);
}

#[test]
fn a_key_with_a_swapped_label_is_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    for (name, from, to) in [
        ("private.pem", "PRIVATE", "RSA PRIVATE"),
        ("private-rsa.pem", "RSA PRIVATE", "PRIVATE"),
    ] {
        let text = fs::read_to_string(KEYS.path(name)).unwrap();
        fs::write(&path, text.replace(from, to)).unwrap();
        assert!(private_error(&path).ends_with("the PEM text is damaged"));
    }
}

#[test]
fn the_users_file_must_be_there_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (users, why) in [
        (folder.path().join("users.csv"), "No such file or directory"),
        (folder.path().to_owned(), "Is a directory"),
    ] {
        let error = Authorizer::load(
            &KEYS.path("private.pem"),
            &users,
            Duration::from_secs(10),
            Padding::Oaep,
        )
        .unwrap_err();
        assert_eq!(error.code().0, 35);
        assert_eq!(
            error.to_string(),
            format!(
                "cannot access authorized users file: {}: {why}",
                users.display()
            )
        );
    }
}

#[test]
fn keys_are_not_shown() {
    let server = KEYS.server(MARIO, Padding::Oaep);
    let shown = format!("{:?} {:?}", server.authorizer, KEYS.public());
    assert!(shown.len() < 400, "{shown}");
    assert!(!shown.contains("bf7a49a8"));
}

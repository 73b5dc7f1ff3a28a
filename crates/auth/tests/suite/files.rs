//! Which keys can be used, and what is said of the others.

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
    let told = Authorizer::load(path, &users, Duration::from_secs(10), Padding::Oaep).unwrap_err();
    assert_eq!(told.code().0, 23);
    told.to_string()
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
fn a_key_may_stand_among_other_things() {
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
        "genrsa -out small.pem 1024",
        "rsa -in small.pem -pubout -out small-public.pem",
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
    let kind = "not an RSA key of 2048 to 8192 bits";
    let damaged = "the PEM text is damaged";
    let passphrase = "the key is encrypted; a key without passphrase is needed";
    let no_private = "the file holds no private key in PEM form";
    for (path, why) in [
        (file("missing.pem"), "No such file or directory"),
        (folder.path().to_owned(), "Is a directory"),
        (file("empty.pem"), no_private),
        (KEYS.path("public.pem"), no_private),
        (file("damaged.pem"), damaged),
        (file("small.pem"), kind),
        (file("ed25519.pem"), kind),
        (KEYS.path("encrypted.pem"), passphrase),
        (KEYS.path("encrypted-rsa.pem"), passphrase),
    ] {
        assert_eq!(
            private_error(&path),
            format!("{SERVER}: {}: {why}", path.display())
        );
    }
    let no_public = "the file holds no public key in PEM form";
    for (path, why) in [
        (file("missing.pem"), "No such file or directory"),
        (file("empty.pem"), no_public),
        (KEYS.path("private.pem"), no_public),
        (file("damaged-public.pem"), damaged),
        (file("small-public.pem"), kind),
        (file("ed25519-public.pem"), kind),
    ] {
        assert_eq!(
            public_error(&path),
            format!("{CLIENT}: {}: {why}", path.display())
        );
    }
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
        assert!(private_error(&path).ends_with("not an RSA key of 2048 to 8192 bits"));
    }
}

#[test]
fn the_users_file_must_be_there_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (users, why) in [
        (folder.path().join("users.csv"), "No such file or directory"),
        (folder.path().to_owned(), "Is a directory"),
    ] {
        let told = Authorizer::load(
            &KEYS.path("private.pem"),
            &users,
            Duration::from_secs(10),
            Padding::Oaep,
        )
        .unwrap_err();
        assert_eq!(told.code().0, 35);
        assert_eq!(
            told.to_string(),
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

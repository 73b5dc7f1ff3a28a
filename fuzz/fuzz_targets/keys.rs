//! Files of keys: a public one as a client reads it, a private one as a server does.
//! Seeds are keys of several kinds, made by `fuzz/run`.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use iperf_auth::{Authorizer, Padding, Password, PublicKey, token};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("iperf-fuzz-keys-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the keys");
    fs::write(folder.join("users.csv"), "").expect("the users file is written");
    folder
});

fuzz_target!(|bytes: &[u8]| {
    let file = FOLDER.join("key.pem");
    fs::write(&file, bytes).expect("the key file is written");
    let now = UNIX_EPOCH + Duration::from_secs(1_795_368_534);
    for padding in [Padding::Oaep, Padding::Pkcs1] {
        if let Ok(key) = PublicKey::load(&file) {
            let _ = token(&key, "mario", &Password::new("rossi"), now, padding);
        }
        let users = FOLDER.join("users.csv");
        if let Ok(authorizer) = Authorizer::load(&file, &users, Duration::from_secs(10), padding) {
            let _ = authorizer.check(Some("bWFyaW8="), now);
        }
    }
});

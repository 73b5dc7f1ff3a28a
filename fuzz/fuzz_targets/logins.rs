//! What a client sends to log in, and the users file that it is compared with: as a token, and as the text in one.
//! The key is of 1024 bits, made by `openssl` when the target starts.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iperf_auth::{Authorizer, Padding};
use libfuzzer_sys::fuzz_target;
use rsa::PublicKey;
use rsa::pkcs8::DecodePublicKey as _;

/// The longest text that a block of 1024 bits has room for.
const ROOM: usize = 128 - 11;

struct Server {
    folder: PathBuf,
    key: PublicKey,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("iperf-fuzz-logins-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the key");
    openssl(&folder, &["genrsa", "-out", "private.pem", "1024"]);
    openssl(&folder, &["rsa", "-in", "private.pem", "-pubout", "-out", "public.pem"]);
    let pem = fs::read_to_string(folder.join("public.pem")).expect("openssl wrote a key");
    let key = PublicKey::from_public_key_pem(&pem).expect("the key is read");
    Server { folder, key }
});

fn openssl(folder: &Path, words: &[&str]) {
    let output = Command::new("openssl").args(words).current_dir(folder).output();
    assert!(output.expect("openssl runs").status.success());
}

// The first byte 0xff divides the users file from the login.
fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|&byte| byte == 0xff).unwrap_or(0);
    let (users, login) = bytes.split_at(cut);
    let login = login.strip_prefix(&[0xff]).unwrap_or(login);
    let users_file = SERVER.folder.join("users.csv");
    fs::write(&users_file, users).expect("the users file is written");

    let private_key = SERVER.folder.join("private.pem");
    let skew = Duration::from_secs(10);
    let Ok(authorizer) = Authorizer::load(&private_key, &users_file, skew, Padding::Pkcs1) else {
        return;
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_795_368_534);
    let _ = authorizer.check(std::str::from_utf8(login).ok(), now);

    let text = &login[..login.len().min(ROOM)];
    let block = SERVER.key.pkcs1v15_encrypt(text);
    let token = STANDARD.encode(block.expect("the text fits"));
    if let Ok(user) = authorizer.check(Some(&token), now) {
        assert!(!user.contains(char::is_control), "what is shown has no control characters");
        // A login that was valid now is not valid for ever.
        let later = SystemTime::now() + Duration::from_secs(1 << 40);
        assert!(authorizer.check(Some(&token), later).is_err());
    }
});

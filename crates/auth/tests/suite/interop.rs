//! The other half is the `openssl` program, so both the padding and the text are what iperf3 makes and reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iperf_auth::Padding;

use crate::openssl::{KEYS, MARIO, PADDINGS, openssl};

fn options(padding: Padding) -> &'static str {
    match padding {
        Padding::Oaep => {
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1 -pkeyopt rsa_mgf1_md:sha1"
        }
        Padding::Pkcs1 => "-pkeyopt rsa_padding_mode:pkcs1",
    }
}

#[test]
fn openssl_reads_our_tokens() {
    for padding in PADDINGS {
        let token = KEYS.token("mario", "rossi", padding);
        assert_eq!(token.len(), 344);
        assert!(!token.contains(char::is_whitespace));
        let block = STANDARD.decode(token).unwrap();
        let text = openssl(
            KEYS.folder(),
            &format!("pkeyutl -decrypt -inkey private.pem {}", options(padding)),
            &block,
        );
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "user: mario\npwd:  rossi\nts:   1795368534",
            "{padding:?}"
        );
    }
}

#[test]
fn we_read_tokens_of_openssl() {
    for padding in PADDINGS {
        let block = openssl(
            KEYS.folder(),
            &format!(
                "pkeyutl -encrypt -pubin -inkey public.pem {}",
                options(padding)
            ),
            b"user: mario\npwd:  rossi\nts:   1795368534",
        );
        let token = openssl(KEYS.folder(), "base64 -A", &block);
        let server = KEYS.server(MARIO, padding);
        let user = server.check(str::from_utf8(&token).unwrap());
        assert_eq!(user.unwrap(), "mario", "{padding:?}");
    }
}

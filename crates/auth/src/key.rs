//! RSA keys: from PEM files to what encrypts and decrypts one block.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeyPair, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
    PublicKey as AnyPublicKey,
};
use pem::Pem;
use zeroize::Zeroizing;

use crate::der::{STRONG_BITS, rsa_bits};
use crate::file;
use crate::small::{SmallPrivateKey, SmallPublicKey};
use crate::{AuthError, KeyProblem};

/// How a login is padded to the size of the key. Both ends must do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// OAEP with SHA-1 and MGF1-SHA-1 (RFC 8017, section 7.1): iperf3 3.17 and later.
    Oaep,
    /// PKCS#1 v1.5 (RFC 8017, section 7.2): iperf3 up to 3.16, and later with `--use-pkcs1-padding`.
    Pkcs1,
}

impl Padding {
    /// How many bytes of a block are not text.
    fn overhead(self) -> usize {
        match self {
            Self::Oaep => 2 * 20 + 2,
            Self::Pkcs1 => 11,
        }
    }
}

/// A warning about a key that is too weak to be recommended.
fn weakness(path: &Path, bits: usize) -> Option<String> {
    (bits < STRONG_BITS).then(|| {
        format!(
            "{}: an RSA key of {bits} bits is weak; use {STRONG_BITS} or more",
            path.display()
        )
    })
}

/// The public key of a server: what a client encrypts its login with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    key: AnySize,
    weakness: Option<String>,
}

#[derive(Clone, Debug)]
enum AnySize {
    Usual(PublicEncryptingKey),
    Small(SmallPublicKey),
}

impl PublicKey {
    /// Reads a PEM file: `PUBLIC KEY` (SubjectPublicKeyInfo, RFC 5280) or `RSA PUBLIC KEY` (RFC 8017), of 1024 to 8192
    /// bits.
    pub fn load(path: &Path) -> Result<Self, AuthError> {
        Self::read(path).map_err(|problem| AuthError::PublicKey {
            path: path.to_owned(),
            problem,
        })
    }

    fn read(path: &Path) -> Result<Self, KeyProblem> {
        let block = read_block(path, "RSA public key", &["PUBLIC KEY", "RSA PUBLIC KEY"])?;
        let bits = rsa_bits(&block)?;
        let key = if bits < STRONG_BITS {
            AnySize::Small(SmallPublicKey::read(&block)?)
        } else {
            let key = AnyPublicKey::from_der(block.contents()).map_err(|_| KeyProblem::Damaged)?;
            let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| KeyProblem::Damaged)?;
            PublicEncryptingKey::from_der(der.as_ref())
                .map(AnySize::Usual)
                .map_err(|_| KeyProblem::Damaged)?
        };
        let weakness = weakness(path, bits);
        Ok(Self { key, weakness })
    }

    /// A warning, where the key is weak.
    pub fn weakness(&self) -> Option<&str> {
        self.weakness.as_deref()
    }

    /// How many bytes of text fit into a block.
    pub(crate) fn room(&self, padding: Padding) -> usize {
        let size = match &self.key {
            AnySize::Usual(key) => key.key_size_bytes(),
            AnySize::Small(key) => key.size(),
        };
        size.saturating_sub(padding.overhead())
    }

    /// Makes a block of a text.
    pub(crate) fn encrypt(&self, text: &[u8], padding: Padding) -> Result<Vec<u8>, AuthError> {
        let key = match &self.key {
            AnySize::Usual(key) => key.clone(),
            AnySize::Small(key) => return key.encrypt(text, padding).ok_or(AuthError::Encryption),
        };
        let mut block = vec![0; key.key_size_bytes()];
        let written = match padding {
            Padding::Oaep => OaepPublicEncryptingKey::new(key).and_then(|key| {
                Ok(key
                    .encrypt(&OAEP_SHA1_MGF1SHA1, text, &mut block, None)?
                    .len())
            }),
            Padding::Pkcs1 => Pkcs1PublicEncryptingKey::new(key)
                .and_then(|key| Ok(key.encrypt(text, &mut block)?.len())),
        };
        block.truncate(written.map_err(|_| AuthError::Encryption)?);
        Ok(block)
    }
}

/// A server's private key, for one kind of padding.
#[derive(Debug)]
pub(crate) struct PrivateKey {
    key: Decrypting,
    /// A warning, where the key is weak.
    pub(crate) weakness: Option<String>,
}

#[derive(Debug)]
enum Decrypting {
    Oaep(OaepPrivateDecryptingKey),
    Pkcs1(Pkcs1PrivateDecryptingKey),
    Small(Box<SmallPrivateKey>),
}

impl PrivateKey {
    /// Reads a PEM file: `PRIVATE KEY` (PKCS#8, RFC 5208) or `RSA PRIVATE KEY` (RFC 8017), of 1024 to 8192 bits and
    /// without passphrase.
    pub(crate) fn load(path: &Path, padding: Padding) -> Result<Self, AuthError> {
        Self::read(path, padding).map_err(|problem| AuthError::PrivateKey {
            path: path.to_owned(),
            problem,
        })
    }

    fn read(path: &Path, padding: Padding) -> Result<Self, KeyProblem> {
        let labels = ["PRIVATE KEY", "RSA PRIVATE KEY"];
        let block = read_block(path, "RSA private key", &labels)?;
        let bits = rsa_bits(&block)?;
        let key = if bits < STRONG_BITS {
            Decrypting::Small(Box::new(SmallPrivateKey::read(&block, padding)?))
        } else {
            Self::read_usual(block, padding)?
        };
        let weakness = weakness(path, bits);
        Ok(Self { key, weakness })
    }

    fn read_usual(block: Pem, padding: Padding) -> Result<Decrypting, KeyProblem> {
        let is_pkcs8 = block.tag() == "PRIVATE KEY";
        let der = Zeroizing::new(block.into_contents());
        let key = if is_pkcs8 {
            PrivateDecryptingKey::from_pkcs8(&der)
        } else {
            // The library reads the older form only for keys that sign, but writes those in the newer form.
            KeyPair::from_der(&der).and_then(|pair| {
                let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair)?;
                PrivateDecryptingKey::from_pkcs8(der.as_ref())
            })
        }
        .map_err(|_| KeyProblem::Damaged)?;
        match padding {
            Padding::Oaep => OaepPrivateDecryptingKey::new(key).map(Decrypting::Oaep),
            Padding::Pkcs1 => Pkcs1PrivateDecryptingKey::new(key).map(Decrypting::Pkcs1),
        }
        .map_err(|_| KeyProblem::Damaged)
    }

    /// The size of a block in bytes.
    pub(crate) fn size(&self) -> usize {
        match &self.key {
            Decrypting::Oaep(key) => key.key_size_bytes(),
            Decrypting::Pkcs1(key) => key.key_size_bytes(),
            Decrypting::Small(key) => key.size(),
        }
    }

    /// The text in a block, if the block was made with the public key of this key and the same padding.
    pub(crate) fn decrypt(&self, block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if block.len() != self.size() {
            return None;
        }
        let mut text = Zeroizing::new(vec![0; block.len()]);
        let length = match &self.key {
            Decrypting::Oaep(key) => key.decrypt(&OAEP_SHA1_MGF1SHA1, block, &mut text, None),
            Decrypting::Pkcs1(key) => key.decrypt(block, &mut text),
            Decrypting::Small(key) => return key.decrypt(block),
        }
        .ok()?
        .len();
        text.truncate(length);
        Some(text)
    }
}

/// The first PEM block of a file that has one of the labels. `kind` names them in the error.
fn read_block(path: &Path, kind: &'static str, labels: &[&str]) -> Result<Pem, KeyProblem> {
    let file = file::read(path).map_err(KeyProblem::Unreadable)?;
    // The library's reason is dropped: it may quote the file.
    let blocks = pem::parse_many(&*file).map_err(|_| KeyProblem::Damaged)?;
    let mut found = Vec::new();
    for block in blocks {
        // RFC 5958 has a label for encrypted keys; the older form has a header (RFC 1421, section 4.6.1.1).
        let header = block.headers().get("Proc-Type").unwrap_or_default();
        if block.tag() == "ENCRYPTED PRIVATE KEY" || header.contains("ENCRYPTED") {
            return Err(KeyProblem::Encrypted);
        }
        if labels.contains(&block.tag()) {
            return Ok(block);
        }
        found.push(block.tag().to_owned());
    }
    Err(KeyProblem::Missing {
        wanted: kind,
        found,
    })
}

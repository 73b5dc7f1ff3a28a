//! RSA keys of less than 2048 bits, which aws-lc refuses but iperf3 accepts. They are weak in any implementation.

use pem::Pem;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::traits::PublicKeyParts;
use rsa::{PrivateKey, PublicKey};
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::{KeyProblem, Padding};

/// A public key.
#[derive(Clone, Debug)]
pub(crate) struct SmallPublicKey(PublicKey);

impl SmallPublicKey {
    pub(crate) fn read(block: &Pem) -> Result<Self, KeyProblem> {
        let der = block.contents();
        let key = match block.tag() {
            "PUBLIC KEY" => PublicKey::from_public_key_der(der).ok(),
            _ => PublicKey::from_pkcs1_der(der).ok(),
        };
        key.map(Self).ok_or(KeyProblem::Damaged)
    }

    pub(crate) fn size(&self) -> usize {
        self.0.size()
    }

    pub(crate) fn encrypt(&self, text: &[u8], padding: Padding) -> Option<Vec<u8>> {
        match padding {
            Padding::Oaep => self.0.oaep_encrypt::<Sha1>(text),
            Padding::Pkcs1 => self.0.pkcs1v15_encrypt(text),
        }
        .ok()
    }
}

/// A private key, for one kind of padding.
pub(crate) struct SmallPrivateKey {
    key: PrivateKey,
    padding: Padding,
}

impl SmallPrivateKey {
    pub(crate) fn read(block: &Pem, padding: Padding) -> Result<Self, KeyProblem> {
        let der = block.contents();
        let key = match block.tag() {
            "PRIVATE KEY" => PrivateKey::from_pkcs8_der(der).ok(),
            _ => PrivateKey::from_pkcs1_der(der).ok(),
        };
        let key = key.ok_or(KeyProblem::Damaged)?;
        Ok(Self { key, padding })
    }

    pub(crate) fn size(&self) -> usize {
        self.key.size()
    }

    /// The text in a block; with PKCS#1 v1.5 a block that was made with another key has some text, too.
    pub(crate) fn decrypt(&self, block: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self.padding {
            Padding::Oaep => self.key.oaep_decrypt::<Sha1>(block),
            Padding::Pkcs1 => self.key.pkcs1v15_decrypt(block),
        }
        .ok()
        .map(Zeroizing::new)
    }
}

impl std::fmt::Debug for SmallPrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SmallPrivateKey(..)")
    }
}

//! What is in a PEM block: whether it is an RSA key, and of how many bits. An error names what is there instead.

use std::ops::RangeInclusive;

use pem::Pem;
use rsa::pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef, UintRef};
use rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
use rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};

use crate::KeyProblem;

/// The sizes of RSA keys that can be used, in bits.
pub(crate) const BITS: RangeInclusive<usize> = 1024..=8192;

/// Sizes below this one are weak (NIST SP 800-131A), and another library handles them.
pub(crate) const STRONG_BITS: usize = 2048;

/// `rsaEncryption` (RFC 8017, appendix A.1)
const RSA: &str = "1.2.840.113549.1.1.1";

/// Names for the other algorithms that keys are made for.
const OTHERS: [(&str, &str); 7] = [
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.10045.2.1", "EC"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.3.101.110", "X25519"),
    ("1.3.101.111", "X448"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
];

/// How many bits the RSA key in a block has, public or private, in the newer form or in the older one.
pub(crate) fn rsa_bits(block: &Pem) -> Result<usize, KeyProblem> {
    let der = block.contents();
    let bits = match block.tag() {
        "PUBLIC KEY" => {
            let key = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| KeyProblem::Damaged)?;
            must_be_rsa(key.algorithm.oid)?;
            public_bits(key.subject_public_key.as_bytes().unwrap_or_default())?
        }
        "RSA PUBLIC KEY" => public_bits(der)?,
        "PRIVATE KEY" => {
            let key = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyProblem::Damaged)?;
            must_be_rsa(key.algorithm.oid)?;
            private_bits(key.private_key.as_bytes())?
        }
        _ => private_bits(der)?,
    };
    if BITS.contains(&bits) {
        Ok(bits)
    } else {
        Err(KeyProblem::Size(bits))
    }
}

fn must_be_rsa(algorithm: ObjectIdentifier) -> Result<(), KeyProblem> {
    let oid = algorithm.to_string();
    if oid == RSA {
        return Ok(());
    }
    let name = OTHERS.iter().find(|(known, _)| *known == oid);
    Err(KeyProblem::OtherKind(
        name.map_or(oid.clone(), |(_, name)| (*name).to_owned()),
    ))
}

fn public_bits(der: &[u8]) -> Result<usize, KeyProblem> {
    let key = RsaPublicKeyRef::try_from(der).map_err(|_| KeyProblem::Damaged)?;
    Ok(bits(key.modulus))
}

fn private_bits(der: &[u8]) -> Result<usize, KeyProblem> {
    let key = RsaPrivateKeyRef::try_from(der).map_err(|_| KeyProblem::Damaged)?;
    Ok(bits(key.modulus))
}

fn bits(number: UintRef<'_>) -> usize {
    let bytes = number.as_bytes();
    let unused = bytes.first().map_or(0, |byte| byte.leading_zeros());
    8 * bytes.len() - unused as usize
}

//! The objects of a token that keys are.

use cryptoki::{
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{TokenError, Trouble};
use crate::{KeyAlgorithm, SlotId, der};

/// The curve P-256, as its object identifier in DER.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// The curve of Ed25519, as its object identifier (RFC 8410) and as the name that PKCS#11 3.0 gives it.
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";
/// 65537.
const EXPONENT: &[u8] = &[1, 0, 1];

/// The `CKA_LABEL` of both halves of a key: `<trust domain>/<slot>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label(String);

/// A key pair of the token.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: Vec<u8>,
    pub(super) algorithm: KeyAlgorithm,
    /// As [`crate::SigningKey::public_key`] gives it.
    pub(super) public_key: Vec<u8>,
}

/// What is done with objects in one session.
pub(super) struct Objects<'a>(pub(super) &'a Session);

impl Label {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn new(context: &str, slot: &SlotId) -> Self {
        Self(format!("{context}/{slot}"))
    }

    fn attribute(&self) -> Attribute {
        Attribute::Label(self.0.clone().into_bytes())
    }
}

/// Whether a token with these mechanisms makes and uses keys of an algorithm.
pub(super) fn supports(mechanisms: &[MechanismType], algorithm: KeyAlgorithm) -> bool {
    let needed = match algorithm {
        KeyAlgorithm::EcdsaP256 => [MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA],
        KeyAlgorithm::Ed25519 => [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA],
        KeyAlgorithm::Rsa2048 => {
            [MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::SHA256_RSA_PKCS]
        }
    };
    needed.iter().all(|mechanism| mechanisms.contains(mechanism))
}

impl Objects<'_> {
    /// The labels of all private keys.
    pub(super) fn labels(&self) -> Result<Vec<String>, Trouble> {
        let mut labels = Vec::new();
        let privates = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
        for key in self.0.find_objects(&privates)? {
            for attribute in self.0.get_attributes(key, &[AttributeType::Label])? {
                if let Attribute::Label(label) = attribute {
                    labels.push(String::from_utf8_lossy(&label).into_owned());
                }
            }
        }
        Ok(labels)
    }

    /// The private keys of this label; more than one only while two processes make the same.
    pub(super) fn privates(&self, label: &Label) -> Result<Vec<ObjectHandle>, Trouble> {
        Ok(self.0.find_objects(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Token(true),
            label.attribute(),
        ])?)
    }

    pub(super) fn has(&self, label: &Label) -> Result<bool, Trouble> {
        Ok(!self.privates(label)?.is_empty())
    }

    /// The one private key of this label and id.
    pub(super) fn private(&self, label: &Label, id: &[u8]) -> Result<ObjectHandle, Trouble> {
        let found = self.0.find_objects(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Token(true),
            label.attribute(),
            Attribute::Id(id.to_vec()),
        ])?;
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(TokenError::Vanished.into()),
            _ => Err(TokenError::SeveralKeys { label: label.0.clone() }.into()),
        }
    }

    /// The key pair of this label, held to what such keys are.
    pub(super) fn read(&self, label: &Label) -> Result<Option<Found>, Trouble> {
        let private = match self.privates(label)?.as_slice() {
            [] => return Ok(None),
            [one] => *one,
            _ => return Err(TokenError::SeveralKeys { label: label.0.clone() }.into()),
        };
        let asked = [
            AttributeType::Id,
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::Local,
            AttributeType::AlwaysSensitive,
            AttributeType::NeverExtractable,
        ];
        let (mut id, mut sensitive, mut extractable) = (Vec::new(), false, true);
        // That it was made there, and was never out: one that was brought there may be elsewhere, too.
        let (mut local, mut always, mut never) = (false, false, false);
        for attribute in self.0.get_attributes(private, &asked)? {
            match attribute {
                Attribute::Id(value) => id = value,
                Attribute::Sensitive(value) => sensitive = value,
                Attribute::Extractable(value) => extractable = value,
                Attribute::Local(value) => local = value,
                Attribute::AlwaysSensitive(value) => always = value,
                Attribute::NeverExtractable(value) => never = value,
                _ => {}
            }
        }
        if !sensitive || extractable || !local || !always || !never {
            return Err(TokenError::Extractable { label: label.0.clone() }.into());
        }
        let publics = self.0.find_objects(&[
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Token(true),
            label.attribute(),
            Attribute::Id(id.clone()),
        ])?;
        let [public] = publics.as_slice() else {
            return Err(TokenError::NoPublicHalf { label: label.0.clone() }.into());
        };
        let (algorithm, public_key) = self
            .public_half(*public)?
            .ok_or_else(|| TokenError::StrangeKey { label: label.0.clone() })?;
        Ok(Some(Found { id, algorithm, public_key }))
    }

    /// Makes a key pair that never leaves the token.
    pub(super) fn make(
        &self,
        label: &Label,
        id: &[u8],
        algorithm: KeyAlgorithm,
    ) -> Result<(), Trouble> {
        match algorithm {
            KeyAlgorithm::EcdsaP256 => {
                let curve = vec![Attribute::EcParams(P256.to_vec())];
                self.make_pair(&Mechanism::EccKeyPairGen, label, id, curve)
            }
            KeyAlgorithm::Ed25519 => {
                let of = |curve: &[u8]| vec![Attribute::EcParams(curve.to_vec())];
                let make =
                    |curve| self.make_pair(&Mechanism::EccEdwardsKeyPairGen, label, id, of(curve));
                // Tokens take the one spelling of the curve or the other.
                make(ED25519).or_else(|_refused| make(ED25519_NAME))
            }
            KeyAlgorithm::Rsa2048 => {
                let size = vec![
                    Attribute::ModulusBits(2048.into()),
                    Attribute::PublicExponent(EXPONENT.to_vec()),
                ];
                self.make_pair(&Mechanism::RsaPkcsKeyPairGen, label, id, size)
            }
        }
    }

    /// Removes both halves of the keys of this label, of all or of one id.
    pub(super) fn remove(&self, label: &Label, id: Option<&[u8]>) -> Result<(), Trouble> {
        // The private half first: a public one alone is litter, and is found by the next removal.
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            let mut wanted =
                vec![Attribute::Class(class), Attribute::Token(true), label.attribute()];
            wanted.extend(id.map(|id| Attribute::Id(id.to_vec())));
            for object in self.0.find_objects(&wanted)? {
                self.0.destroy_object(object)?;
            }
        }
        Ok(())
    }

    fn make_pair(
        &self,
        mechanism: &Mechanism<'_>,
        label: &Label,
        id: &[u8],
        kind: Vec<Attribute>,
    ) -> Result<(), Trouble> {
        let mut public = vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            label.attribute(),
            Attribute::Id(id.to_vec()),
        ];
        public.extend(kind);
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            label.attribute(),
            Attribute::Id(id.to_vec()),
        ];
        self.0.generate_key_pair(mechanism, &public, &private)?;
        Ok(())
    }

    /// Algorithm and public half of a public key; `None` for one of another kind.
    fn public_half(
        &self,
        public: ObjectHandle,
    ) -> Result<Option<(KeyAlgorithm, Vec<u8>)>, Trouble> {
        let kind = self.0.get_attributes(public, &[AttributeType::KeyType])?;
        let asked = match kind.as_slice() {
            [Attribute::KeyType(KeyType::RSA)] => {
                [AttributeType::Modulus, AttributeType::PublicExponent]
            }
            [Attribute::KeyType(KeyType::EC | KeyType::EC_EDWARDS)] => {
                [AttributeType::EcParams, AttributeType::EcPoint]
            }
            _ => return Ok(None),
        };
        Ok(match self.0.get_attributes(public, &asked)?.as_slice() {
            [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] => {
                let is_right = modulus.len() == 256 && modulus.first() >= Some(&0x80);
                is_right.then(|| (KeyAlgorithm::Rsa2048, der::rsa_public_key(modulus, exponent)))
            }
            [Attribute::EcParams(curve), Attribute::EcPoint(point)] => {
                let algorithm = match curve.as_slice() {
                    P256 => Some((KeyAlgorithm::EcdsaP256, 65)),
                    ED25519 | ED25519_NAME => Some((KeyAlgorithm::Ed25519, 32)),
                    _ => None,
                };
                // The standard wraps a point in an octet string; some tokens do not.
                algorithm.and_then(|(algorithm, length)| {
                    let bare = |point: &&[u8]| point.len() == length;
                    let point = Some(point.as_slice())
                        .filter(bare)
                        .or_else(|| der::octet_string(point).filter(bare));
                    point.map(|point| (algorithm, point.to_vec()))
                })
            }
            _ => None,
        })
    }
}

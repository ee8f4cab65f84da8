//! Ed25519 itself: keys without a name, signing and checking. The one place that knows which library does
//! it: ed25519-dalek, or with the feature `aws-lc-rs` AWS-LC, whose FIPS module is the reason to ask for it.

#[cfg(feature = "aws-lc-rs")]
pub(super) use aws::{Public, Secret};
#[cfg(not(feature = "aws-lc-rs"))]
pub(super) use dalek::{Public, Secret};

/// By ed25519-dalek.
#[cfg(any(test, not(feature = "aws-lc-rs")))]
mod dalek {
    use ed25519_dalek::Signer as _;

    use crate::note::KeyError;

    /// A point of the curve.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Public(ed25519_dalek::VerifyingKey);

    impl Public {
        /// The point that 32 bytes stand for, unless it would verify what nobody signed.
        pub fn new(bytes: &[u8; 32]) -> Result<Self, KeyError> {
            super::point(bytes).map(Self)
        }

        pub fn as_bytes(&self) -> &[u8; 32] {
            self.0.as_bytes()
        }

        /// Strict: nobody can turn a signature into another valid one, and a key or nonce of small order
        /// makes none.
        pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
            ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
        }
    }

    /// A secret key, from its seed; erased when dropped.
    pub struct Secret(ed25519_dalek::SigningKey);

    impl Secret {
        pub fn new(seed: &[u8; 32]) -> Self {
            Self(ed25519_dalek::SigningKey::from_bytes(seed))
        }

        #[cfg(not(feature = "aws-lc-rs"))]
        pub fn seed(&self) -> &[u8; 32] {
            self.0.as_bytes()
        }

        pub fn public(&self) -> Public {
            Public(self.0.verifying_key())
        }

        pub fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.0.sign(message).to_bytes()
        }
    }
}

/// The point that 32 bytes stand for, unless it would verify what nobody signed. No secret is touched.
fn point(bytes: &[u8; 32]) -> Result<ed25519_dalek::VerifyingKey, super::KeyError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| super::KeyError::Weak)?;
    if key.is_weak() { Err(super::KeyError::Weak) } else { Ok(key) }
}

/// By AWS-LC.
#[cfg(feature = "aws-lc-rs")]
mod aws {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    use zeroize::Zeroizing;

    use crate::note::KeyError;

    /// A point of the curve.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Public([u8; 32]);

    impl Public {
        /// The point that 32 bytes stand for, unless it would verify what nobody signed. AWS-LC refuses
        /// neither by itself before a signature comes.
        pub fn new(bytes: &[u8; 32]) -> Result<Self, KeyError> {
            super::point(bytes).map(|_| Self(*bytes))
        }

        pub fn as_bytes(&self) -> &[u8; 32] {
            &self.0
        }

        /// Nobody can turn a signature into another valid one. Unlike the other library this one takes a
        /// nonce of small order, which only the key's holder can use.
        pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
            UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
        }
    }

    /// A secret key, from its seed; erased when dropped.
    pub struct Secret {
        seed: Zeroizing<[u8; 32]>,
        pair: Ed25519KeyPair,
    }

    impl Secret {
        pub fn new(seed: &[u8; 32]) -> Self {
            let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes are a seed");
            Self { seed: Zeroizing::new(*seed), pair }
        }

        pub fn seed(&self) -> &[u8; 32] {
            &self.seed
        }

        pub fn public(&self) -> Public {
            Public(self.pair.public_key().as_ref().try_into().expect("a public key has 32 bytes"))
        }

        pub fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.pair.sign(message).as_ref().try_into().expect("a signature has 64 bytes")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Project Wycheproof's vectors: what must verify does, and malleable, truncated, padded or otherwise
    /// doctored signatures do not.
    #[test]
    fn signatures_of_the_wycheproof_vectors_are_judged_as_they_say() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let (mut taken, mut refused) = (0, 0);
        for group in &set.test_groups {
            let public: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
            let key = Public::new(&public).unwrap();
            for test in &group.tests {
                let good = key.verify(&test.msg, &test.sig);
                let must = test.result == wycheproof::TestResult::Valid;
                assert_eq!(good, must, "{}: {}", test.tc_id, test.comment);
                if good { taken += 1 } else { refused += 1 }
            }
        }
        assert_eq!(taken + refused, set.number_of_tests);
        assert!(taken > 50 && refused > 50, "{taken} {refused}");
    }

    /// The first two vectors of RFC 8032, section 7.1.
    #[test]
    fn signatures_of_the_rfc_vectors_are_made_byte_for_byte() {
        for (seed, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                &[][..],
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                &[0x72],
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let byte = |at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap();
            let secret = Secret::new(&std::array::from_fn(byte));
            let made = secret.sign(message);
            assert_eq!(crate::base::digest::hex(&made), signature);
            assert!(secret.public().verify(message, &made));
        }
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn both_libraries_make_and_take_the_same_signatures() {
        for seed in 0..64u8 {
            let seed = std::array::from_fn(|at| seed.wrapping_mul(37) ^ at as u8);
            let (ours, theirs) = (aws::Secret::new(&seed), dalek::Secret::new(&seed));
            assert_eq!(ours.public().as_bytes(), theirs.public().as_bytes());
            let message = &seed[..usize::from(seed[0]) % 33];
            let signature = ours.sign(message);
            assert_eq!(signature, theirs.sign(message));
            for bit in (0..512).step_by(7) {
                let mut bad = signature;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!ours.public().verify(message, &bad) && !theirs.public().verify(message, &bad));
            }
            assert!(ours.public().verify(message, &signature) && theirs.public().verify(message, &signature));
        }
        for point in (0..=255u8).map(|at| [at; 32]) {
            assert_eq!(aws::Public::new(&point).is_ok(), dalek::Public::new(&point).is_ok());
        }
    }
}

//! Digests told apart by twelve bytes, in tables that hold many of them.
//!
//! A tag is made under a key that nobody outside the process knows, so nobody can look for two digests
//! with the same one; that two of a million have it by chance is one in 10^16.

use super::digest::Sha256;

/// What stands for a digest, or for some of them in an order.
pub type Tag = [u8; 12];

/// What tags are made under. Tags of two keys have nothing to do with each other.
#[derive(Debug, Clone, Copy)]
pub struct TagKey([u8; 32]);

impl TagKey {
    /// From random bytes.
    pub fn new(random: [[u8; 16]; 2]) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&random[0]);
        key[16..].copy_from_slice(&random[1]);
        Self(key)
    }

    /// The tag of a digest.
    pub fn of(&self, digest: &Sha256) -> Tag {
        self.tag(digest.as_bytes())
    }

    /// The tag of two digests in this order.
    pub fn of_two(&self, first: &Sha256, second: &Sha256) -> Tag {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(first.as_bytes());
        bytes[32..].copy_from_slice(second.as_bytes());
        self.tag(&bytes)
    }

    fn tag(&self, bytes: &[u8]) -> Tag {
        let mut tag = [0; 12];
        tag.copy_from_slice(&blake3::keyed_hash(&self.0, bytes).as_bytes()[..12]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_differs_by_digest_by_order_and_by_key() {
        let [one, other] = [[1; 16], [2; 16]].map(|half| TagKey::new([half, [0; 16]]));
        let (a, b) = (Sha256::of(b"a"), Sha256::of(b"b"));
        let tags = [one.of(&a), one.of(&b), one.of_two(&a, &b), one.of_two(&b, &a), other.of(&a)];
        assert_eq!(one.of(&a), tags[0]);
        assert!((0..tags.len()).all(|at| !tags[at + 1..].contains(&tags[at])), "{tags:?}");
        let late = TagKey::new([[1; 16], [9; 16]]);
        assert_ne!(late.of(&a), one.of(&a));
    }
}

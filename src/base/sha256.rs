//! SHA-256 (FIPS 180-4). The one place that knows which library computes it: sha2, or with the feature
//! `aws-lc-rs` AWS-LC.

#[cfg(not(feature = "aws-lc-rs"))]
use sha2::Digest as _;

/// The digest of bytes held in memory.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    #[cfg(not(feature = "aws-lc-rs"))]
    return sha2::Sha256::digest(bytes).into();
    #[cfg(feature = "aws-lc-rs")]
    taken(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// The digest of bytes that come in pieces.
#[derive(Clone)]
pub struct Sha256Hasher {
    #[cfg(not(feature = "aws-lc-rs"))]
    state: sha2::Sha256,
    #[cfg(feature = "aws-lc-rs")]
    state: aws_lc_rs::digest::Context,
}

impl Default for Sha256Hasher {
    fn default() -> Self {
        Self {
            #[cfg(not(feature = "aws-lc-rs"))]
            state: sha2::Sha256::new(),
            #[cfg(feature = "aws-lc-rs")]
            state: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256),
        }
    }
}

impl Sha256Hasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The digest of everything seen.
    pub fn finish(self) -> [u8; 32] {
        #[cfg(not(feature = "aws-lc-rs"))]
        return self.state.finalize().into();
        #[cfg(feature = "aws-lc-rs")]
        taken(self.state.finish())
    }
}

#[cfg(feature = "aws-lc-rs")]
fn taken(digest: aws_lc_rs::digest::Digest) -> [u8; 32] {
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_any_length_is_that_of_the_other_library_and_of_its_pieces() {
        let data: Vec<u8> = (0..300u32).map(|i| (i * 7) as u8).collect();
        for end in 0..data.len() {
            let wanted: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&data[..end]).into();
            assert_eq!(sha256(&data[..end]), wanted, "{end} bytes");
            let mut pieces = Sha256Hasher::default();
            data[..end].chunks(13).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish(), wanted, "{end} bytes in pieces");
        }
    }
}

//! Signed notes and the keys that sign them, as C2SP signed-note has them.
//!
//! A note is UTF-8 text that ends with a newline, an empty line, and one or more lines
//! `— <key name> base64(key id || signature)`. The text is what is signed, byte for byte. A key is
//! known by its name and id together; signatures by others are kept but say nothing.
//!
//! What a text is trusted for comes from the keys that the caller brings: nothing here finds a key.

mod checkpoint;
mod cosign;
mod curve;
mod ed25519;
mod key;
mod log_key;
mod ml_dsa;
mod signed;
mod ssh;

pub use checkpoint::{CheckpointBody, CheckpointError};
pub use cosign::{Cosigner, WitnessKey};
pub use ed25519::{PublicKey, SecretKey};
pub use key::{KeyError, KeyId, KeyName};
pub use log_key::{SigningKey, VerifyingKey};
pub use ml_dsa::MlDsaKey;
pub use signed::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, NoteSignature, SignedNote};
pub use ssh::{AllowedSigners, SSH_NAMESPACE, SshError, SshSignature};

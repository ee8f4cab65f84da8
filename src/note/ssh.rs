//! SSH signatures of a checkpoint's text, as `ssh-keygen -Y sign` makes them, and the file of signers that
//! `ssh-keygen -Y verify` takes. Keys are Ed25519; the signature's namespace is our own, so that nothing
//! signed for another purpose counts.

use std::fmt;

use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey, SshSig};

use super::curve::Public;

/// What `ssh-keygen -Y sign -n` is to be given.
pub const SSH_NAMESPACE: &str = "strongroom-checkpoint";

/// Why a text is no signature or no list of signers, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// The text is no SSH signature.
    #[error("it is no SSH signature: {0}")]
    Form(String),
    /// It was made for another purpose.
    #[error("it is made for namespace {0:?}, not {SSH_NAMESPACE}")]
    Namespace(String),
    /// The key is of a kind that is not checked here.
    #[error("its key is {0}; only ssh-ed25519 is taken")]
    Kind(String),
    /// The signature is not of this text by that key.
    #[error("the signature by {0} is not of this checkpoint")]
    Wrong(String),
    /// A line of an allowed-signers file cannot be used.
    #[error("line {line}: {why}")]
    Signer {
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// An SSH signature as it was read: nothing says yet whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSignature {
    sig: SshSig,
    key: [u8; 32],
}

fn ed25519(key: &KeyData) -> Result<[u8; 32], SshError> {
    let other = || SshError::Kind(key.algorithm().to_string());
    key.ed25519().map(|key| key.0).ok_or_else(other)
}

/// The first line of a signature (OpenSSH's PROTOCOL.sshsig, "Armored format").
const ARMOR: &str = "-----BEGIN SSH SIGNATURE-----";

impl SshSignature {
    /// Whether a file's bytes begin like a signature.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(ARMOR.as_bytes())
    }

    /// Reads a signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, SshError> {
        // The armor is read by rules for PEM, which lets other text come before it.
        if !Self::is_one(bytes) {
            return Err(SshError::Form(format!("it does not begin with {ARMOR}")));
        }
        let sig = SshSig::from_pem(bytes).map_err(|error| SshError::Form(error.to_string()))?;
        if sig.namespace() != SSH_NAMESPACE {
            return Err(SshError::Namespace(sig.namespace().to_owned()));
        }
        let key = ed25519(sig.public_key())?;
        Ok(Self { sig, key })
    }

    /// The key's fingerprint, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.sig.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Whether it is a signature of this text by the key that it names; whose key that is remains open.
    pub fn check(&self, text: &str) -> Result<(), SshError> {
        let wrong = || SshError::Wrong(self.fingerprint());
        let message = SshSig::signed_data(SSH_NAMESPACE, self.sig.hash_alg(), text.as_bytes());
        let message = message.map_err(|_| wrong())?;
        let key = Public::new(&self.key).map_err(|_| wrong())?;
        if key.verify(&message, self.sig.signature_bytes()) { Ok(()) } else { Err(wrong()) }
    }
}

/// Who may sign: the file that `ssh-keygen -Y verify -f` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners(Vec<(String, [u8; 32])>);

impl AllowedSigners {
    /// Reads the file. Lines for other namespaces and other kinds of keys are passed over; certificate
    /// authorities and times of validity are refused, since ignoring them would change what a line means.
    pub fn parse(text: &str) -> Result<Self, SshError> {
        let mut signers = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |why: &str| SshError::Signer { line: number + 1, why: why.to_owned() };
            let (who, mut rest) = line.split_once([' ', '\t']).ok_or_else(|| bad("there is no key"))?;
            rest = rest.trim_start();
            // Options come before the kind of key, and hold no space outside of quotes.
            if !rest.starts_with("ssh-") && !rest.starts_with("ecdsa-") && !rest.starts_with("sk-") {
                let (options, key) = split_options(rest).ok_or_else(|| bad("there is no key"))?;
                match namespaces(options) {
                    Ok(ours) if !ours => continue,
                    other => {
                        other.map_err(|option| bad(&format!("{option:?} is an option that is not taken")))?
                    }
                };
                rest = key.trim_start();
            }
            if !rest.starts_with("ssh-ed25519") {
                continue;
            }
            let key =
                PublicKey::from_openssh(rest).map_err(|error| bad(&format!("no public key: {error}")))?;
            signers.0.push((who.to_owned(), ed25519(key.key_data())?));
        }
        Ok(signers)
    }

    /// Who the signature's key belongs to, as the file names them.
    pub fn who(&self, signature: &SshSignature) -> Option<&str> {
        self.0.iter().find(|(_, key)| *key == signature.key).map(|(who, _)| who.as_str())
    }
}

/// Splits at the first space outside of quotes.
fn split_options(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = text.find(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    })?;
    Some(text.split_at(at))
}

/// Whether the options let a key sign in our namespace; else the option that is not understood.
fn namespaces(options: &str) -> Result<bool, String> {
    let list =
        options.get(..11).filter(|name| name.eq_ignore_ascii_case("namespaces=")).map(|_| &options[11..]);
    let list = list.ok_or_else(|| options.to_owned())?;
    let list = list.strip_prefix('"').and_then(|list| list.strip_suffix('"')).unwrap_or(list);
    if list.contains(['"', '!', '?']) || list.split(',').any(|name| name.len() > 1 && name.contains('*')) {
        return Err(options.to_owned());
    }
    Ok(list.split(',').any(|name| name == SSH_NAMESPACE || name == "*"))
}

impl fmt::Display for SshSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SSH signature by {}", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "example.org/log\n3\nAAAA\n";
    /// Made by `ssh-keygen -Y sign -n strongroom-checkpoint` of OpenSSH 9.2 over that text.
    const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----\n\
        U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgdtmgrG7gPtSwUozIsuwYVNVYXb\n\
        fK93zbvnf7//7QK94AAAAVc3Ryb25ncm9vbS1jaGVja3BvaW50AAAAAAAAAAZzaGE1MTIA\n\
        AABTAAAAC3NzaC1lZDI1NTE5AAAAQGjzrFRsfhGnTWG5StxRzUbwv+kA98UULtVbmieVkT\n\
        2Kv79LOGjJk/SSN5et1+JabmBGEVbFiAnQ8+VSV0ZPNwo=\n\
        -----END SSH SIGNATURE-----\n";
    fn key() -> String {
        let parsed = SshSignature::parse(SIGNATURE.as_bytes()).unwrap();
        PublicKey::from(parsed.sig.public_key().clone()).to_openssh().unwrap()
    }

    #[test]
    fn ssh_signature_of_openssh_holds_for_its_text_and_no_other() {
        let signature = SshSignature::parse(SIGNATURE.as_bytes()).unwrap();
        assert!(signature.fingerprint().starts_with("SHA256:"));
        assert_eq!(signature.check(TEXT), Ok(()));
        assert!(matches!(signature.check("example.org/log\n4\nAAAA\n"), Err(SshError::Wrong(_))));
        for at in 30..SIGNATURE.len() - 30 {
            let mut bad = SIGNATURE.to_owned().into_bytes();
            bad[at] ^= 1;
            let good = SshSignature::parse(&bad);
            // What is not signed (line ends) may change; whoever is then said to sign may not.
            let same = |other: &SshSignature| *other == signature;
            assert!(!good.is_ok_and(|other| !same(&other) && other.check(TEXT).is_ok()), "byte {at}");
        }
    }

    #[test]
    fn allowed_signers_are_read_as_ssh_keygen_does_and_unknown_options_refused() {
        let signature = SshSignature::parse(SIGNATURE.as_bytes()).unwrap();
        let (key, who) = (key(), |text: &str| {
            AllowedSigners::parse(text).map(|all| all.who(&signature).map(str::to_owned))
        });
        let me = Ok(Some("me@example.org".to_owned()));
        assert_eq!(who(&format!("# us\n\nme@example.org {key} a comment\n")), me);
        assert_eq!(who(&format!("me@example.org namespaces=\"git,strongroom-checkpoint\" {key}")), me);
        assert_eq!(who(&format!("me@example.org namespaces=\"*\" {key}")), me);
        assert_eq!(who(&format!("me@example.org \t namespaces=\"*\"  {key}")), me);
        assert_eq!(who(&format!("me@example.org   {key}")), me);
        assert_eq!(who(&format!("me@example.org namespaces=\"git\" {key}")), Ok(None));
        assert_eq!(who(&format!("x ecdsa-sha2-nistp256 AAAA\nme@example.org {key}")), me);
        assert_eq!(who(""), Ok(None));
        for bad in [
            format!("x cert-authority {key}"),
            format!("x valid-before=\"20200101\" {key}"),
            format!("x namespaces=\"!strongroom-checkpoint,*\" {key}"),
            format!("x namespaces=\"git,s*\" {key}"),
            format!("x namespaces=\"s*,strongroom-checkpoint\" {key}"),
            format!("x namespaces=\"git\",cert-authority {key}"),
            "x".to_owned(),
            "x ssh-ed25519 AAAA".to_owned(),
        ] {
            assert!(matches!(who(&bad), Err(SshError::Signer { line: 1, .. })), "{bad}");
        }
    }
}

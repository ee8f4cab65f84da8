//! Time stamps, RFC 3161: the request for one over a checkpoint's text, and what an answer says. Its signature
//! and certificates are not looked at here: `openssl ts -verify` does that (`store-layout.md`, "Anchors").

use der::asn1::{Any, BitString, OctetString};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Sequence, Tag, Tagged};

use super::RecordError;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

#[derive(Sequence)]
struct Algorithm {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<Any>,
}

#[derive(Sequence)]
struct Imprint {
    algorithm: Algorithm,
    digest: OctetString,
}

#[derive(Sequence)]
struct Request {
    version: u8,
    imprint: Imprint,
    certificates: bool,
}

#[derive(Sequence)]
struct Status {
    status: u8,
    #[asn1(optional = "true")]
    text: Option<Vec<String>>,
    #[asn1(optional = "true")]
    failure: Option<BitString>,
}

#[derive(Sequence)]
struct Answer {
    status: Status,
    #[asn1(optional = "true")]
    token: Option<ContentInfo>,
}

#[derive(Sequence)]
struct ContentInfo {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: Any,
}

#[derive(Sequence)]
struct Encapsulated {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: OctetString,
}

/// The request for a stamp over bytes with this digest. It holds no nonce: what a stamp says stays true however
/// often it is shown.
pub fn stamp_request(digest: &Sha256) -> Vec<u8> {
    let digest = OctetString::new(digest.as_bytes().to_vec()).expect("32 bytes fit");
    let imprint = Imprint { algorithm: Algorithm { oid: SHA256, parameters: Some(Any::null()) }, digest };
    Request { version: 1, imprint, certificates: true }.to_der().expect("small values encode")
}

/// What a time stamp says: these bytes were there at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The SHA-256 of what was stamped.
    pub digest: Sha256,
    /// When.
    pub time: Moment,
}

impl Stamp {
    /// Whether a file's bytes begin like an answer: a sequence that begins with one.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.first() == Some(&0x30)
    }

    /// Reads an answer. One that grants no stamp is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let bad = |why: &str| RecordError::Inconsistent { what: "time stamp", why: why.to_owned() };
        let der =
            |error: der::Error| RecordError::Inconsistent { what: "time stamp", why: error.to_string() };
        let answer = Answer::from_der(bytes).map_err(der)?;
        // 0 is granted, 1 granted with modifications.
        if answer.status.status > 1 {
            let text = answer.status.text.unwrap_or_default().join(", ");
            return Err(bad(&format!("the answer grants none (status {}) {text}", answer.status.status)));
        }
        let token = answer.token.ok_or_else(|| bad("the answer holds none"))?;
        if token.kind != SIGNED_DATA {
            return Err(bad("its token is no signed data"));
        }
        // Version, digest algorithms, content, certificates, signers: only the content is read.
        let signed: Vec<Any> = token.content.decode_as().map_err(der)?;
        let content: Encapsulated =
            signed.get(2).ok_or_else(|| bad("its token has no content"))?.decode_as().map_err(der)?;
        if content.kind != TST_INFO {
            return Err(bad("its token is about something else"));
        }
        // Version, policy, imprint, serial number, time, and more that says nothing here.
        let info: Vec<Any> = Vec::from_der(content.content.as_bytes()).map_err(der)?;
        let [_, _, imprint, _, time, ..] = info.as_slice() else { return Err(bad("it has too few members")) };
        let imprint: Imprint = imprint.decode_as().map_err(der)?;
        if imprint.algorithm.oid != SHA256 {
            return Err(bad("what it stamps is not named by its SHA-256"));
        }
        let digest: [u8; 32] =
            imprint.digest.as_bytes().try_into().map_err(|_| bad("its digest is not 32 bytes long"))?;
        let moment = generalized(time).ok_or_else(|| bad("its time is none in UTC"))?;
        Ok(Self { digest: Sha256::from_bytes(digest), time: moment })
    }
}

/// A `GeneralizedTime` in UTC, perhaps with a fraction of a second (RFC 3161, 2.4.2).
fn generalized(value: &Any) -> Option<Moment> {
    if value.tag() != Tag::GeneralizedTime {
        return None;
    }
    let text = std::str::from_utf8(value.value()).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').map_or((text, "0"), |(whole, fraction)| (whole, fraction));
    if whole.len() != 14 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let at = |from: usize, to: usize| &whole[from..to];
    let (date, clock) =
        ([at(0, 4), at(4, 6), at(6, 8)].join("-"), [at(8, 10), at(10, 12), at(12, 14)].join(":"));
    Moment::parse(&format!("{date}T{clock}.{fraction}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ts -reply` of OpenSSL 3.0, cut to what is read: the signature and the certificates are empty.
    fn answer(info: &[u8]) -> Vec<u8> {
        let content = Encapsulated { kind: TST_INFO, content: OctetString::new(info.to_vec()).unwrap() };
        let signed: Vec<Any> =
            vec![Any::encode_from(&3u8).unwrap(), Any::null(), Any::encode_from(&content).unwrap()];
        let content = Any::encode_from(&signed).unwrap();
        let status = Status { status: 0, text: None, failure: None };
        Answer { status, token: Some(ContentInfo { kind: SIGNED_DATA, content }) }.to_der().unwrap()
    }

    const TEXT: &[u8] = b"example.org/log\n3\nAAAA\n";

    const INFO: &str = "305F02010106032A03043031300D060960864801650304020105000420C9100078B003571DBBC3D594FE1650E4\
        A0C89CBCCAA4AE705702C4A002573682020102180F32303236313132313135343932355A3003020101020900911AE2BA933A25F4";

    fn info() -> Vec<u8> {
        (0..INFO.len()).step_by(2).map(|at| u8::from_str_radix(&INFO[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn stamp_of_openssl_says_what_was_there_and_when() {
        let stamp = Stamp::parse(&answer(&info())).unwrap();
        assert_eq!(stamp.digest, Sha256::of(TEXT));
        assert_eq!(stamp.time.to_string(), "2026-11-21T15:49:25.000Z");
    }

    #[test]
    fn stamp_that_is_not_granted_or_of_another_form_is_refused() {
        let good = answer(&info());
        let refused = Answer {
            status: Status { status: 2, text: Some(vec!["no such policy".to_owned()]), failure: None },
            token: None,
        };
        let why = |bytes: &[u8]| Stamp::parse(bytes).unwrap_err().to_string();
        assert!(why(&refused.to_der().unwrap()).contains("grants none (status 2) no such policy"));
        for cut in 0..good.len() {
            assert!(Stamp::parse(&good[..cut]).is_err(), "{cut}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // What it is about cannot turn into something else without being something else.
            let kept = Stamp::parse(&bad).is_ok_and(|stamp| stamp == Stamp::parse(&good).unwrap());
            let imprint = good.windows(32).position(|window| window == Sha256::of(TEXT).as_bytes()).unwrap();
            assert!(!(kept && (imprint..imprint + 32).contains(&(bit / 8))), "bit {bit}");
        }
        let at = good.windows(8).position(|window| window == b"20261121").unwrap();
        let mut local = good.clone();
        local[at + 14] = b'z';
        assert!(why(&local).contains("time is none in UTC"));
        let mut other = good.clone();
        let oid = SHA256.as_bytes();
        let place = good.windows(oid.len()).position(|window| window == oid).unwrap();
        other[place + oid.len() - 1] = 3;
        assert!(why(&other).contains("not named by its SHA-256"));
    }

    #[test]
    fn stamp_times_with_fractions_are_read() {
        let time = |text: &str| generalized(&Any::new(Tag::GeneralizedTime, text.as_bytes()).unwrap());
        assert_eq!(
            time("20260102030405.25Z").map(|time| time.to_string()).as_deref(),
            Some("2026-01-02T03:04:05.250Z")
        );
        for bad in
            ["20260102030405", "202601020304Z", "20261302030405Z", "20260102030405+01Z", "20260102030405.Z"]
        {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}

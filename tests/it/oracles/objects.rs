//! Oracles of `backend`: segments and journal generations as bytes.

use std::ops::Range;

use strongroom::backend::segment::{
    self, Depth, HEADER_LEN, Place, RECORD_CONTEXT, RECORD_HEADER_CONTEXT, RECORD_HEADER_LEN, check_header,
    check_record, decode_record, encode_header, encode_record, scan,
};
use strongroom::backend::wal::{Base, frame};
use strongroom::base::digest::BlobId;
use strongroom::base::limits;

use super::input::Input;

const STORE: [u8; 16] = *b"a fuzzed store i";
const NUMBER: u32 = 7;
const PLACE: Place = Place { store_id: STORE, number: NUMBER, offset: HEADER_LEN };

/// Bytes are a segment or are not, and never another blob than was written. The first byte says what
/// the others are: a segment, records whose checks are to be made to fit, or blobs to write.
pub fn segment(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => scan_is_sound(input.rest()),
        1 => {
            let mut bytes = encode_header(&STORE, NUMBER).to_vec();
            while !input.is_empty() {
                sealed_record(&mut input, &mut bytes);
            }
            scan_is_sound(&bytes);
        }
        _ => damage_is_found(&mut input),
    }
}

/// What a scan calls good, read again on its own.
fn scan_is_sound(bytes: &[u8]) {
    let _ = check_header(bytes, &STORE, NUMBER);
    let len = bytes.len() as u64;
    let mut seen: Vec<Vec<(u64, u64)>> = Vec::new();
    for depth in [Depth::Headers, Depth::Bodies, Depth::Digests] {
        let mut good = Vec::new();
        let scanned = scan(bytes, PLACE, len, depth, &mut |at, header| good.push((at, header.extent())))
            .expect("bytes in memory can be read");
        let mut parts: Vec<Range<u64>> = good.iter().map(|(at, extent)| *at..at + extent).collect();
        for part in &parts {
            let record = &bytes[part.start as usize..part.end as usize];
            let place = PLACE.at(part.start);
            if depth != Depth::Headers {
                assert!(check_record(&place, record).is_ok());
            }
            if depth == Depth::Digests {
                let (header, raw) = decode_record(&place, record).expect("the scan took it");
                assert_eq!(BlobId::of(&raw), header.id);
                assert!(header.id.bytes <= limits::SEGMENT_BLOB_BYTES);
                let elsewhere = PLACE.at(part.start + 1);
                assert!(decode_record(&elsewhere, record).is_err(), "a record fits another place");
            }
        }
        parts.extend(scanned.bad.iter().map(|bad| bad.offset..bad.end));
        parts.sort_by_key(|part| part.start);
        // Good and bad together are all the bytes, once each.
        let mut at = PLACE.offset;
        for part in parts {
            assert_eq!(part.start, at);
            assert!(part.end > at);
            at = part.end;
        }
        assert!(at == len || len <= PLACE.offset);
        seen.push(good);
    }
    // A closer look takes away and never adds.
    assert!(seen[2].iter().all(|record| seen[1].contains(record)));
}

/// A record that says of itself what the input wants, with checks that fit.
fn sealed_record(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let place = PLACE.at(out.len() as u64);
    let (codec, lengths, skew) = (input.byte(), input.byte(), input.u64());
    let payload = input.piece();
    let id = BlobId::of(payload);
    let packed = segment::encode_record(&place, &id, payload).expect("it is small");
    let packed = &packed[RECORD_HEADER_LEN as usize..packed.len() - 16];
    let stored = if lengths & 1 == 0 { payload } else { packed };
    let stated = if lengths & 2 == 0 { stored.len() as u64 } else { skew };
    let raw = if lengths & 4 == 0 { id.bytes } else { skew.rotate_left(u32::from(lengths)) };
    let mut record = b"SRR\x01".to_vec();
    record.extend_from_slice(&[codec % 3, 0, 0, 0]);
    record.extend_from_slice(&stated.to_le_bytes());
    record.extend_from_slice(&raw.to_le_bytes());
    record.extend_from_slice(id.sha256.as_bytes());
    record.extend_from_slice(id.blake3.as_bytes());
    record.extend_from_slice(&check(RECORD_HEADER_CONTEXT, &place, &record));
    record.extend_from_slice(stored);
    record.extend_from_slice(&check(RECORD_CONTEXT, &place, &record));
    out.extend_from_slice(&record);
}

fn check(context: &str, place: &Place, bytes: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&place.store_id).update(&place.number.to_le_bytes()).update(&place.offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize().as_bytes()[..16].try_into().expect("16 bytes")
}

/// A blob with the offset of its record.
type Written<'a> = (u64, Vec<u8>);

/// Writes blobs, damages one byte, and reads them back.
fn damage_is_found(input: &mut Input<'_>) {
    let (byte, bit, cut) = (input.below(usize::MAX), input.byte() % 8, input.below(usize::MAX));
    let mut bytes = encode_header(&STORE, NUMBER).to_vec();
    let mut written: Vec<Written<'_>> = Vec::new();
    while !input.is_empty() && written.len() < 16 {
        let times = usize::from(input.byte() % 8) + 1;
        // Repeated, so that some of them are worth packing.
        let blob = input.piece().repeat(times);
        let at = bytes.len() as u64;
        bytes.extend(encode_record(&PLACE.at(at), &BlobId::of(&blob), &blob).expect("it is small"));
        written.push((at, blob));
    }
    assert_eq!(check_header(&bytes, &STORE, NUMBER), Ok(()));
    assert_eq!(read_back(&bytes), written);
    scan_is_sound(&bytes);

    let mut damaged = bytes.clone();
    let at = byte % bytes.len();
    damaged[at] ^= 1 << bit;
    let back = read_back(&damaged);
    let hit = |written: &Written<'_>, next: u64| (written.0..next).contains(&(at as u64));
    let nexts = written.iter().skip(1).map(|(at, _)| *at).chain([bytes.len() as u64]);
    let whole: Vec<_> =
        written.iter().zip(nexts).filter(|(w, next)| !hit(w, *next)).map(|(w, _)| w.clone()).collect();
    assert_eq!(back, whole, "a flipped bit costs exactly the record that it is in");
    assert_eq!(check_header(&damaged, &STORE, NUMBER).is_ok(), at as u64 >= HEADER_LEN);

    let cut = &bytes[..cut % (bytes.len() + 1)];
    let back = read_back(cut);
    assert_eq!(back, written[..back.len()], "a cut costs the records after it");
}

fn read_back(bytes: &[u8]) -> Vec<Written<'_>> {
    let mut records = Vec::new();
    scan(bytes, PLACE, bytes.len() as u64, Depth::Digests, &mut |at, header| {
        records.push(at..at + header.extent());
    })
    .expect("bytes in memory can be read");
    let blob = |record: Range<u64>| {
        let place = PLACE.at(record.start);
        let bytes = &bytes[record.start as usize..record.end as usize];
        (record.start, decode_record(&place, bytes).expect("the scan took it").1)
    };
    records.into_iter().map(blob).collect()
}

/// Bytes are a journal's generation or are not, and never another frame than was written. The first
/// byte says what the others are: a generation, frames whose checks are to be made to fit, or bodies
/// to write.
pub fn wal_frames(data: &[u8]) {
    const GENERATION: u64 = 3;
    let mut input = Input::new(data);
    let mode = input.byte() % 3;
    if mode == 0 {
        frames_follow(input.rest(), GENERATION);
        return;
    }
    // Below the largest, which no journal reaches.
    let base = Base { seq: input.u64() >> 1, hash: [input.byte(); 32] };
    let (byte, bit, cut) = (input.below(usize::MAX), input.byte() % 8, input.below(usize::MAX));
    let mut bytes = frame::encode_header(&STORE, GENERATION, &base).to_vec();
    if mode == 1 {
        while !input.is_empty() {
            let head = Base { seq: input.u64() >> 1, hash: [input.byte(); 32] };
            frame::encode_frame(&mut bytes, &head, input.piece());
        }
        frames_follow(&bytes, GENERATION);
        return;
    }
    let (mut bodies, mut head) = (Vec::new(), base);
    while !input.is_empty() && bodies.len() < 16 {
        let body = input.piece().to_vec();
        let hash = frame::encode_frame(&mut bytes, &head, &body);
        head = Base { seq: head.seq + 1, hash };
        bodies.push(body);
    }
    let read = |bytes: &[u8]| {
        let read = frame::read_generation(bytes, &STORE, GENERATION);
        read.map(|read| read.frames.into_iter().map(|frame| frame.body).collect::<Vec<_>>())
    };
    assert_eq!(read(&bytes), Ok(bodies.clone()));
    assert!(frame::read_generation(&bytes, &[0; 16], GENERATION).is_err());
    assert!(frame::read_generation(&bytes, &STORE, GENERATION + 1).is_err());

    let cut = &bytes[..cut % (bytes.len() + 1)];
    let torn = read(cut).expect("a cut is no damage");
    assert_eq!(torn, bodies[..torn.len()]);
    frames_follow(cut, GENERATION);
    let at = byte % bytes.len();
    bytes[at] ^= 1 << bit;
    // Only the last frame may be lost in silence: a write that never finished looks the same.
    if let Ok(back) = read(&bytes) {
        assert_eq!(back, bodies[..back.len()]);
        assert_eq!(back.len(), bodies.len().saturating_sub(1), "damage passed or hid whole frames");
    }
}

fn frames_follow(bytes: &[u8], generation: u64) {
    let Ok(read) = frame::read_generation(bytes, &STORE, generation) else { return };
    for pair in read.frames.windows(2) {
        assert_eq!((pair[1].seq, pair[1].prev), (pair[0].seq + 1, pair[0].hash));
    }
    assert!(read.torn.is_none_or(|at| at < bytes.len().max(1) as u64));
}

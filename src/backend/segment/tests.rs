//! Tests of the segment codec.

use proptest::prelude::*;

use super::*;

const PLACE: Place = Place { store_id: [3; 16], number: 5, offset: HEADER_LEN };

fn segment(blobs: &[&[u8]]) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = encode_header(&PLACE.store_id, PLACE.number).to_vec();
    let mut ends = vec![HEADER_LEN];
    for blob in blobs {
        let place = PLACE.at(bytes.len() as u64);
        bytes.extend(encode_record(&place, &BlobId::of(blob), blob).unwrap());
        ends.push(bytes.len() as u64);
    }
    (bytes, ends)
}

/// What a scan finds: the offsets of good records, and the rest.
fn scanned(bytes: &[u8], depth: Depth) -> (Vec<u64>, Scanned) {
    let mut good = Vec::new();
    let result = scan(bytes, PLACE, bytes.len() as u64, depth, &mut |at, _| good.push(at)).unwrap();
    (good, result)
}

#[test]
fn record_is_packed_exactly_where_that_saves_an_eighth() {
    let noise: Vec<u8> = (0..40u8).flat_map(|i| *Blake3::of(&[i]).as_bytes()).collect();
    for (blob, codec) in [
        (vec![b'a'; 5000], Codec::Zstd),
        (noise, Codec::Raw),
        (Vec::new(), Codec::Raw),
        (vec![b'a'; 63], Codec::Raw),
    ] {
        let record = encode_record(&PLACE, &BlobId::of(&blob), &blob).unwrap();
        let (header, raw) = decode_record(&PLACE, &record).unwrap();
        assert_eq!((header.codec, header.id, raw.as_slice()), (codec, BlobId::of(&blob), blob.as_slice()));
        assert_eq!(header.extent(), record.len() as u64);
    }
}

#[test]
fn segment_hashed_on_all_cores_is_sound_exactly_if_a_scan_finds_nothing() {
    let blobs: Vec<Vec<u8>> = (0..300u32).map(|n| vec![n as u8; (n * 7 % 400) as usize]).collect();
    let (good, _) = segment(&blobs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let ids: Vec<BlobId> = blobs.iter().map(|blob| BlobId::of(blob)).collect();
    let mut file = tempfile::tempfile().unwrap();
    let mut all = |bytes: &[u8]| {
        use std::io::{Seek as _, Write as _};
        file.rewind().unwrap();
        file.set_len(0).unwrap();
        file.write_all(bytes).unwrap();
        all_sound(&file, PLACE, bytes.len() as u64).unwrap()
    };
    assert_eq!(all(&good), Some(ids));
    for at in (HEADER_LEN as usize..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        assert!(!scanned(&bad, Depth::Digests).1.bad.is_empty());
        assert_eq!(all(&bad), None, "byte {at}");
    }
    assert_eq!(all(&good[..good.len() - 1]), None);
}

#[test]
fn record_at_another_place_is_refused() {
    let record = encode_record(&PLACE, &BlobId::of(b"x"), b"x").unwrap();
    for place in [PLACE.at(49), Place { number: 6, ..PLACE }, Place { store_id: [4; 16], ..PLACE }] {
        assert_eq!(decode_record(&place, &record).unwrap_err(), BadRecord::Header);
    }
}

#[test]
fn record_with_lengths_beyond_the_limit_is_refused_before_memory_is_taken() {
    // A header that is whole, so that only the limit stands in the way.
    let forge = |codec: u8, stored: u64, raw: u64| {
        let mut bytes = [0; 104];
        bytes[..4].copy_from_slice(RECORD_MAGIC);
        bytes[4] = codec;
        bytes[8..16].copy_from_slice(&stored.to_le_bytes());
        bytes[16..24].copy_from_slice(&raw.to_le_bytes());
        let check = PLACE.check(&RECORD_HEADER_KEY, &[&bytes[..88]]);
        bytes[88..].copy_from_slice(&check);
        decode_record_header(&PLACE, &bytes)
    };
    let limit = limits::SEGMENT_BLOB_BYTES;
    assert!(forge(0, limit, limit).is_ok());
    assert_eq!(forge(0, limit + 1, limit + 1), Err(BadRecord::Length));
    assert_eq!(forge(1, 5, u64::MAX), Err(BadRecord::Length));
    assert_eq!(forge(1, u64::MAX, u64::MAX), Err(BadRecord::Length));
    assert_eq!(forge(0, 5, 6), Err(BadRecord::Length));
    assert_eq!(forge(7, 5, 5), Err(BadRecord::Codec(7)));
    let id = BlobId { bytes: 2, ..BlobId::of(b"x") };
    assert_eq!(encode_record(&PLACE, &id, b"x"), Err(BadRecord::Length));
}

#[test]
fn record_that_unpacks_to_more_than_it_states_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
    let mut record = Vec::new();
    record.extend_from_slice(RECORD_MAGIC);
    record.extend_from_slice(&[1, 0, 0, 0]);
    record.extend_from_slice(&(bomb.len() as u64).to_le_bytes());
    record.extend_from_slice(&1000u64.to_le_bytes());
    record.extend_from_slice(&[0; 64]);
    record.extend_from_slice(&PLACE.check(&RECORD_HEADER_KEY, &[&record]));
    record.extend_from_slice(&bomb);
    let check = PLACE.check(&RECORD_KEY, &[&record]);
    record.extend_from_slice(&check);
    assert_eq!(decode_record(&PLACE, &record).unwrap_err(), BadRecord::Decompress);
}

#[test]
fn header_of_another_segment_or_store_is_told_apart() {
    let header = encode_header(&[3; 16], 5);
    assert_eq!(check_header(&header, &[3; 16], 5), Ok(()));
    assert_eq!(check_header(&header, &[3; 16], 6), Err(BadHeader::Number { found: 5 }));
    assert_eq!(check_header(&header, &[4; 16], 5), Err(BadHeader::ForeignStore { found: [3; 16] }));
    assert_eq!(check_header(&header[..47], &[3; 16], 5), Err(BadHeader::Short { len: 47 }));
    for bit in 0..header.len() * 8 {
        let mut flipped = header;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(check_header(&flipped, &[3; 16], 5).is_err(), "bit {bit}");
    }
}

#[test]
fn segment_cut_at_any_byte_keeps_the_records_before_the_cut() {
    let long = vec![b'z'; 700];
    let (bytes, ends) = segment(&[b"first", &long, b"third"]);
    for cut in HEADER_LEN as usize..=bytes.len() {
        let (good, result) = scanned(&bytes[..cut], Depth::Bodies);
        let whole = ends[1..].iter().filter(|end| **end <= cut as u64).count();
        assert_eq!(good, ends[..whole], "cut at {cut}");
        assert_eq!(result.prefix, ends[whole]);
        assert!(!result.bad_in_the_middle());
        assert_eq!(result.torn_tail(), (cut as u64 != ends[whole]).then_some(ends[whole]), "cut at {cut}");
    }
}

#[test]
fn segment_with_any_bit_flipped_never_gives_another_blob() {
    let long = vec![b'z'; 200];
    let blobs: [&[u8]; 3] = [b"first", &long, b"third"];
    let (bytes, ends) = segment(&blobs);
    for bit in HEADER_LEN as usize * 8..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let hit = ends.iter().rposition(|end| *end <= bit as u64 / 8).unwrap();
        let (good, result) = scanned(&flipped, Depth::Bodies);
        let others: Vec<u64> = (0..3).filter(|n| *n != hit).map(|n| ends[n]).collect();
        assert_eq!(good, others, "bit {bit}: the other records, and they alone");
        assert_eq!((result.prefix, result.bad.len()), (ends[hit], 1), "bit {bit}");
        assert_eq!(result.bad_in_the_middle(), hit < 2);
        assert_eq!((result.bad[0].offset, result.bad[0].end), (ends[hit], ends[hit + 1]), "bit {bit}");
        let record = &flipped[ends[hit] as usize..];
        assert!(decode_record(&PLACE.at(ends[hit]), record).is_err(), "bit {bit}");
    }
}

#[test]
fn segment_stored_as_a_blob_of_a_torn_record_is_not_taken_for_records() {
    let noise: Vec<u8> = (0..40u8).flat_map(|i| *Blake3::of(&[i]).as_bytes()).collect();
    let (inner, _) = segment(&[&noise]);
    let (bytes, ends) = segment(&[b"first", &inner]);
    // The record's header never reached the disk, its body did.
    let mut torn = bytes;
    torn[ends[1] as usize..ends[1] as usize + 104].fill(0);
    let (good, result) = scanned(&torn, Depth::Bodies);
    assert_eq!(good, [HEADER_LEN]);
    assert_eq!(result.torn_tail(), Some(ends[1]));
}

#[test]
fn damaged_header_far_from_the_next_record_is_passed_over() {
    let noise: Vec<u8> = (0..9000u32).flat_map(|i| *Blake3::of(&i.to_le_bytes()).as_bytes()).collect();
    let (mut bytes, ends) = segment(&[&noise, b"last"]);
    bytes[HEADER_LEN as usize] ^= 1;
    let (good, result) = scanned(&bytes, Depth::Digests);
    assert_eq!(good, [ends[1]]);
    assert_eq!(
        result.bad,
        [BadRegion { offset: HEADER_LEN, end: ends[1], why: BadRecord::Header, followed: true }]
    );
}

proptest! {
    #[test]
    fn prop_scan_gives_back_what_was_written(blobs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12)) {
        let parts: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let (bytes, ends) = segment(&parts);
        let (good, result) = scanned(&bytes, Depth::Digests);
        prop_assert_eq!(&good, &ends[..blobs.len()]);
        prop_assert!(result.bad.is_empty());
        for (at, blob) in good.iter().zip(&blobs) {
            let record = decode_record(&PLACE.at(*at), &bytes[*at as usize..]).unwrap();
            prop_assert_eq!(&record.1, blob);
        }
    }

    #[test]
    fn prop_scan_of_any_bytes_ends_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), depth in 0..3) {
        let depth = [Depth::Headers, Depth::Bodies, Depth::Digests][depth as usize];
        let result = scan(bytes.as_slice(), PLACE.at(0), bytes.len() as u64, depth, &mut |_, _| {}).unwrap();
        prop_assert!(result.prefix <= bytes.len() as u64);
    }
}

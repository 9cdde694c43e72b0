//! The key index of a sealed segment: commits by number, events by key, and a filter.
//!
//! It can be rebuilt from its segment, so it is checked page by page when used, and replaced when
//! a check fails.

use std::io;
use std::sync::Arc;

use crate::FORMAT_VERSION;
use crate::frame::{array_at, u32_at, u64_at};
use crate::ids::{CommitHash, CommitNumber, Key, LedgerId, Micros, Position};
use crate::storage::{StorageFile, read_full};

const MAGIC: &[u8; 8] = b"LOTLIDX1";
const PAGE: usize = 4096;
const COMMIT_ENTRY: usize = 16;
const KEY_ENTRY: usize = 20;
const COMMITS_PER_PAGE: usize = 255;
const KEYS_PER_PAGE: usize = 204;
const FILTER_BLOCK: usize = 64;
const FILTER_BITS_PER_KEY: u64 = 10;
const FILTER_PROBES: u32 = 7;

const _: () = assert!(COMMITS_PER_PAGE * COMMIT_ENTRY + 4 <= PAGE);
const _: () = assert!(KEYS_PER_PAGE * KEY_ENTRY + 4 <= PAGE);

/// Where a commit stands in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitEntry {
    /// Offset of its frame. Segments are smaller than 4 GiB.
    pub(crate) offset: u32,
    /// Its first event, counted from the segment's first.
    pub(crate) event: u32,
    pub(crate) recorded_at: Micros,
}

impl CommitEntry {
    fn encode(&self) -> [u8; COMMIT_ENTRY] {
        let mut out = [0; COMMIT_ENTRY];
        out[0..4].copy_from_slice(&self.offset.to_be_bytes());
        out[4..8].copy_from_slice(&self.event.to_be_bytes());
        out[8..16].copy_from_slice(&self.recorded_at.get().to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { offset: u32_at(bytes, 0), event: u32_at(bytes, 4), recorded_at: Micros::new(u64_at(bytes, 8) as i64) }
    }
}

/// A key and one event that carries it, counted from the segment's first.
pub(crate) type Pair = (Key, u32);

fn encode_pair(pair: &Pair) -> [u8; KEY_ENTRY] {
    let mut out = [0; KEY_ENTRY];
    out[..16].copy_from_slice(pair.0.as_bytes());
    out[16..].copy_from_slice(&pair.1.to_be_bytes());
    out
}

fn decode_pair(bytes: &[u8]) -> Pair {
    (Key::new(array_at(bytes, 0)), u32_at(bytes, 16))
}

/// What an index is about; the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) ledger: LedgerId,
    pub(crate) first: CommitNumber,
    pub(crate) first_position: Position,
    pub(crate) segment_bytes: u64,
    pub(crate) last_hash: CommitHash,
    pub(crate) commits: u32,
    pub(crate) events: u32,
}

/// The whole index file. `pairs` are sorted.
pub(crate) fn encode(about: &About, commits: &[CommitEntry], pairs: &[Pair]) -> Vec<u8> {
    let filter = Filter::of(pairs);
    let mut out = Vec::with_capacity(PAGE * (3 + commits.len() / 255 + pairs.len() / 200));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
    out.extend_from_slice(about.ledger.as_bytes());
    out.extend_from_slice(&about.first.get().to_be_bytes());
    out.extend_from_slice(&about.first_position.get().to_be_bytes());
    out.extend_from_slice(&about.segment_bytes.to_be_bytes());
    out.extend_from_slice(about.last_hash.as_bytes());
    out.extend_from_slice(&about.commits.to_be_bytes());
    out.extend_from_slice(&about.events.to_be_bytes());
    out.extend_from_slice(&(pairs.len() as u32).to_be_bytes());
    out.extend_from_slice(&(filter.blocks() as u32).to_be_bytes());
    end_page(&mut out);
    for page in commits.chunks(COMMITS_PER_PAGE) {
        page.iter().for_each(|entry| out.extend_from_slice(&entry.encode()));
        end_page(&mut out);
    }
    for page in pairs.chunks(KEYS_PER_PAGE) {
        page.iter().for_each(|pair| out.extend_from_slice(&encode_pair(pair)));
        end_page(&mut out);
    }
    let resident = out.len();
    for page in commits.chunks(COMMITS_PER_PAGE) {
        out.extend_from_slice(&page[0].encode());
    }
    for page in pairs.chunks(KEYS_PER_PAGE) {
        out.extend_from_slice(&encode_pair(&page[0]));
    }
    out.extend_from_slice(&filter.bytes);
    let checksum = crc32fast::hash(&out[resident..]);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

fn end_page(out: &mut Vec<u8>) {
    let start = out.len() / PAGE * PAGE;
    out.resize(start + PAGE - 4, 0);
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_be_bytes());
}

/// An index that is ready to be asked: fences and filter in memory, pages where they are.
#[derive(Debug)]
pub(crate) struct Index {
    source: Source,
    pub(crate) about: About,
    pairs: u32,
    commit_fences: Vec<CommitEntry>,
    key_fences: Vec<Pair>,
    filter: Filter,
}

#[derive(Debug)]
pub(crate) enum Source {
    File(Arc<dyn StorageFile>),
    Memory(Vec<u8>),
}

/// The index cannot be used: rebuild it.
#[derive(Debug)]
pub(crate) struct Unusable;

impl From<io::Error> for Unusable {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Source {
    fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, Unusable> {
        match self {
            Self::File(file) => {
                let mut bytes = vec![0; len];
                let count = read_full(&**file, &mut bytes, from)?;
                if count == len { Ok(bytes) } else { Err(Unusable) }
            }
            Self::Memory(image) => {
                let from = usize::try_from(from).map_err(|_| Unusable)?;
                image.get(from..from + len).map(<[u8]>::to_vec).ok_or(Unusable)
            }
        }
    }

    fn len(&self) -> Result<u64, Unusable> {
        match self {
            Self::File(file) => Ok(file.len()?),
            Self::Memory(image) => Ok(image.len() as u64),
        }
    }

    fn page(&self, number: usize) -> Result<Vec<u8>, Unusable> {
        let page = self.read((number * PAGE) as u64, PAGE)?;
        if crc32fast::hash(&page[..PAGE - 4]) == u32_at(&page, PAGE - 4) { Ok(page) } else { Err(Unusable) }
    }
}

impl Index {
    /// Reads the first page and the resident part.
    pub(crate) fn load(source: Source) -> Result<Self, Unusable> {
        let page = source.page(0)?;
        if &page[..8] != MAGIC || u32_at(&page, 8) != FORMAT_VERSION {
            return Err(Unusable);
        }
        let about = About {
            ledger: LedgerId::new(array_at(&page, 12)),
            first: CommitNumber::new(u64_at(&page, 28)),
            first_position: Position::new(u64_at(&page, 36)),
            segment_bytes: u64_at(&page, 44),
            last_hash: CommitHash::new(array_at(&page, 52)),
            commits: u32_at(&page, 84),
            events: u32_at(&page, 88),
        };
        let (pairs, blocks) = (u32_at(&page, 92), u32_at(&page, 96) as usize);
        let commit_pages = (about.commits as usize).div_ceil(COMMITS_PER_PAGE);
        let key_pages = (pairs as usize).div_ceil(KEYS_PER_PAGE);
        let from = ((1 + commit_pages + key_pages) * PAGE) as u64;
        let parts = [commit_pages * COMMIT_ENTRY, key_pages * KEY_ENTRY, blocks * FILTER_BLOCK];
        let size = parts.iter().sum::<usize>();
        if source.len()? != from + size as u64 + 4 || blocks == 0 || about.commits == 0 {
            return Err(Unusable);
        }
        let resident = source.read(from, size + 4)?;
        if crc32fast::hash(&resident[..size]) != u32_at(&resident, size) {
            return Err(Unusable);
        }
        let (commits, rest) = resident[..size].split_at(parts[0]);
        let (keys, filter) = rest.split_at(parts[1]);
        Ok(Self {
            source,
            about,
            pairs,
            commit_fences: commits.chunks_exact(COMMIT_ENTRY).map(CommitEntry::decode).collect(),
            key_fences: keys.chunks_exact(KEY_ENTRY).map(decode_pair).collect(),
            filter: Filter { bytes: filter.to_vec() },
        })
    }

    /// Events that carry the key, ascending, counted from the segment's first.
    pub(crate) fn events_of(&self, key: &Key) -> Result<Vec<u32>, Unusable> {
        let mut found = Vec::new();
        if !self.filter.may_hold(key) {
            return Ok(found);
        }
        // The key's first pair may stand in the page before the first fence that reaches it.
        let reaches = self.key_fences.partition_point(|fence| fence.0 < *key);
        for number in reaches.saturating_sub(1)..self.key_fences.len() {
            if self.key_fences[number].0 > *key {
                break;
            }
            let page = self.source.page(1 + self.commit_fences.len() + number)?;
            let count = KEYS_PER_PAGE.min(self.pairs as usize - number * KEYS_PER_PAGE);
            let pairs = &page[..count * KEY_ENTRY];
            found.extend(pairs.chunks_exact(KEY_ENTRY).map(decode_pair).filter(|p| p.0 == *key).map(|p| p.1));
        }
        Ok(found)
    }

    /// The commit with this index in the segment.
    pub(crate) fn commit(&self, index: u32) -> Result<CommitEntry, Unusable> {
        let (page, within) = (index as usize / COMMITS_PER_PAGE, index as usize % COMMITS_PER_PAGE);
        if index >= self.about.commits {
            return Err(Unusable);
        }
        Ok(self.commit_page(page)?[within])
    }

    /// How many commits of the segment satisfy `before`, which holds for a prefix of them.
    pub(crate) fn count_while(&self, before: impl Fn(&CommitEntry) -> bool) -> Result<u32, Unusable> {
        let pages = self.commit_fences.partition_point(&before);
        let Some(last) = pages.checked_sub(1) else {
            return Ok(0);
        };
        let within = self.commit_page(last)?.partition_point(before);
        Ok((last * COMMITS_PER_PAGE + within) as u32)
    }

    fn commit_page(&self, number: usize) -> Result<Vec<CommitEntry>, Unusable> {
        let page = self.source.page(1 + number)?;
        let count = COMMITS_PER_PAGE.min(self.about.commits as usize - number * COMMITS_PER_PAGE);
        Ok(page[..count * COMMIT_ENTRY].chunks_exact(COMMIT_ENTRY).map(CommitEntry::decode).collect())
    }
}

/// A blocked Bloom filter: one cache line per look-up.
#[derive(Debug)]
struct Filter {
    bytes: Vec<u8>,
}

impl Filter {
    fn of(pairs: &[Pair]) -> Self {
        let blocks = (pairs.len() as u64 * FILTER_BITS_PER_KEY).div_ceil(512).max(1);
        let mut filter = Self { bytes: vec![0; blocks as usize * FILTER_BLOCK] };
        for (key, _) in pairs {
            for bit in filter.bits(key) {
                filter.bytes[bit / 8] |= 1 << (bit % 8);
            }
        }
        filter
    }

    fn blocks(&self) -> usize {
        self.bytes.len() / FILTER_BLOCK
    }

    fn may_hold(&self, key: &Key) -> bool {
        self.bits(key).all(|bit| self.bytes[bit / 8] & (1 << (bit % 8)) != 0)
    }

    fn bits(&self, key: &Key) -> impl Iterator<Item = usize> + use<> {
        // Every bit of the key decides the block as well as the bits: keys may be anything.
        let high = mix(u64_at(key.as_bytes(), 0));
        let both = mix(u64_at(key.as_bytes(), 8) ^ high);
        let block = ((u128::from(both) * self.blocks() as u128) >> 64) as usize;
        let bits = mix(both ^ 0x9E37_79B9_7F4A_7C15);
        (0..FILTER_PROBES).map(move |probe| block * FILTER_BLOCK * 8 + ((bits >> (9 * probe)) & 511) as usize)
    }
}

fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x ^= x >> 33;
    x = x.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        let mut bytes = [0; 16];
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        Key::new(bytes)
    }

    fn index(commits: u32, keys: u32, events_per_key: u32) -> (Index, Vec<u8>) {
        let entries: Vec<CommitEntry> = (0..commits)
            .map(|i| CommitEntry { offset: 96 + i, event: 2 * i, recorded_at: Micros::new(i64::from(10 * i)) })
            .collect();
        let pairs: Vec<Pair> = (0..keys).flat_map(|k| (0..events_per_key).map(move |e| (key(2 * k), e * 3))).collect();
        let about = About {
            ledger: LedgerId::new([3; 16]),
            first: CommitNumber::new(1),
            first_position: Position::new(0),
            segment_bytes: 1000,
            last_hash: CommitHash::ZERO,
            commits,
            events: 2 * commits,
        };
        let image = encode(&about, &entries, &pairs);
        (Index::load(Source::Memory(image.clone())).expect("own image"), image)
    }

    #[test]
    fn every_key_is_found_with_all_its_events_and_no_other() {
        for (keys, events) in [(1, 1), (204, 1), (205, 1), (7, 500), (1_000, 3)] {
            let (index, _) = index(600, keys, events);
            let expected: Vec<u32> = (0..events).map(|e| e * 3).collect();
            for k in 0..keys {
                assert_eq!(index.events_of(&key(2 * k)).expect("sound"), expected);
                assert!(index.events_of(&key(2 * k + 1)).expect("sound").is_empty());
            }
        }
    }

    #[test]
    fn commits_are_found_by_number_and_by_time() {
        for commits in [1, 255, 256, 700] {
            let (index, _) = index(commits, 1, 1);
            for i in 0..commits {
                assert_eq!(index.commit(i).expect("sound").offset, 96 + i);
                let at = |t: i64| index.count_while(|entry| entry.recorded_at <= Micros::new(t)).expect("sound");
                assert_eq!(at(i64::from(10 * i) - 1), i);
                assert_eq!(at(i64::from(10 * i)), i + 1);
            }
            assert!(index.commit(commits).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_never_gives_a_wrong_answer() {
        let (_, image) = index(300, 300, 2);
        for at in (0..image.len()).step_by(61) {
            let mut broken = image.clone();
            broken[at] ^= 1 << (at % 8);
            let Ok(index) = Index::load(Source::Memory(broken)) else {
                continue;
            };
            for k in 0..300 {
                if let Ok(events) = index.events_of(&key(2 * k)) {
                    assert_eq!(events, [0, 3]);
                }
            }
            for i in 0..300 {
                if let Ok(entry) = index.commit(i) {
                    assert_eq!(entry.offset, 96 + i);
                }
            }
        }
    }

    #[test]
    fn the_filter_turns_most_strangers_away() {
        let (index, _) = index(1, 20_000, 1);
        let strangers = (0..20_000).filter(|k| index.filter.may_hold(&key(2 * k + 1))).count();
        assert!(strangers < 600, "{strangers} of 20000 strangers pass");
    }
}

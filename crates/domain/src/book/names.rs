//! Interned names: each text once, numbered in the order of arrival.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::OnceLock;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxHasher;

/// The number of an interned text within its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NameIx(pub(crate) u32);

/// Texts by number and numbers by text; 4 bytes a name beside the text itself and 9 in the index, which is
/// built when a name is first looked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    text: String,
    ends: Vec<u32>,
    index: OnceLock<HashTable<Indexed>>,
}

/// A name's number with half of its hash: so an index that grows looks at no texts, which lie all over the memory.
#[derive(Debug, Clone, Copy)]
struct Indexed {
    at: u32,
    hash: u32,
}

impl Indexed {
    /// The hash by which it is found: both ends of it have to differ between names.
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

fn hash_of(text: &str) -> u32 {
    let hash = BuildHasherDefault::<FxHasher>::default().hash_one(text);
    (hash ^ (hash >> 32)) as u32
}

fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Names {
    /// The text of a number.
    pub(crate) fn text(&self, name: NameIx) -> &str {
        span(&self.text, &self.ends, name.0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The table of distinct texts that stand one behind the other; `ends` says where each one ends.
    pub(crate) fn load(mut text: String, mut ends: Vec<u32>) -> Self {
        text.shrink_to_fit();
        ends.shrink_to_fit();
        Self { text, ends, index: OnceLock::new() }
    }

    fn index(&self) -> &HashTable<Indexed> {
        self.index.get_or_init(|| {
            let mut index = HashTable::with_capacity(self.ends.len());
            for at in 0..u32::try_from(self.ends.len()).expect("fewer than 2^32 names") {
                let hash = hash_of(span(&self.text, &self.ends, at));
                index.insert_unique(spread(hash), Indexed { at, hash }, Indexed::spread);
            }
            index
        })
    }

    /// The number of a text, if it is known.
    pub(crate) fn find(&self, text: &str) -> Option<NameIx> {
        let hash = hash_of(text);
        let is_it = |known: &Indexed| known.hash == hash && span(&self.text, &self.ends, known.at) == text;
        self.index().find(spread(hash), is_it).map(|known| NameIx(known.at))
    }

    /// The number of a text, a new one if it is not known.
    pub(crate) fn intern(&mut self, text: &str) -> NameIx {
        self.index();
        let Self { text: all, ends, index } = self;
        let index = index.get_mut().expect("it was just built, if it was not there");
        let hash = hash_of(text);
        let is_it = |known: &Indexed| known.hash == hash && span(all, ends, known.at) == text;
        match index.entry(spread(hash), is_it, Indexed::spread) {
            Entry::Occupied(known) => NameIx(known.get().at),
            Entry::Vacant(free) => {
                let at = u32::try_from(ends.len()).expect("fewer than 2^32 names");
                free.insert(Indexed { at, hash });
                all.push_str(text);
                ends.push(u32::try_from(all.len()).expect("fewer than 4 GiB of names"));
                NameIx(at)
            }
        }
    }
}

fn span<'a>(text: &'a str, ends: &[u32], at: u32) -> &'a str {
    let at = at as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    &text[start..ends[at] as usize]
}

/// Rows by number and numbers by row, for small copyable keys.
#[derive(Debug, Clone)]
pub(crate) struct Rows<R> {
    rows: Vec<R>,
    index: HashTable<u32>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), index: HashTable::new() }
    }
}

impl<R: Copy + Eq + std::hash::Hash> Rows<R> {
    fn hash(row: &R) -> u64 {
        BuildHasherDefault::<FxHasher>::default().hash_one(row)
    }

    /// The row of a number.
    pub(crate) fn row(&self, at: u32) -> R {
        self.rows[at as usize]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The table of distinct rows in the order of their numbers.
    pub(crate) fn load(mut rows: Vec<R>) -> Self {
        rows.shrink_to_fit();
        let mut index = HashTable::with_capacity(rows.len());
        for at in 0..u32::try_from(rows.len()).expect("fewer than 2^32 rows") {
            index.insert_unique(Self::hash(&rows[at as usize]), at, |&other| Self::hash(&rows[other as usize]));
        }
        Self { rows, index }
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn all(&self) -> &[R] {
        &self.rows
    }

    /// The number of a row, if it is known.
    pub(crate) fn find(&self, row: &R) -> Option<u32> {
        self.index.find(Self::hash(row), |&at| self.rows[at as usize] == *row).copied()
    }

    /// The number of a row, a new one if it is not known.
    pub(crate) fn intern(&mut self, row: R) -> u32 {
        let Self { rows, index } = self;
        let known = |&at: &u32| rows[at as usize] == row;
        match index.entry(Self::hash(&row), known, |&other| Self::hash(&rows[other as usize])) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let at = u32::try_from(rows.len()).expect("fewer than 2^32 rows");
                free.insert(at);
                rows.push(row);
                at
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut names = Names::default();
        let numbers: Vec<_> = (0..1000).map(|n| names.intern(&format!("name {n}"))).collect();
        for (n, number) in numbers.iter().enumerate() {
            assert_eq!(names.intern(&format!("name {n}")), *number);
            assert_eq!(names.text(*number), format!("name {n}"));
        }
        assert_eq!(names.len(), 1000);
        assert_eq!(names.find("other"), None);
    }
}

//! The tree over all events: RFC 6962 with SHA-256.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ids::{EventHash, Micros, Position};

/// Hash of a leaf or a node of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHash([u8; 32]);

impl TreeHash {
    /// Wraps the bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The plain bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TreeHash({self})")
    }
}

/// Hash of the leaf of one event.
pub fn leaf_hash(position: Position, recorded_at: Micros, event: EventHash) -> TreeHash {
    let mut leaf = [0; 49];
    leaf[1..9].copy_from_slice(&position.get().to_be_bytes());
    leaf[9..17].copy_from_slice(&recorded_at.get().to_be_bytes());
    leaf[17..].copy_from_slice(event.as_bytes());
    TreeHash(Sha256::digest(leaf).into())
}

/// Hash of the node above two others.
pub fn node_hash(left: TreeHash, right: TreeHash) -> TreeHash {
    let mut node = [1; 65];
    node[1..33].copy_from_slice(&left.0);
    node[33..].copy_from_slice(&right.0);
    TreeHash(Sha256::digest(node).into())
}

/// A tree that grows leaf by leaf and remembers only what its root needs.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Roots of complete subtrees, from left to right, each with the number of its leaves (powers of two,
    /// descending).
    parts: Vec<(u64, TreeHash)>,
}

impl Tree {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|(size, _)| size).sum()
    }

    /// Adds the next leaf.
    pub fn push(&mut self, leaf: TreeHash) {
        self.push_part(1, leaf);
    }

    /// Adds a complete subtree of `leaves` leaves, a power of two by which the size is divisible.
    pub(crate) fn push_part(&mut self, leaves: u64, root: TreeHash) {
        debug_assert!(leaves.is_power_of_two() && self.size().is_multiple_of(leaves));
        let (mut size, mut hash) = (leaves, root);
        while let Some(&(last, left)) = self.parts.last()
            && last == size
        {
            self.parts.pop();
            hash = node_hash(left, hash);
            size *= 2;
        }
        self.parts.push((size, hash));
    }

    /// The root.
    pub fn root(&self) -> TreeHash {
        let mut parts = self.parts.iter().rev();
        let Some(&(_, mut root)) = parts.next() else {
            return TreeHash(Sha256::digest([]).into());
        };
        for &(_, left) in parts {
            root = node_hash(left, root);
        }
        root
    }
}

/// Root over leaves whose number is a power of two.
pub(crate) fn complete_root(leaves: &[TreeHash]) -> TreeHash {
    debug_assert!(leaves.len().is_power_of_two());
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        for pair in 0..level.len() / 2 {
            level[pair] = node_hash(level[2 * pair], level[2 * pair + 1]);
        }
        level.truncate(level.len() / 2);
    }
    level[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition in RFC 6962, section 2.1, word by word.
    fn by_definition(leaves: &[TreeHash]) -> TreeHash {
        match leaves {
            [] => TreeHash(Sha256::digest([]).into()),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(by_definition(&leaves[..split]), by_definition(&leaves[split..]))
            }
        }
    }

    fn leaves(count: u64) -> Vec<TreeHash> {
        (0..count).map(|i| leaf_hash(Position::new(i), Micros::new(7), EventHash::new([i as u8; 32]))).collect()
    }

    #[test]
    fn root_is_that_of_rfc_6962() {
        for count in 0..70 {
            let leaves = leaves(count);
            let mut tree = Tree::new();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            assert_eq!(tree.root(), by_definition(&leaves), "{count} leaves");
            assert_eq!(tree.size(), count);
        }
    }

    #[test]
    fn complete_parts_give_the_same_root_as_single_leaves() {
        let leaves = leaves(11);
        let mut tree = Tree::new();
        tree.push_part(8, complete_root(&leaves[..8]));
        leaves[8..].iter().for_each(|leaf| tree.push(*leaf));
        assert_eq!(tree.root(), by_definition(&leaves));
    }

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(Tree::new().root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}

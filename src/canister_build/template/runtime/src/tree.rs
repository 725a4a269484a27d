//! A B-tree from bytes to bytes in a memory of its own, in the layout of ic-stable-structures' BTreeMap, version 2.
//! Not for what the bytes mean.
//!
//! `tests/tree.rs` runs it and the library's on the same memory. Numbers are little-endian.
//!
//! | offset | size | field                                                                 |
//! |--------|------|-----------------------------------------------------------------------|
//! | 0      | 4    | `BTR`, version 2                                                      |
//! | 4      | 4    | bytes in a page                                                       |
//! | 8      | 4    | 2^32 - 1                                                              |
//! | 12     | 8    | address of the root (see `node`), 0 when there is none                |
//! | 20     | 8    | entries                                                               |
//! | 28     | 24   | zero                                                                  |
//! | 52     | ..   | pages (see `pages`)                                                   |

use crate::node::{build, halves, Node, Nodes, Place};
use crate::pages::{u32_at, u64_at, Pages};
use ic_stable_structures::Memory;

/// What a memory that holds a tree begins with. The library's bounded maps, which Kybra has, are version 1.
pub const MAGIC: &[u8; 4] = b"BTR\x02";
const HEAD: usize = 28;
const PAGE: usize = 1024;
const PAGE_IS_GIVEN: u32 = u32::MAX;
const ROOT_AT: u64 = 12;

const MAX_ENTRIES: usize = 11;
const MIN_ENTRIES: usize = 5;
/// Nodes on the way to a leaf in a tree of 100 000 entries.
const USUAL_DEPTH: usize = 6;

/// Addresses of nodes from the root downwards, and the index of the child taken in each.
type Path = Vec<(u64, usize)>;

pub struct Tree<M: Memory> {
    nodes: Nodes<M>,
    root: u64,
    length: u64,
}

impl<M: Memory> Tree<M> {
    /// The tree in a memory, a new one when it is empty. Panics when it holds something else.
    pub fn open(memory: M) -> Tree<M> {
        let mut head = [0u8; HEAD];
        if memory.size() == 0 {
            head[..4].copy_from_slice(MAGIC);
            head[4..8].copy_from_slice(&(PAGE as u32).to_le_bytes());
            head[8..12].copy_from_slice(&PAGE_IS_GIVEN.to_le_bytes());
            let pages = Pages::create(memory, PAGE);
            pages.memory.write(0, &head);
            return Tree { nodes: Nodes::on(pages), root: 0, length: 0 };
        }
        memory.read(0, &mut head);
        let is_known = head.starts_with(MAGIC) && u32_at(&head, 8) == PAGE_IS_GIVEN as usize;
        assert!(is_known, "unknown map layout {:02x?}", &head[..12]);
        Tree { nodes: Nodes::on(Pages::load(memory)), root: u64_at(&head, 12), length: u64_at(&head, 20) }
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(key, |_, _| ()).is_some_and(|place| place.key_end.is_some())
    }

    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut place = self.find(key, |_, _| ())?;
        self.nodes.value(&mut place)
    }

    /// Sets a value and returns the one before.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let mut path = Path::with_capacity(USUAL_DEPTH);
        match self.find(key, |address, index| path.push((address, index))) {
            Some(place) if place.key_end.is_some() => return Some(self.replace(place, value)),
            Some(place) if place.node.count() < MAX_ENTRIES => self.put(place, key, value),
            Some(place) => {
                if let Err(place) = self.put_after_sharing(place, &path, key, value) {
                    self.put_and_split(place, path, key, value);
                }
            }
            None => {
                self.root = self.nodes.pages.take();
                self.nodes.store(self.root, Vec::new(), build(&[], &[(key, value)]));
            }
        }
        self.length += 1;
        self.save();
        None
    }

    /// Removes an entry and returns its value.
    pub fn remove(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let mut path = Path::with_capacity(USUAL_DEPTH);
        let mut place = self.find(key, |address, index| path.push((address, index)))?;
        let before = self.nodes.value(&mut place)?;
        if !place.node.is_leaf() {
            place = self.pull_up(place, &mut path);
        }
        let mut node = self.take(place);
        while node.count() < MIN_ENTRIES {
            let Some((parent, index)) = path.pop() else { break };
            node = self.refill(parent, index, node);
        }
        if node.address == self.root && node.count() == 0 {
            self.root = if node.is_leaf() { 0 } else { node.child(0) };
            self.nodes.free(node);
        }
        self.length -= 1;
        self.save();
        Some(before)
    }

    /// Visits all entries in the order of their keys; `with_values` or else without, which reads less.
    pub fn each<E>(&self, with_values: bool, visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        match self.root {
            0 => Ok(()),
            root => self.walk(root, with_values, visit),
        }
    }

    fn walk<E>(
        &self,
        address: u64,
        with_values: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut node = self.nodes.load(address);
        let spans = self.nodes.spans(&mut node, with_values);
        for (index, (key, value)) in spans.into_iter().enumerate() {
            if !node.is_leaf() {
                self.walk(node.child(index), with_values, visit)?;
            }
            visit(&node.bytes[key], &node.bytes[value])?;
        }
        match node.is_leaf() {
            true => Ok(()),
            false => self.walk(node.child(node.count()), with_values, visit),
        }
    }

    /// The place of a key, none in an empty tree. Tells `pass` of the nodes on the way and which child was taken.
    #[inline]
    fn find(&self, key: &[u8], mut pass: impl FnMut(u64, usize)) -> Option<Place> {
        if self.root == 0 {
            return None;
        }
        let mut node = self.nodes.load(self.root);
        loop {
            let (index, at, key_end) = self.nodes.search(&mut node, key);
            if key_end.is_some() || node.is_leaf() {
                return Some(Place { node, index, at, key_end });
            }
            pass(node.address, index);
            let child = node.child(index);
            self.nodes.load_into(&mut node, child);
        }
    }

    /// Puts an entry into a leaf that has room.
    fn put(&mut self, place: Place, key: &[u8], value: &[u8]) {
        let Place { mut node, index, at, .. } = place;
        let count = node.count();
        let value_at = self.nodes.skip(&mut node, at, count);
        let end = self.nodes.skip(&mut node, value_at, count - index);
        self.nodes.edit(&mut node, end, (at..at, Some(key)), (value_at..value_at, Some(value)));
    }

    /// Takes an entry out of a leaf; returns the leaf.
    fn take(&mut self, place: Place) -> Node {
        let Place { mut node, index, at, .. } = place;
        let others = node.count() - 1;
        let key_end = self.nodes.piece_end(&mut node, at);
        let value_at = self.nodes.skip(&mut node, key_end, others);
        let value_end = self.nodes.piece_end(&mut node, value_at);
        let end = self.nodes.skip(&mut node, value_end, others - index);
        self.nodes.edit(&mut node, end, (at..key_end, None), (value_at..value_end, None));
        node
    }

    fn replace(&mut self, place: Place, value: &[u8]) -> Vec<u8> {
        let Place { mut node, index, at, .. } = place;
        let others = node.count() - 1;
        let value_at = self.nodes.skip(&mut node, at, others + 1);
        let value_end = self.nodes.piece_end(&mut node, value_at);
        let before = node.bytes[value_at + 4..value_end].to_vec();
        if before.len() == value.len() {
            self.nodes.write_within(&node, value_at + 4, value);
            return before;
        }
        let end = self.nodes.skip(&mut node, value_end, others - index);
        self.nodes.edit(&mut node, end, (at..at, None), (value_at..value_end, Some(value)));
        self.nodes.pages.save();
        before
    }

    /// Puts an entry at the end of a full leaf, when what was there first finds room in the leaf before it: keys that come
    /// in order would leave all leaves half empty.
    fn put_after_sharing(&mut self, place: Place, path: &Path, key: &[u8], value: &[u8]) -> Result<(), Place> {
        let above = path.last().filter(|(_, index)| place.index == MAX_ENTRIES && *index > 0);
        let Some(&(parent, index)) = above else { return Err(place) };
        let mut parent = self.nodes.load(parent);
        let mut left = self.nodes.load(parent.child(index - 1));
        if left.count() == MAX_ENTRIES {
            return Err(place);
        }
        let mut node = place.node;
        self.balance(&mut parent, index - 1, [&mut left, &mut node], |_| MAX_ENTRIES);
        let (index, at, key_end) = self.nodes.search(&mut node, key);
        self.put(Place { node, index, at, key_end }, key, value);
        Ok(())
    }

    /// Puts an entry into a full leaf, and what that pushes out into the node above.
    fn put_and_split(&mut self, place: Place, mut path: Path, key: &[u8], value: &[u8]) {
        let mut pushed = (key.to_vec(), value.to_vec());
        let (mut node, mut index, mut right) = (place.node, place.index, 0);
        loop {
            let spans = self.nodes.spans(&mut node, true);
            let mut children = node.children();
            if !node.is_leaf() {
                children.insert(index + 1, right);
            }
            let mut entries = node.entries(&spans);
            entries.insert(index, (&pushed.0, &pushed.1));
            if entries.len() <= MAX_ENTRIES {
                let bytes = build(&children, &entries);
                return self.nodes.rewrite(&mut node, bytes);
            }
            let half = entries.len() / 2;
            let [to_left, to_right] = halves(&children, &entries, half);
            pushed = (entries[half].0.to_vec(), entries[half].1.to_vec());
            self.nodes.rewrite(&mut node, to_left);
            right = self.nodes.pages.take();
            self.nodes.store(right, Vec::new(), to_right);
            let Some((above, at)) = path.pop() else { break };
            self.nodes.load_into(&mut node, above);
            index = at;
        }
        let children = [self.root, right];
        self.root = self.nodes.pages.take();
        self.nodes.store(self.root, Vec::new(), build(&children, &[(&pushed.0, &pushed.1)]));
    }

    /// Takes the entry before that of an inner node to its place. Returns where it still is, in a leaf; the path leads
    /// there.
    fn pull_up(&mut self, place: Place, path: &mut Path) -> Place {
        let Place { mut node, index, .. } = place;
        path.push((node.address, index));
        let mut leaf = self.nodes.load(node.child(index));
        while !leaf.is_leaf() {
            let last = leaf.count();
            path.push((leaf.address, last));
            let child = leaf.child(last);
            self.nodes.load_into(&mut leaf, child);
        }
        let last = leaf.count() - 1;
        let leaf_spans = self.nodes.spans(&mut leaf, true);
        let spans = self.nodes.spans(&mut node, true);
        let mut entries = node.entries(&spans);
        entries[index] = leaf.entries(&leaf_spans)[last];
        let bytes = build(&node.children(), &entries);
        self.nodes.rewrite(&mut node, bytes);
        let at = leaf_spans[last].0.start - 4;
        Place { node: leaf, index: last, at, key_end: None }
    }

    /// Mends the child at `index`, which has too few entries, with those of the one beside it; returns the parent.
    fn refill(&mut self, parent: u64, index: usize, node: Node) -> Node {
        let mut parent = self.nodes.load(parent);
        let at = index.saturating_sub(1);
        let (mut left, mut right) = match index {
            0 => (node, self.nodes.load(parent.child(1))),
            _ => (self.nodes.load(parent.child(at)), node),
        };
        if left.count() + right.count() + 1 >= MAX_ENTRIES {
            self.balance(&mut parent, at, [&mut left, &mut right], |joined| joined / 2);
            return parent;
        }
        let spans = [&mut left, &mut right, &mut parent].map(|node| self.nodes.spans(node, true));
        let mut of_parent = parent.entries(&spans[2]);
        let joined = [&left.entries(&spans[0])[..], &[of_parent.remove(at)], &right.entries(&spans[1])].concat();
        let mut of_both = parent.children();
        of_both.remove(at + 1);
        let whole = build(&[left.children(), right.children()].concat(), &joined);
        let above = build(&of_both, &of_parent);
        self.nodes.rewrite(&mut left, whole);
        self.nodes.free(right);
        self.nodes.rewrite(&mut parent, above);
        parent
    }

    /// Shares the entries of two neighbours, and the one between them in their parent at `at`: `to_left` of so many
    /// stay in the left one.
    fn balance(&mut self, parent: &mut Node, at: usize, both: [&mut Node; 2], to_left: impl Fn(usize) -> usize) {
        let [left, right] = both;
        let spans = [&mut *left, &mut *right, &mut *parent].map(|node| self.nodes.spans(node, true));
        let mut of_parent = parent.entries(&spans[2]);
        let joined = [&left.entries(&spans[0])[..], &[of_parent[at]], &right.entries(&spans[1])].concat();
        let half = to_left(joined.len());
        of_parent[at] = joined[half];
        let children = [left.children(), right.children()].concat();
        let [left_bytes, right_bytes] = halves(&children, &joined, half);
        let above = build(&parent.children(), &of_parent);
        self.nodes.rewrite(left, left_bytes);
        self.nodes.rewrite(right, right_bytes);
        self.nodes.rewrite(parent, above);
    }

    fn save(&mut self) {
        let mut head = [0u8; 16];
        head[..8].copy_from_slice(&self.root.to_le_bytes());
        head[8..].copy_from_slice(&self.length.to_le_bytes());
        self.nodes.pages.memory.write(ROOT_AT, &head);
        self.nodes.pages.save();
    }
}

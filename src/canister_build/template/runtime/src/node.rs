//! Nodes of a tree on pages, read and written in one piece: those of ic-stable-structures' BTreeMap, version 2.
//! Not for how a tree keeps its balance: `tree` does. Numbers are little-endian.
//!
//! The library takes some forty reads for a node and writes it field by field.
//!
//! A node lies in one page, or goes on in others when it is larger:
//!
//! | offset | size | field                                                                 |
//! |--------|------|-----------------------------------------------------------------------|
//! | 0      | 4    | `BTN`, version 2                                                      |
//! | 4      | 1    | 0: a leaf, 1: a node with children                                    |
//! | 5      | 2    | entries, 11 at most                                                   |
//! | 7      | 8    | address of the page it goes on in, or 0                               |
//! | 15     | 8 .. | addresses of the children: one more than entries, none in a leaf      |
//! | ..     | ..   | keys, each with its length before it, u32                             |
//! | ..     | ..   | values, the same                                                      |
//!
//! A page it goes on in is `NOF`, the address of the one after it, or 0, and what of the node fits.

use crate::pages::{u32_at, u64_at, Pages};
use ic_stable_structures::Memory;
use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::Range;

const NODE: &[u8; 4] = b"BTN\x02";
const NODE_HEAD: usize = 15;
const COUNT_AT: usize = 5;
const MORE_AT: usize = 7;
const MORE: &[u8; 3] = b"NOF";
const MORE_HEAD: usize = 11;

/// Bytes of a node that are read at once before it is known how many there are. A page is never smaller.
const FIRST_GUESS: usize = 128;

pub type Entry<'a> = (&'a [u8], &'a [u8]);
/// Where in a node the key and the value of an entry are.
pub type Span = (Range<usize>, Range<usize>);

/// A node's bytes as far as they have been read, without the heads of the pages it goes on in.
pub struct Node {
    pub address: u64,
    pub bytes: Vec<u8>,
    more: Vec<u64>,
    /// The page after those that were read, or 0.
    next: u64,
}

/// Where a key is, or would be, in a node.
pub struct Place {
    pub node: Node,
    pub index: usize,
    /// Where its length is or would be.
    pub at: usize,
    /// Where it ends, if it is there.
    pub key_end: Option<usize>,
}

/// As slices are ordered; eight bytes at a time, where the standard library's takes them singly.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a_words, mut b_words) = (a.chunks_exact(8), b.chunks_exact(8));
    for (x, y) in (&mut a_words).zip(&mut b_words) {
        let (x, y) = (u64_at(x, 0), u64_at(y, 0));
        if x != y {
            return compare_words(x, y);
        }
    }
    let done = a.len().min(b.len()) & !7;
    a[done..].cmp(&b[done..])
}

/// By the first byte, the lowest, in which they differ; they do.
#[inline]
fn compare_words(x: u64, y: u64) -> Ordering {
    let differing = (x ^ y).trailing_zeros() & !7;
    (x >> differing & 255).cmp(&(y >> differing & 255))
}

/// The first eight bytes of the piece of `size` that `bytes` begin with, zeros after its end: where two of them differ,
/// the pieces are in the same order.
#[inline]
fn first_word(bytes: &[u8], size: usize) -> u64 {
    let Some(word) = bytes.first_chunk() else {
        let mut word = [0; 8];
        word[..size].copy_from_slice(&bytes[..size]);
        return u64::from_le_bytes(word);
    };
    match u64::from_le_bytes(*word) {
        word if size < 8 => word & ((1 << (8 * size)) - 1),
        word => word,
    }
}

impl Node {
    pub fn count(&self) -> usize {
        u16::from_le_bytes([self.bytes[COUNT_AT], self.bytes[COUNT_AT + 1]]) as usize
    }

    pub fn is_leaf(&self) -> bool {
        self.bytes[4] == 0
    }

    pub fn keys_at(&self) -> usize {
        match self.is_leaf() {
            true => NODE_HEAD,
            false => NODE_HEAD + 8 * (self.count() + 1),
        }
    }

    pub fn child(&self, index: usize) -> u64 {
        u64_at(&self.bytes, NODE_HEAD + 8 * index)
    }

    pub fn children(&self) -> Vec<u64> {
        match self.is_leaf() {
            true => Vec::new(),
            false => (0..=self.count()).map(|index| self.child(index)).collect(),
        }
    }

    pub fn entries<'a>(&'a self, spans: &[Span]) -> Vec<Entry<'a>> {
        // Room for one that is put in.
        let mut entries = Vec::with_capacity(spans.len() + 1);
        entries.extend(spans.iter().map(|(key, value)| (&self.bytes[key.clone()], &self.bytes[value.clone()])));
        entries
    }
}

/// The bytes of a node, all but where it goes on.
pub fn build(children: &[u64], entries: &[Entry]) -> Vec<u8> {
    let size: usize = entries.iter().map(|(key, value)| 8 + key.len() + value.len()).sum();
    let mut bytes = Vec::with_capacity(NODE_HEAD + 8 * children.len() + size);
    bytes.extend_from_slice(NODE);
    bytes.push(!children.is_empty() as u8);
    bytes.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    for child in children {
        bytes.extend_from_slice(&child.to_le_bytes());
    }
    for (key, _) in entries {
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
    }
    for (_, value) in entries {
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// The nodes of a tree, by the addresses of their first pages.
pub struct Nodes<M: Memory> {
    pub pages: Pages<M>,
    /// How much of a page the keys of nodes have needed, and the whole of nodes.
    keys_guess: Cell<usize>,
    guess: Cell<usize>,
}

impl<M: Memory> Nodes<M> {
    pub fn on(pages: Pages<M>) -> Nodes<M> {
        Nodes { pages, keys_guess: Cell::new(FIRST_GUESS), guess: Cell::new(FIRST_GUESS) }
    }

    fn append(&self, bytes: &mut Vec<u8>, at: u64, size: usize) {
        bytes.reserve(size);
        // The read fills what the length is then said to cover.
        unsafe {
            self.pages.memory.read_unsafe(at, bytes.as_mut_ptr().add(bytes.len()), size);
            bytes.set_len(bytes.len() + size);
        }
    }

    pub fn load(&self, address: u64) -> Node {
        let mut node = Node { address, bytes: Vec::new(), more: Vec::new(), next: 0 };
        self.load_into(&mut node, address);
        node
    }

    /// Loads a node in place of another.
    pub fn load_into(&self, node: &mut Node, address: u64) {
        node.address = address;
        node.bytes.clear();
        node.more.clear();
        self.append(&mut node.bytes, address, self.keys_guess.get());
        let bytes = &node.bytes;
        assert!(bytes.starts_with(NODE), "no map node at {address}: {:02x?}", &bytes[..4]);
        node.next = u64_at(bytes, MORE_AT);
        let end = node.keys_at();
        self.need(node, end, &self.keys_guess);
    }

    /// Reads on until `end` bytes of the node are there.
    #[inline]
    pub fn need(&self, node: &mut Node, end: usize, guess: &Cell<usize>) {
        if end > node.bytes.len() {
            self.read_on(node, end, guess);
        }
    }

    #[cold]
    fn read_on(&self, node: &mut Node, end: usize, guess: &Cell<usize>) {
        guess.set(end.next_multiple_of(64).clamp(guess.get(), self.pages.size));
        let have = node.bytes.len();
        if have < self.pages.size {
            let size = guess.get().max(end).min(self.pages.size) - have;
            self.append(&mut node.bytes, node.address + have as u64, size);
        }
        while end > node.bytes.len() {
            assert!(node.next != 0, "the map node at {} is cut short", node.address);
            self.follow(node);
        }
    }

    /// Reads the next page that the node goes on in.
    fn follow(&self, node: &mut Node) {
        let address = node.next;
        let mut head = [0u8; MORE_HEAD];
        self.pages.memory.read(address, &mut head);
        assert!(head.starts_with(MORE), "no part of a map node at {address}: {:02x?}", &head[..3]);
        self.append(&mut node.bytes, address + MORE_HEAD as u64, self.pages.size - MORE_HEAD);
        node.more.push(address);
        node.next = u64_at(&head, 3);
    }

    /// The end of the piece at `at`, a length and as many bytes, which are read.
    #[inline]
    pub fn piece_end(&self, node: &mut Node, at: usize) -> usize {
        self.need(node, at + 4, &self.guess);
        let end = at + 4 + u32_at(&node.bytes, at);
        self.need(node, end, &self.guess);
        end
    }

    /// The end of so many pieces; of the last one no more than its length may be read.
    #[inline]
    pub fn skip(&self, node: &mut Node, mut at: usize, pieces: usize) -> usize {
        for _ in 0..pieces {
            self.need(node, at + 4, &self.guess);
            at += 4 + u32_at(&node.bytes, at);
        }
        at
    }

    /// The place of a key in a node: its index and start, and its end if it is there.
    pub fn search(&self, node: &mut Node, key: &[u8]) -> (usize, usize, Option<usize>) {
        let (mut at, count, first) = (node.keys_at(), node.count(), first_word(key, key.len()));
        for index in 0..count {
            self.need(node, at + 4, &self.keys_guess);
            let end = at + 4 + u32_at(&node.bytes, at);
            self.need(node, end, &self.keys_guess);
            let here = first_word(&node.bytes[at + 4..], end - at - 4);
            let order = match here == first {
                true => compare(&node.bytes[at + 4..end], key),
                false => compare_words(here, first),
            };
            match order {
                Ordering::Less => at = end,
                Ordering::Equal => return (index, at, Some(end)),
                Ordering::Greater => return (index, at, None),
            }
        }
        (count, at, None)
    }

    /// The value of a key that is there.
    pub fn value(&self, place: &mut Place) -> Option<Vec<u8>> {
        let others = place.node.count() - 1;
        let at = self.skip(&mut place.node, place.key_end?, others);
        let end = self.piece_end(&mut place.node, at);
        Some(place.node.bytes[at + 4..end].to_vec())
    }

    /// Where all entries are; the node is read as far as that takes. Without values they are empty.
    pub fn spans(&self, node: &mut Node, with_values: bool) -> Vec<Span> {
        let count = node.count();
        let mut spans = Vec::with_capacity(count);
        let mut at = node.keys_at();
        for _ in 0..count {
            let end = self.piece_end(node, at);
            spans.push((at + 4..end, 0..0));
            at = end;
        }
        for span in spans.iter_mut().filter(|_| with_values) {
            let end = self.piece_end(node, at);
            span.1 = at + 4..end;
            at = end;
        }
        spans
    }

    /// Writes a part of a node that keeps its size.
    pub fn write_within(&self, node: &Node, mut at: usize, mut part: &[u8]) {
        while !part.is_empty() {
            let (start, end) = match at.checked_sub(self.pages.size) {
                None => (node.address + at as u64, self.pages.size),
                Some(beyond) => {
                    let room = self.pages.size - MORE_HEAD;
                    let (index, within) = (beyond / room, beyond % room);
                    (node.more[index] + (MORE_HEAD + within) as u64, self.pages.size + (index + 1) * room)
                }
            };
            let (here, rest) = part.split_at(part.len().min(end - at));
            self.pages.memory.write(start, here);
            at += here.len();
            part = rest;
        }
    }

    pub fn rewrite(&mut self, node: &mut Node, bytes: Vec<u8>) {
        while node.next != 0 {
            self.follow(node);
        }
        let written = self.store(node.address, std::mem::take(&mut node.more), bytes);
        *node = written;
    }

    /// Writes a node into its page and those it goes on in, as many as it needs.
    pub fn store(&mut self, address: u64, mut more: Vec<u64>, mut bytes: Vec<u8>) -> Node {
        let room = self.pages.size - MORE_HEAD;
        let needed = bytes.len().saturating_sub(self.pages.size).div_ceil(room);
        while more.len() < needed {
            more.push(self.pages.take());
        }
        for page in more.drain(needed..) {
            self.pages.free(page);
        }
        let first = bytes.len().min(self.pages.size);
        bytes[MORE_AT..MORE_AT + 8].copy_from_slice(&more.first().copied().unwrap_or(0).to_le_bytes());
        self.pages.memory.write(address, &bytes[..first]);
        for (index, part) in bytes[first..].chunks(room).enumerate() {
            let mut page = Vec::with_capacity(self.pages.size);
            page.extend_from_slice(MORE);
            page.extend_from_slice(&more.get(index + 1).copied().unwrap_or(0).to_le_bytes());
            page.extend_from_slice(part);
            self.pages.memory.write(more[index], &page);
        }
        Node { address, bytes, more, next: 0 }
    }

    /// Puts a key and a value, or nothing, in place of what is at two places of a node that ends at `end`.
    pub fn edit(
        &mut self,
        node: &mut Node,
        end: usize,
        key: (Range<usize>, Option<&[u8]>),
        value: (Range<usize>, Option<&[u8]>),
    ) {
        self.need(node, end, &self.guess);
        let added = 8 + key.1.map_or(0, <[u8]>::len) + value.1.map_or(0, <[u8]>::len);
        let mut bytes = Vec::with_capacity(end + added);
        let mut from = 0;
        let mut count = node.count();
        for (index, (span, piece)) in [key, value].into_iter().enumerate() {
            bytes.extend_from_slice(&node.bytes[from..span.start]);
            if let Some(piece) = piece {
                bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
                bytes.extend_from_slice(piece);
            }
            if index == 0 {
                count = count + piece.is_some() as usize - !span.is_empty() as usize;
            }
            from = span.end;
        }
        bytes.extend_from_slice(&node.bytes[from..end]);
        bytes[COUNT_AT..COUNT_AT + 2].copy_from_slice(&(count as u16).to_le_bytes());
        self.rewrite(node, bytes);
    }

    /// Gives back all pages of a node.
    pub fn free(&mut self, mut node: Node) {
        while node.next != 0 {
            self.follow(&mut node);
        }
        for page in node.more {
            self.pages.free(page);
        }
        self.pages.free(node.address);
    }
}

/// Two nodes of the entries before and after the one at `half`.
pub fn halves(children: &[u64], entries: &[Entry], half: usize) -> [Vec<u8>; 2] {
    let (left, right) = children.split_at(if children.is_empty() { 0 } else { half + 1 });
    [build(left, &entries[..half]), build(right, &entries[half + 1..])]
}

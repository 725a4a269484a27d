//! Pages of one size in a memory, taken and given back: the allocator of ic-stable-structures' BTreeMap.
//! Not for what is on the pages: `node` knows that. Numbers are little-endian.
//!
//! | offset | size | field                                                                 |
//! |--------|------|-----------------------------------------------------------------------|
//! | 52     | 4    | `BTA`, version 1                                                      |
//! | 56     | 4    | zero                                                                  |
//! | 60     | 8    | bytes in a page                                                       |
//! | 68     | 8    | pages in use                                                          |
//! | 76     | 8    | chunk that is taken next                                              |
//! | 84     | 16   | zero                                                                  |
//! | 100    | ..   | chunks of 16 bytes and a page                                         |
//!
//! A chunk is `CHK`, version 1, a byte that is 1 when it is in use, three zero bytes, the address of the next free chunk
//! (0: the one after the last), and a page. The page's address stands for it; no address is 0.

use ic_stable_structures::Memory;

const HEAD_AT: u64 = 52;
const HEAD: usize = 48;
const MAGIC: &[u8; 4] = b"BTA\x01";
const IN_USE_AT: u64 = 68;
const FIRST_CHUNK: u64 = 100;
const CHUNK: &[u8; 4] = b"CHK\x01";
const CHUNK_HEAD: usize = 16;
const WASM_PAGE: u64 = 65_536;

pub struct Pages<M: Memory> {
    pub memory: M,
    /// Bytes in a page.
    pub size: usize,
    in_use: u64,
    next: u64,
    is_dirty: bool,
}

pub fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("a number of four bytes")) as usize
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("a number of eight bytes"))
}

impl<M: Memory> Pages<M> {
    /// Lays out an empty memory; what is before the table above is left to the caller.
    pub fn create(memory: M, size: usize) -> Pages<M> {
        let pages = Pages { memory, size, in_use: 0, next: FIRST_CHUNK, is_dirty: false };
        let mut head = [0u8; HEAD];
        head[..4].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&(size as u64).to_le_bytes());
        head[24..32].copy_from_slice(&FIRST_CHUNK.to_le_bytes());
        pages.reach(FIRST_CHUNK + CHUNK_HEAD as u64);
        pages.memory.write(HEAD_AT, &head);
        pages.write_chunk(FIRST_CHUNK, false, 0);
        pages
    }

    /// Those of a memory. Panics when it holds something else.
    pub fn load(memory: M) -> Pages<M> {
        let mut head = [0u8; HEAD];
        memory.read(HEAD_AT, &mut head);
        assert!(head.starts_with(MAGIC), "no pages of a map: {:02x?}", &head[..4]);
        let size = u64_at(&head, 8) as usize;
        Pages { memory, size, in_use: u64_at(&head, 16), next: u64_at(&head, 24), is_dirty: false }
    }

    /// Writes down what was taken and given back; to be called at the end of a change.
    pub fn save(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            let mut counts = [0u8; 16];
            counts[..8].copy_from_slice(&self.in_use.to_le_bytes());
            counts[8..].copy_from_slice(&self.next.to_le_bytes());
            self.memory.write(IN_USE_AT, &counts);
        }
    }

    /// Grows the memory so far that `end` is inside.
    fn reach(&self, end: u64) {
        let (pages, needed) = (self.memory.size(), end.div_ceil(WASM_PAGE));
        assert!(needed <= pages || self.memory.grow(needed - pages) >= 0, "stable memory is full");
    }

    fn write_chunk(&self, chunk: u64, is_used: bool, next: u64) {
        let mut head = [0u8; CHUNK_HEAD];
        head[..4].copy_from_slice(CHUNK);
        head[4] = is_used as u8;
        head[8..].copy_from_slice(&next.to_le_bytes());
        self.memory.write(chunk, &head);
    }

    /// A page for use. It may hold old bytes.
    pub fn take(&mut self) -> u64 {
        let chunk = self.next;
        let mut head = [0u8; CHUNK_HEAD];
        self.memory.read(chunk, &mut head);
        assert!(head.starts_with(CHUNK) && head[4] == 0, "no free page at {chunk}: {head:02x?}");
        self.next = u64_at(&head, 8);
        self.write_chunk(chunk, true, self.next);
        if self.next == 0 {
            self.next = chunk + (CHUNK_HEAD + self.size) as u64;
            self.reach(self.next + CHUNK_HEAD as u64);
            self.write_chunk(self.next, false, 0);
        }
        self.in_use += 1;
        self.is_dirty = true;
        chunk + CHUNK_HEAD as u64
    }

    /// Gives a page back.
    pub fn free(&mut self, page: u64) {
        let chunk = page - CHUNK_HEAD as u64;
        self.write_chunk(chunk, false, self.next);
        self.next = chunk;
        self.in_use -= 1;
        self.is_dirty = true;
    }
}

//! Large values of a map, out of its tree: a file of slots of one size, in a virtual memory of its own.
//! Not for which values those are: `maps` decides.
//!
//! A B-tree writes a node whole whenever one of its entries changes. With a reference of five bytes in the node, a large
//! value is written once, in its slot, and overwritten without a look at the tree.
//!
//! The slots of the map in memory `id` are in memory 254 - `id`, which is empty until the first value needs one.
//! Numbers are little-endian.
//!
//! | offset             | size | field                                                       |
//! |--------------------|------|-------------------------------------------------------------|
//! | 0                  | 3    | `SLT`                                                       |
//! | 3                  | 1    | version, 1                                                  |
//! | 4                  | 4    | bytes in a slot, a multiple of 64                           |
//! | 8                  | 4    | slots ever used                                             |
//! | 12                 | 4    | head of the free list: slot + 1, or 0                       |
//! | 16                 | 48   | zero                                                        |
//! | 64 + slot * size   | 4    | bytes of the value with its tag, or 2^32 - 1: a free slot   |
//! |               + 4  | ..   | the value as `stored` has it; in a free slot the next one + 1, u32, or 0 |

use crate::ic0;
use crate::py::Py;
use crate::stored::{self, Encoded};
use ic_stable_structures::memory_manager::VirtualMemory;
use ic_stable_structures::{DefaultMemoryImpl, Memory};

pub type Stable = VirtualMemory<DefaultMemoryImpl>;

pub const MAGIC: &[u8; 4] = b"SLT\x01";
const PAGE: u64 = 65_536;
const HEADER: u64 = 64;
const ALIGN: u64 = 64;
const USED_AT: u64 = 8;
/// The length before a value.
const LENGTH: u64 = 4;
const FREE: u32 = u32::MAX;
/// Keys whose slots are known without a look at the tree.
const RECENT: usize = 128;

/// The memory that holds the slots of the map in this one.
pub const fn memory_of(id: u8) -> u8 {
    254 - id
}

/// A value in a slot: its tag and the bytes that follow it.
#[derive(Clone, Copy)]
pub struct Place {
    slot: u32,
    tag: u8,
    size: u32,
}

pub struct Slots {
    memory: Stable,
    /// The map's.
    id: u8,
    slot_size: u64,
    used: u32,
    free: u32,
    recent: Recent,
}

impl Slots {
    /// Those of the map in memory `id`, whose values take up to `needed` bytes. Without `needed`, those it once had.
    ///
    /// Traps when the memory holds something else, or slots too small.
    pub fn open(memory: Stable, id: u8, needed: Option<u64>) -> Option<Slots> {
        let mut slots = Slots { memory, id, slot_size: 0, used: 0, free: 0, recent: Recent::new() };
        if slots.memory.size() == 0 {
            slots.slot_size = needed?.next_multiple_of(ALIGN);
            return Some(slots);
        }
        let mut header = [0u8; 16];
        slots.memory.read(0, &mut header);
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if !header.starts_with(MAGIC) {
            let needed = needed?;
            ic0::trap(&format!(
                "memory {} begins with {:08x}: expected 534c5401, the slots (version 1) of the map in memory {id}, \
                 whose max_value_size is {needed}",
                memory_of(id),
                u32::from_be_bytes([header[0], header[1], header[2], header[3]]),
            ));
        }
        slots.slot_size = number(4) as u64;
        slots.used = number(8);
        slots.free = number(12);
        if let Some(needed) = needed.filter(|needed| *needed > slots.slot_size) {
            ic0::trap(&format!(
                "max_value_size of the map in memory {id} is {needed}: its values are in slots of {} bytes, \
                 and a stored map's max_value_size cannot grow",
                slots.slot_size
            ));
        }
        Some(slots)
    }

    fn trap(&self, slot: u32, text: &str) -> ! {
        ic0::trap(&format!("slot {slot} of the map in memory {}: {text}", self.id))
    }

    fn address(&self, slot: u32) -> u64 {
        HEADER + slot as u64 * self.slot_size
    }

    pub fn fits(&self, value: &Encoded) -> bool {
        LENGTH + 1 + value.rest().len() as u64 <= self.slot_size
    }

    /// Where the value of a key is, if it is known without the tree.
    pub fn recent(&self, key: &[u8]) -> Option<Place> {
        self.recent.get(key)
    }

    /// The place that a reference in the tree means; `key` is the one it stands at.
    pub fn find(&mut self, slot: u32, key: &[u8]) -> Place {
        let place = self.place(slot);
        self.recent.put(key, place);
        place
    }

    /// The same without remembering it.
    pub fn place(&self, slot: u32) -> Place {
        if slot >= self.used {
            self.trap(slot, &format!("there are {}", self.used));
        }
        let mut head = [0u8; 5];
        self.memory.read(self.address(slot), &mut head);
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if length == 0 || LENGTH + length as u64 > self.slot_size {
            self.trap(slot, "a reference to a slot that holds no value");
        }
        Place { slot, tag: head[4], size: length - 1 }
    }

    /// Reads a value; that of a blob goes from stable memory straight to where Python keeps it.
    pub fn read(&self, place: Place) -> Content {
        let start = self.address(place.slot) + LENGTH;
        let size = place.size as usize;
        if place.tag == stored::BLOB {
            let fill = |to: *mut u8| unsafe { self.memory.read_unsafe(start + 1, to, size) };
            return Content::Blob(Py::bytes_filled(size, fill));
        }
        let mut bytes = vec![0u8; 1 + size];
        self.memory.read(start, &mut bytes);
        Content::Encoded(bytes)
    }

    /// Puts a value that fits where another one was.
    pub fn overwrite(&mut self, before: Place, key: &[u8], value: &Encoded) {
        let place = Place { slot: before.slot, tag: value.tag(), size: value.rest().len() as u32 };
        self.write(place, value, (place.tag, place.size) != (before.tag, before.size));
        self.recent.put(key, place);
    }

    /// Puts a value that fits into a slot of its own and returns the slot's number.
    pub fn add(&mut self, key: &[u8], value: &Encoded) -> u32 {
        let slot = self.take();
        let place = Place { slot, tag: value.tag(), size: value.rest().len() as u32 };
        self.write(place, value, true);
        self.recent.put(key, place);
        slot
    }

    fn write(&self, place: Place, value: &Encoded, with_head: bool) {
        let start = self.address(place.slot);
        if with_head {
            let [a, b, c, d] = (place.size + 1).to_le_bytes();
            self.memory.write(start, &[a, b, c, d, place.tag]);
        }
        self.memory.write(start + LENGTH + 1, value.rest());
    }

    /// A slot for a new value: a freed one, or else the next.
    fn take(&mut self) -> u32 {
        if let Some(slot) = self.free.checked_sub(1) {
            let mut head = [0u8; 8];
            self.memory.read(self.address(slot), &mut head);
            let [a, b, c, d, next @ ..] = head;
            if slot >= self.used || u32::from_le_bytes([a, b, c, d]) != FREE {
                self.trap(slot, "in the free list, and not free");
            }
            self.free = u32::from_le_bytes(next);
            self.save();
            return slot;
        }
        let slot = self.used;
        let pages = self.address(slot + 1).div_ceil(PAGE);
        let before = self.memory.size();
        if pages > before && self.memory.grow(pages - before) < 0 {
            self.trap(slot, "stable memory is full");
        }
        if slot == 0 {
            let mut header = [0u8; HEADER as usize];
            header[..4].copy_from_slice(MAGIC);
            header[4..8].copy_from_slice(&(self.slot_size as u32).to_le_bytes());
            self.memory.write(0, &header);
        }
        self.used += 1;
        self.save();
        slot
    }

    /// Gives the slot of a value back.
    pub fn free(&mut self, place: Place, key: &[u8]) {
        let mut head = [0xff; 8];
        head[4..].copy_from_slice(&self.free.to_le_bytes());
        self.memory.write(self.address(place.slot), &head);
        self.free = place.slot + 1;
        self.save();
        self.recent.forget(key);
    }

    fn save(&self) {
        let mut counts = [0u8; 8];
        counts[..4].copy_from_slice(&self.used.to_le_bytes());
        counts[4..].copy_from_slice(&self.free.to_le_bytes());
        self.memory.write(USED_AT, &counts);
    }
}

/// A value that was read, to be decoded when no map is in use: decoding may run Python.
pub enum Content {
    Blob(Py),
    Encoded(Vec<u8>),
}

impl Content {
    pub fn decode(self) -> stored::Result<Py> {
        match self {
            Content::Blob(value) => Ok(value),
            Content::Encoded(bytes) => stored::decode_top(&bytes),
        }
    }
}

/// Places by key, one for every value of a hash. In the heap, which the platform rolls back together with stable memory.
struct Recent(Vec<Option<(Vec<u8>, Place)>>);

impl Recent {
    fn new() -> Self {
        Recent(vec![None; RECENT])
    }

    /// FNV-1a. Keys that differ in their last byte never meet.
    fn line(key: &[u8]) -> usize {
        let hash = key.iter().fold(0x811c_9dc5u32, |hash, byte| (hash ^ *byte as u32).wrapping_mul(0x0100_0193));
        hash as usize % RECENT
    }

    fn get(&self, key: &[u8]) -> Option<Place> {
        self.0[Self::line(key)].as_ref().filter(|(known, _)| known == key).map(|(_, place)| *place)
    }

    fn put(&mut self, key: &[u8], place: Place) {
        match &mut self.0[Self::line(key)] {
            Some((known, there)) if known == key => *there = place,
            line => *line = Some((key.to_vec(), place)),
        }
    }

    fn forget(&mut self, key: &[u8]) {
        let line = &mut self.0[Self::line(key)];
        if line.as_ref().is_some_and(|(known, _)| known == key) {
            *line = None;
        }
    }
}

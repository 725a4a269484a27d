//! StableBTreeMap: keys and values as ordered bytes in a tree, large values out of line.
//! Not for who may read them; Python's side is `basilisk.StableBTreeMap`.
//!
//! How keys and values become bytes is in `stored`. Where a map is declared with a `max_value_size` above 1000, a value
//! is in a slot (`slots`) and the tree holds a reference. It is in the tree all the same when a template without slots
//! wrote it, until it is written again, and when it does not fit a slot, which only values can whose size under Kybra is
//! not known: records, lists, tuples.

use crate::global::Global;
use crate::ic0;
use crate::py::Py;
use crate::slots::{self, Content, Place, Slots, Stable};
use crate::stored::{self, decode_top, encode_top, Declared, Encoded, Result};
use crate::tree::{self, Tree};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use ic_stable_structures::{DefaultMemoryImpl, Memory};

/// Values of maps declared with more may have slots.
const MAX_INLINE: u64 = 1000;
/// Larger slots could not be told apart by a number of 32 bits.
const MAX_VALUE: u64 = 1 << 31;

struct Map {
    id: u8,
    tree: Tree<Stable>,
    slots: Option<Slots>,
    key: Declared,
    value: Declared,
}

struct Maps {
    manager: MemoryManager<DefaultMemoryImpl>,
    open: Vec<Map>,
}

static MAPS: Global<Maps> = Global::new();

/// Opens the map in a memory and returns its handle. The declared tags are those of `stored::tag_of`.
pub fn open(id: u8, key: Declared, value: Declared) -> Result<usize> {
    if !MAPS.is_set() {
        MAPS.set(Maps { manager: MemoryManager::init(DefaultMemoryImpl::default()), open: Vec::new() });
    }
    let maps = MAPS.get();
    if id == u8::MAX {
        return Err(String::from("memory_id 255: allowed are 0 to 254"));
    }
    if maps.open.iter().any(|map| map.id == id) {
        return Err(format!("memory_id {id} is taken by another map"));
    }
    let is_large = value.max > MAX_INLINE;
    if value.max > MAX_VALUE {
        return Err(format!("max_value_size {}: at most {MAX_VALUE} is allowed", value.max));
    }
    let partner = slots::memory_of(id);
    let twin = maps.open.iter().find(|map| map.id == partner);
    if is_large && (twin.is_some() || partner == id) {
        return Err(taken(id, partner));
    }
    if twin.is_some_and(|map| map.slots.is_some()) {
        return Err(taken(partner, id));
    }
    let memory = maps.manager.get(MemoryId::new(id));
    refuse_foreign(&memory, id);
    let slots = Slots::open(maps.manager.get(MemoryId::new(partner)), id, is_large.then_some(value.max));
    maps.open.push(Map { id, tree: Tree::open(memory), slots, key, value });
    Ok(maps.open.len() - 1)
}

fn taken(large: u8, other: u8) -> String {
    format!(
        "the map in memory_id {large} has a max_value_size above {MAX_INLINE} and keeps its values in memory {other}, \
         which the map with memory_id {other} takes: give one of them another memory_id"
    )
}

/// Traps with what is there when a memory holds no map.
fn refuse_foreign(memory: &Stable, id: u8) {
    let mut start = [0u8; 4];
    if memory.size() > 0 {
        memory.read(0, &mut start);
        if &start != tree::MAGIC {
            let found = u32::from_be_bytes(start);
            ic0::trap(&format!("memory {id} begins with {found:08x}: expected 42545202, a map (BTR version 2)"));
        }
    }
}

fn map(handle: usize) -> Result<&'static mut Map> {
    MAPS.get().open.get_mut(handle).ok_or_else(|| format!("no map has the handle {handle}"))
}

fn encode_key(handle: usize, key: &Py) -> Result<Vec<u8>> {
    let map = map(handle)?;
    Ok(encode_top(key, map.key, "key", map.id)?.into_bytes())
}

impl Map {
    fn get(&mut self, key: &[u8]) -> Option<Content> {
        let Some(slots) = &mut self.slots else {
            return self.tree.get(key).map(Content::Encoded);
        };
        Some(match find(&self.tree, slots, key)? {
            Found::Slot(place) => slots.read(place),
            Found::Inline(bytes) => Content::Encoded(bytes),
        })
    }

    /// Sets a value and returns the one before, if it is `wanted`: reading it costs as much as writing.
    fn insert(&mut self, key: &[u8], value: Encoded, wanted: bool) -> Option<Content> {
        let Some(slots) = &mut self.slots else {
            return self.tree.insert(key, &value.into_bytes()).map(Content::Encoded);
        };
        let fits = slots.fits(&value);
        let (place, before) = match find(&self.tree, slots, key) {
            Some(Found::Slot(place)) => (Some(place), wanted.then(|| slots.read(place))),
            Some(Found::Inline(bytes)) => (None, Some(Content::Encoded(bytes))),
            None => (None, None),
        };
        match place {
            Some(place) if fits => slots.overwrite(place, key, &value),
            Some(place) => {
                slots.free(place, key);
                self.tree.insert(key, &value.into_bytes());
            }
            None if fits => {
                let slot = slots.add(key, &value);
                self.tree.insert(key, &stored::reference(slot));
            }
            None => {
                self.tree.insert(key, &value.into_bytes());
            }
        }
        before
    }

    fn remove(&mut self, key: &[u8]) -> Option<Content> {
        let stored = self.tree.remove(key)?;
        let Some((slots, slot)) = self.slots.as_mut().zip(stored::referred(&stored)) else {
            return Some(Content::Encoded(stored));
        };
        let place = slots.place(slot);
        let content = slots.read(place);
        slots.free(place, key);
        Some(content)
    }

    fn contains(&self, key: &[u8]) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.recent(key).is_some()) || self.tree.contains(key)
    }

    /// A list of what `item` makes of each key and what the tree holds for its value.
    fn list(&self, with_values: bool, item: &dyn Fn(&[u8], &[u8]) -> Result<Py>) -> Result<Py> {
        let mut items = Vec::with_capacity(self.tree.len() as usize);
        self.tree.each::<String>(with_values, &mut |key, value| {
            items.push(item(key, value)?);
            Ok(())
        })?;
        Ok(Py::list(items))
    }

    /// What the tree holds for a value, as Python sees it.
    fn decode(&self, stored: &[u8]) -> Result<Py> {
        match self.slots.as_ref().zip(stored::referred(stored)) {
            Some((slots, slot)) => slots.read(slots.place(slot)).decode(),
            None => decode_top(stored),
        }
    }
}

/// A value where it was found.
enum Found {
    Slot(Place),
    Inline(Vec<u8>),
}

fn find(tree: &Tree<Stable>, slots: &mut Slots, key: &[u8]) -> Option<Found> {
    if let Some(place) = slots.recent(key) {
        return Some(Found::Slot(place));
    }
    let stored = tree.get(key)?;
    Some(match stored::referred(&stored) {
        Some(slot) => Found::Slot(slots.find(slot, key)),
        None => Found::Inline(stored),
    })
}

fn decoded(content: Option<Content>) -> Result<Py> {
    content.map_or_else(|| Ok(Py::none()), Content::decode)
}

pub fn get(handle: usize, key: &Py) -> Result<Py> {
    let key = encode_key(handle, key)?;
    decoded(map(handle)?.get(&key))
}

pub fn insert(handle: usize, key: &Py, value: &Py, wanted: bool) -> Result<Py> {
    let key = encode_key(handle, key)?;
    let (declared, id) = (map(handle)?.value, map(handle)?.id);
    let value = encode_top(value, declared, "value", id)?;
    let before = map(handle)?.insert(&key, value, wanted);
    if wanted { decoded(before) } else { Ok(Py::none()) }
}

pub fn remove(handle: usize, key: &Py) -> Result<Py> {
    let key = encode_key(handle, key)?;
    decoded(map(handle)?.remove(&key))
}

pub fn contains(handle: usize, key: &Py) -> Result<bool> {
    let key = encode_key(handle, key)?;
    Ok(map(handle)?.contains(&key))
}

pub fn size(handle: usize) -> Result<u64> {
    Ok(map(handle)?.tree.len())
}

pub fn items(handle: usize) -> Result<Py> {
    let map = map(handle)?;
    map.list(true, &|key, value| Ok(Py::tuple(vec![decode_top(key)?, map.decode(value)?])))
}

pub fn keys(handle: usize) -> Result<Py> {
    map(handle)?.list(false, &|key, _| decode_top(key))
}

pub fn values(handle: usize) -> Result<Py> {
    let map = map(handle)?;
    map.list(true, &|_, value| map.decode(value))
}

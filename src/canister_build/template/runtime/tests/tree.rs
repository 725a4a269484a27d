//! The tree against a map of the standard library, and against ic-stable-structures' BTreeMap on the same memory.

#[path = "../src/node.rs"]
mod node;
#[path = "../src/pages.rs"]
mod pages;
#[path = "../src/tree.rs"]
mod tree;

use ic_stable_structures::storable::Bound;
use ic_stable_structures::{BTreeMap, Memory, Storable, VectorMemory};
use std::borrow::Cow;
use std::collections::BTreeMap as Model;
use tree::Tree;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bytes(Vec<u8>);

impl Storable for Bytes {
    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        Bytes(bytes.into_owned())
    }

    const BOUND: Bound = Bound::Unbounded;
}

type Library = BTreeMap<Bytes, Bytes, VectorMemory>;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn bytes(&mut self, size: u64) -> Vec<u8> {
        (0..size).map(|_| self.below(256) as u8).collect()
    }
}

/// What the two implementations are driven with.
struct Shape {
    keys: u64,
    max_key: u64,
    max_value: u64,
}

const SHAPES: [Shape; 4] = [
    Shape { keys: 40, max_key: 0, max_value: 12 },
    Shape { keys: 3000, max_key: 0, max_value: 40 },
    Shape { keys: 400, max_key: 41, max_value: 528 },
    Shape { keys: 120, max_key: 300, max_value: 2500 },
];

impl Shape {
    fn key(&self, random: &mut Random) -> Vec<u8> {
        let number = random.below(self.keys);
        let mut key = (number as u32).to_be_bytes().to_vec();
        key.resize(4 + (number * 7919 % (self.max_key + 1)) as usize, number as u8);
        key
    }

    fn value(&self, random: &mut Random) -> Vec<u8> {
        let size = match random.below(3) {
            0 => self.max_value,
            _ => random.below(self.max_value + 1),
        };
        random.bytes(size)
    }
}

fn entries(tree: &Tree<VectorMemory>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    tree.each::<()>(true, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(())
    })
    .unwrap();
    found
}

fn check(memory: &VectorMemory, model: &Model<Vec<u8>, Vec<u8>>) {
    let expected: Vec<_> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let tree = Tree::open(memory.clone());
    assert_eq!(tree.len(), model.len() as u64);
    assert_eq!(entries(&tree), expected);
    let mut keys = Vec::new();
    tree.each::<()>(false, &mut |key, _| {
        keys.push(key.to_vec());
        Ok(())
    })
    .unwrap();
    assert!(keys.iter().eq(model.keys()));
    let library = Library::init(memory.clone());
    assert_eq!(library.len(), model.len() as u64);
    let found: Vec<_> = library.iter().map(|entry| (entry.key().0.clone(), entry.value().0)).collect();
    assert_eq!(found, expected);
}

/// `steps` random operations, by ours and by the library's in turns of random lengths; more removals while `shrinking`.
fn drive(shape: &Shape, seed: u64, steps: u64, alternate: bool) {
    println!("seed {seed}");
    let mut random = Random(seed);
    let memory = VectorMemory::default();
    let mut model = Model::new();
    let mut done = 0;
    while done < steps {
        let turn = 1 + random.below(60);
        let removals = [1, 3, 8][random.below(3) as usize];
        if alternate && random.below(2) == 0 {
            let mut library = Library::init(memory.clone());
            for _ in 0..turn {
                let key = shape.key(&mut random);
                let (before, expected) = if random.below(10) < removals {
                    (library.remove(&Bytes(key.clone())), model.remove(&key))
                } else {
                    let value = shape.value(&mut random);
                    (library.insert(Bytes(key.clone()), Bytes(value.clone())), model.insert(key, value))
                };
                assert_eq!(before.map(|value| value.0), expected);
            }
        } else {
            let mut tree = Tree::open(memory.clone());
            for _ in 0..turn {
                let key = shape.key(&mut random);
                assert_eq!(tree.get(&key).as_ref(), model.get(&key));
                assert_eq!(tree.contains(&key), model.contains_key(&key));
                let (before, expected) = if random.below(10) < removals {
                    (tree.remove(&key), model.remove(&key))
                } else {
                    let value = shape.value(&mut random);
                    (tree.insert(&key, &value), model.insert(key, value))
                };
                assert_eq!(before, expected);
            }
        }
        if random.below(8) == 0 {
            check(&memory, &model);
        }
        done += turn;
    }
    check(&memory, &model);
    // The last pages are free again once nothing is left, and are used again.
    let mut tree = Tree::open(memory.clone());
    for key in model.keys() {
        assert!(tree.remove(key).is_some());
    }
    check(&memory, &Model::new());
    let pages = memory.size();
    for (key, value) in &model {
        tree.insert(key, value);
    }
    check(&memory, &model);
    assert!(memory.size() <= pages + 1);
}

#[test]
fn it_is_a_map() {
    for (number, shape) in SHAPES.iter().enumerate() {
        for seed in 1..6 {
            drive(shape, 1000 * (number as u64 + 1) + seed, 3000, false);
        }
    }
}

#[test]
fn the_library_and_it_read_and_change_what_the_other_wrote() {
    for (number, shape) in SHAPES.iter().enumerate() {
        for seed in 1..6 {
            drive(shape, 9000 * (number as u64 + 1) + seed, 3000, true);
        }
    }
}

#[test]
fn keys_in_order_and_backwards() {
    for backwards in [false, true] {
        let memory = VectorMemory::default();
        let mut tree = Tree::open(memory.clone());
        let mut model = Model::new();
        for number in 0..5000u32 {
            let number = if backwards { 5000 - number } else { number };
            tree.insert(&number.to_be_bytes(), &number.to_le_bytes());
            model.insert(number.to_be_bytes().to_vec(), number.to_le_bytes().to_vec());
        }
        check(&memory, &model);
        // Full leaves of 11 and the entry between two of them.
        let mut in_use = [0u8; 8];
        memory.read(68, &mut in_use);
        let in_use = u64::from_le_bytes(in_use);
        assert!(backwards || in_use < 5000 / 12 * 6 / 5, "{in_use} pages");
        for number in 1..4990u32 {
            assert_eq!(tree.remove(&number.to_be_bytes()), model.remove(&number.to_be_bytes()[..]));
        }
        check(&memory, &model);
    }
}

#[test]
#[should_panic(expected = "unknown map layout")]
fn a_foreign_memory_is_refused() {
    let memory = VectorMemory::default();
    memory.grow(1);
    memory.write(0, b"BTR\x01");
    Tree::open(memory);
}

#[test]
fn keys_of_all_short_lengths_are_in_the_order_of_slices() {
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    for size in 0..11 {
        for byte in [0, 1, 127, 128, 255] {
            let mut key = vec![0; size];
            key.push(byte);
            keys.push(key.clone());
            key[0] = 200;
            keys.push(key);
        }
    }
    let mut random = Random(77);
    let memory = VectorMemory::default();
    let mut tree = Tree::open(memory.clone());
    let mut model = Model::new();
    for _ in 0..2000 {
        let key = &keys[random.below(keys.len() as u64) as usize];
        assert_eq!(tree.get(key).as_ref(), model.get(key));
        match random.below(3) {
            0 => assert_eq!(tree.remove(key), model.remove(key)),
            _ => assert_eq!(tree.insert(key, b"v"), model.insert(key.clone(), b"v".to_vec())),
        }
    }
    check(&memory, &model);
}

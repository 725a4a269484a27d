//! Whose stable memory is this? Checked on its raw bytes, before the map library sees them: the library lays out a new
//! store over whatever it does not know. Not for what the maps hold.
//!
//! | offset      | size | field                                                        |
//! |-------------|------|--------------------------------------------------------------|
//! | 0           | 3    | `MGR`, the memory manager                                    |
//! | 3           | 1    | its version, 1                                               |
//! | 4           | 2    | buckets in use, little-endian                                |
//! | 6           | 2    | pages in a bucket, little-endian                             |
//! | 8           | 32   | reserved                                                     |
//! | 40          | 2040 | pages of each of the 255 memories, u64 little-endian         |
//! | 2080        | 1 .. | the memory each bucket belongs to                            |
//! | 65536       | ..   | the buckets; a map's first begins with `BTR` and its version, that of its slots with `SLT` |

use crate::{ic0, slots, tree};

const PAGE: u64 = 65_536;
const MANAGER: &[u8] = b"MGR\x01";
const SIZES_AT: usize = 40;
const OWNERS_AT: usize = 2080;

/// Traps unless stable memory is empty.
pub fn check_install() {
    if ic0::stable_size() > 0 {
        ic0::trap(&format!("stable memory is not empty at installation: {}", found()));
    }
}

/// Traps unless stable memory is empty or laid out by this runtime.
pub fn check_upgrade() {
    if ic0::stable_size() == 0 {
        return;
    }
    if ic0::stable_read(0, MANAGER.len()) != MANAGER {
        ic0::trap(&format!("stable memory holds a foreign layout: {}; expected nothing or MGR version 1", found()));
    }
    let head = ic0::stable_read(0, OWNERS_AT);
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let (buckets, bucket_pages) = (number(4), number(6));
    let owners = ic0::stable_read(OWNERS_AT as u64, buckets as usize);
    let mut seen = [false; 256];
    for (bucket, owner) in owners.into_iter().enumerate() {
        if std::mem::replace(&mut seen[owner as usize], true) || owner == u8::MAX {
            continue;
        }
        let at = SIZES_AT + 8 * owner as usize;
        if head[at..at + 8].iter().all(|byte| *byte == 0) {
            continue;
        }
        let start = ic0::stable_read(PAGE + bucket as u64 * bucket_pages as u64 * PAGE, tree::MAGIC.len());
        if start != tree::MAGIC && start != slots::MAGIC {
            ic0::trap(&format!(
                "stable memory holds a foreign layout: memory {owner} begins with {}; expected {} (BTR version 2) or {} \
                 (SLT version 1)",
                hex(&start),
                hex(tree::MAGIC),
                hex(slots::MAGIC)
            ));
        }
    }
}

fn found() -> String {
    let pages = ic0::stable_size();
    format!("{pages} pages that begin with {}", hex(&ic0::stable_read(0, 16)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

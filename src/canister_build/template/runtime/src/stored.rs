//! Keys and values of the stable maps as bytes, and back to Python.
//! Not for where the bytes lie: `maps` and `slots` know that.
//!
//! A key or value is one tag byte and what follows, so that keys sort as Kybra's do: numbers by size, texts and blobs
//! byte by byte.
//!
//! | tag         | value     | then                                                              |
//! |-------------|-----------|-------------------------------------------------------------------|
//! | 0           | None      |                                                                   |
//! | 1           | bool      | 0 or 1                                                            |
//! | 2           | nat, int  | 128 + its length, 127 - its length when negative, then two's complement, big-endian |
//! | 3           | float     | 8 bytes, big-endian IEEE 754                                      |
//! | 4, 5, 6     | text, blob, principal | its bytes; inside another value with a u32 length before them |
//! | 7, 8, 9     | list, dict, tuple | u32 count, then the items (key and value in turn)         |
//! | 16 .. 19    | nat8 .. nat64 | 1 to 8 bytes, big-endian                                      |
//! | 20 .. 23    | int8 .. int64 | 1 to 8 bytes, big-endian, the sign bit flipped                |
//! | 32          | in a slot (see `slots`) | its number, u32 big-endian                          |

use crate::ic0;
use crate::py::{Kind, Py};

const NONE: u8 = 0;
const BOOL: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const TEXT: u8 = 4;
pub const BLOB: u8 = 5;
const PRINCIPAL: u8 = 6;
const LIST: u8 = 7;
const DICT: u8 = 8;
const TUPLE: u8 = 9;
/// Declared as nat; stored as `INT`.
const NAT: u8 = 10;
const NAT8: u8 = 16;
const INT8: u8 = 20;
const INT64: u8 = 23;
/// No declared type that says more than the value itself.
const ANY: u8 = 255;

/// How deep values may nest; the stack is finite.
const MAX_DEPTH: usize = 128;

/// What a stored reference begins with: the value itself is in a slot.
const SLOT: u8 = 32;

pub type Result<T> = std::result::Result<T, String>;

/// A declared key or value: its tag and how many bytes it may take as Kybra counts them.
#[derive(Clone, Copy)]
pub struct Declared {
    pub tag: u8,
    pub max: u64,
}

/// An encoded key or value. The bytes of blobs and texts stay where Python has them.
pub enum Encoded<'a> {
    Owned(Vec<u8>),
    Borrowed(u8, &'a [u8]),
}

impl Encoded<'_> {
    pub fn tag(&self) -> u8 {
        match self {
            Encoded::Owned(bytes) => bytes[0],
            Encoded::Borrowed(tag, _) => *tag,
        }
    }

    /// What follows the tag.
    pub fn rest(&self) -> &[u8] {
        match self {
            Encoded::Owned(bytes) => &bytes[1..],
            Encoded::Borrowed(_, rest) => rest,
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Encoded::Owned(bytes) => bytes,
            Encoded::Borrowed(tag, rest) => {
                let mut bytes = Vec::with_capacity(1 + rest.len());
                bytes.push(tag);
                bytes.extend_from_slice(rest);
                bytes
            }
        }
    }
}

/// Encodes a `what` ("key" or "value") of the map in a memory; traps when it is larger than declared.
pub fn encode_top<'a>(value: &'a Py, declared: Declared, what: &str, id: u8) -> Result<Encoded<'a>> {
    let place = |error: String| format!("{what} of the map in memory {id}: {error}");
    let encoded = match (declared.tag, value.kind()) {
        (BLOB | ANY, Kind::Bytes | Kind::ByteArray) => Encoded::Borrowed(BLOB, value.buffer()),
        (TEXT | ANY, Kind::Str) => match value.as_str() {
            Ok(text) => Encoded::Borrowed(TEXT, text.as_bytes()),
            Err(raised) => return Err(place(raised.text())),
        },
        _ => {
            let mut out = Vec::new();
            encode_declared(value, declared.tag, &mut out).map_err(place)?;
            Encoded::Owned(out)
        }
    };
    let needed = kybra_size(encoded.tag(), encoded.rest().len() as u64);
    if needed > declared.max {
        // Kybra traps, and no except clause sees it.
        ic0::trap(&place(format!("{needed} bytes with Candid's framing; max_{what}_size is {}", declared.max)));
    }
    Ok(encoded)
}

/// What a value takes under Kybra, which stores Candid messages; 0 where that cannot be told from the value alone.
fn kybra_size(tag: u8, size: u64) -> u64 {
    let length = (64 - (size | 1).leading_zeros() as u64).div_ceil(7);
    match tag {
        NONE => 7,
        BOOL | NAT8..=INT64 => 7 + size,
        FLOAT => 7 + size,
        TEXT => 7 + length + size,
        BLOB => 9 + length + size,
        PRINCIPAL => 8 + length + size,
        _ => 0,
    }
}

fn wrong<T>(value: &Py, expected: &str) -> Result<T> {
    Err(format!("expected {expected}, got {}", value.type_name()))
}

fn encode_declared(value: &Py, tag: u8, out: &mut Vec<u8>) -> Result<()> {
    match (tag, value.kind()) {
        (NAT8..=INT64, Kind::Int) => fixed(value, tag, out),
        (NAT8..=INT64, _) => wrong(value, "int"),
        (INT | NAT, kind) if kind != Kind::Int => wrong(value, "int"),
        (NAT, _) if value.is_negative() => Err(String::from("a negative int is out of range for nat")),
        (TEXT, kind) if kind != Kind::Str => wrong(value, "str"),
        (BOOL, kind) if kind != Kind::Bool => wrong(value, "bool"),
        (FLOAT, kind) if kind != Kind::Float => wrong(value, "float"),
        (BLOB, Kind::List) => {
            out.push(BLOB);
            for index in 0..value.sequence_size() {
                let byte = value.sequence_item(index).and_then(|item| item.as_u64());
                match byte.and_then(|byte| u8::try_from(byte).ok()) {
                    Some(byte) => out.push(byte),
                    None => return Err(String::from("expected ints from 0 to 255 in the list for blob")),
                }
            }
            Ok(())
        }
        (BLOB, kind) if !matches!(kind, Kind::Bytes | Kind::ByteArray) => wrong(value, "bytes"),
        (PRINCIPAL, kind) if kind != Kind::Other => wrong(value, "Principal"),
        _ => encode(value, out, 0),
    }
}

/// A number of a declared size.
fn fixed(value: &Py, tag: u8, out: &mut Vec<u8>) -> Result<()> {
    let is_signed = tag >= INT8;
    let size = 1usize << ((tag - NAT8) % 4);
    let bits = 8 * size;
    let number = match is_signed {
        true => value
            .as_i64()
            .filter(|n| size == 8 || (*n >= -(1 << (bits - 1)) && *n < 1 << (bits - 1)))
            .map(|n| n as u64 ^ 1 << (bits - 1)),
        false => value.as_u64().filter(|n| size == 8 || n >> bits == 0),
    };
    let Some(number) = number else {
        let sign = if is_signed { "int" } else { "nat" };
        return Err(format!("an int is out of range for {sign}{bits}"));
    };
    out.push(tag);
    out.extend_from_slice(&number.to_be_bytes()[8 - size..]);
    Ok(())
}

fn encode(value: &Py, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    if depth == MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH}"));
    }
    match value.kind() {
        Kind::None => out.push(NONE),
        Kind::Bool => out.extend_from_slice(&[BOOL, value.is_true() as u8]),
        Kind::Int => encode_int(value, out)?,
        Kind::Float => {
            out.push(FLOAT);
            out.extend_from_slice(&value.as_f64().to_be_bytes());
        }
        Kind::Str => encode_raw(TEXT, value.as_str().map_err(|raised| raised.text())?.as_bytes(), out, depth),
        Kind::Bytes | Kind::ByteArray => encode_raw(BLOB, value.buffer(), out, depth),
        Kind::List => encode_items(LIST, value, out, depth)?,
        Kind::Tuple => encode_items(TUPLE, value, out, depth)?,
        Kind::Dict => {
            let entries = value.dict_entries();
            out.push(DICT);
            out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
            for (key, item) in entries {
                encode(&key, out, depth + 1)?;
                encode(&item, out, depth + 1)?;
            }
        }
        Kind::Other => match crate::runtime::principal_bytes(value) {
            Some(bytes) => encode_raw(PRINCIPAL, bytes.buffer(), out, depth),
            None => return wrong(value, "a value a map can store"),
        },
    }
    Ok(())
}

fn encode_int(value: &Py, out: &mut Vec<u8>) -> Result<()> {
    let mut bytes = value.int_bytes();
    let negative = value.is_negative();
    let sign = if negative { 0xff } else { 0 };
    while bytes.last() == Some(&sign) {
        bytes.pop();
    }
    if bytes.len() > 127 {
        return Err(format!("an int of {} bytes: at most 127 are allowed", bytes.len()));
    }
    out.push(INT);
    out.push(if negative { 128 - bytes.len() as u8 - 1 } else { 128 + bytes.len() as u8 });
    out.extend(bytes.iter().rev());
    Ok(())
}

fn encode_raw(tag: u8, bytes: &[u8], out: &mut Vec<u8>, depth: usize) {
    out.push(tag);
    if depth > 0 {
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    }
    out.extend_from_slice(bytes);
}

fn encode_items(tag: u8, value: &Py, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    let count = value.sequence_size();
    out.push(tag);
    out.extend_from_slice(&(count as u32).to_be_bytes());
    for item in (0..count).filter_map(|index| value.sequence_item(index)) {
        encode(&item, out, depth + 1)?;
    }
    Ok(())
}

/// The stored bytes that say where a value is.
pub fn reference(slot: u32) -> Vec<u8> {
    let [a, b, c, d] = slot.to_be_bytes();
    vec![SLOT, a, b, c, d]
}

/// The slot that stored bytes refer to; none when they are the value itself.
pub fn referred(stored: &[u8]) -> Option<u32> {
    match stored {
        [SLOT, a, b, c, d] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// A key or value of its encoding.
pub fn decode_top(data: &[u8]) -> Result<Py> {
    let mut rest = data;
    decode(&mut rest, true)
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Result<&'a [u8]> {
    if size > rest.len() {
        return Err(String::from("a stored value is cut short"));
    }
    let (taken, left) = rest.split_at(size);
    *rest = left;
    Ok(taken)
}

fn count(rest: &mut &[u8]) -> Result<usize> {
    let bytes = take(rest, 4)?;
    Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
}

fn decode(rest: &mut &[u8], top: bool) -> Result<Py> {
    let tag = take(rest, 1)?[0];
    Ok(match tag {
        NONE => Py::none(),
        BOOL => Py::bool(take(rest, 1)?[0] != 0),
        INT => decode_int(rest)?,
        FLOAT => Py::f64(f64::from_bits(decode_number(take(rest, 8)?))),
        TEXT | BLOB | PRINCIPAL => {
            let size = if top { rest.len() } else { count(rest)? };
            let bytes = take(rest, size)?;
            match tag {
                TEXT => Py::str_from_utf8(bytes).map_err(|raised| raised.text())?,
                BLOB => Py::bytes(bytes),
                _ => crate::runtime::principal(bytes),
            }
        }
        LIST | TUPLE => {
            let mut items = Vec::new();
            for _ in 0..count(rest)? {
                items.push(decode(rest, false)?);
            }
            if tag == LIST {
                Py::list(items)
            } else {
                Py::tuple(items)
            }
        }
        DICT => {
            let dict = Py::dict();
            for _ in 0..count(rest)? {
                let key = decode(rest, false)?;
                let value = decode(rest, false)?;
                dict.dict_set(&key, &value).map_err(|raised| raised.text())?;
            }
            dict
        }
        NAT8..=INT64 => {
            let size = 1usize << ((tag - NAT8) % 4);
            let number = decode_number(take(rest, size)?);
            if tag < INT8 {
                Py::u64(number)
            } else {
                let shift = 64 - 8 * size;
                Py::i64(((number ^ 1 << (8 * size - 1)) << shift) as i64 >> shift)
            }
        }
        _ => return Err(format!("a stored value has the unknown tag {tag}")),
    })
}

fn decode_number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | *byte as u64)
}

fn decode_int(rest: &mut &[u8]) -> Result<Py> {
    let head = take(rest, 1)?[0];
    let negative = head < 128;
    let size = if negative { 127 - head } else { head - 128 };
    let mut bytes: Vec<u8> = take(rest, size as usize)?.iter().rev().copied().collect();
    bytes.push(if negative { 0xff } else { 0 });
    Ok(Py::int_from_bytes(&bytes, true))
}

/// The tag of a Candid type by name, `ANY` when the values say it themselves.
pub fn tag_of(name: &str) -> u8 {
    match name {
        "nat8" => NAT8,
        "nat16" => NAT8 + 1,
        "nat32" => NAT8 + 2,
        "nat64" => NAT8 + 3,
        "int8" => INT8,
        "int16" => INT8 + 1,
        "int32" => INT8 + 2,
        "int64" => INT64,
        "nat" => NAT,
        "int" => INT,
        "text" => TEXT,
        "blob" => BLOB,
        "bool" => BOOL,
        "principal" => PRINCIPAL,
        _ => ANY,
    }
}

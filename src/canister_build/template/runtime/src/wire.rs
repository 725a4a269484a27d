//! Candid as it travels: the reader with its work budget, LEB128 numbers, and the type table of a message.
//! Not for Python values: `decode.rs` makes those.

/// Types a message may declare; no honest one comes near.
const MAX_TABLE: u64 = 10_000;
/// Entries of the type table, values in a row and values that nobody asked for, all together: an honest message has few,
/// and each costs hundreds of instructions for a byte or two.
const MAX_EXTRAS: u64 = 16_384;

pub const NULL: i64 = -1;
pub const BOOL: i64 = -2;
pub const NAT: i64 = -3;
pub const INT: i64 = -4;
pub const NAT8: i64 = -5;
pub const NAT16: i64 = -6;
pub const NAT32: i64 = -7;
pub const NAT64: i64 = -8;
pub const INT8: i64 = -9;
pub const INT16: i64 = -10;
pub const INT32: i64 = -11;
pub const INT64: i64 = -12;
pub const FLOAT32: i64 = -13;
pub const FLOAT64: i64 = -14;
pub const TEXT: i64 = -15;
pub const RESERVED: i64 = -16;
pub const EMPTY: i64 = -17;
pub const OPT: i64 = -18;
pub const VEC: i64 = -19;
pub const RECORD: i64 = -20;
pub const VARIANT: i64 = -21;
pub const FUNC: i64 = -22;
pub const SERVICE: i64 = -23;
pub const PRINCIPAL: i64 = -24;

/// A type of a message: a primitive's (negative) code or an index into the table.
pub type WireRef = i64;

pub enum WireType {
    Opt(WireRef),
    Vec(WireRef),
    Record(Vec<(u32, WireRef)>),
    Variant(Vec<(u32, WireRef)>),
    Func(Vec<u8>),
    Service,
}

/// Reads a message. `budget` falls with every value looked at, so that work is bounded by the message's size even where
/// values take no bytes; `extras` falls with what does not become a value, which the size alone does not justify.
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    budget: u64,
    extras: u64,
}

pub type Result<T> = std::result::Result<T, String>;

impl<'a> Reader<'a> {
    /// A reader that may look at 2 values per byte, and 4096 besides.
    pub fn new(data: &'a [u8]) -> Self {
        Reader { data, at: 0, budget: 4096 + 2 * data.len() as u64, extras: MAX_EXTRAS }
    }

    pub fn charge(&mut self, values: u64) -> Result<()> {
        match self.budget.checked_sub(values) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(format!("decoding quota exceeded: too many values for {} bytes", self.data.len())),
        }
    }

    /// Like `charge`, for types and for values that are passed over.
    pub fn charge_extra(&mut self, count: u64) -> Result<()> {
        match self.extras.checked_sub(count) {
            Some(left) => {
                self.extras = left;
                Ok(())
            }
            None => Err(format!("decoding quota exceeded: more than {MAX_EXTRAS} types and values nobody asked for")),
        }
    }

    pub fn left(&self) -> usize {
        self.data.len() - self.at
    }

    pub fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        if size > self.left() {
            return Err(format!("the message ends {} bytes early", size - self.left()));
        }
        let bytes = &self.data[self.at..self.at + size];
        self.at += size;
        Ok(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned LEB128 number below 2^64.
    pub fn leb(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = (byte & 0x7f) as u64;
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(String::from("a number does not fit 64 bits"))
    }

    /// A signed LEB128 number that fits 32 bits: a type.
    fn type_code(&mut self) -> Result<i64> {
        let mut value = 0i64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= ((byte & 0x7f) as i64) << shift;
            if byte & 0x80 == 0 {
                let used = shift + 7;
                return Ok(value << (64 - used) >> (64 - used));
            }
        }
        Err(String::from("a type number does not fit 32 bits"))
    }

    /// The bytes of a LEB128 number of any size.
    pub fn leb_bytes(&mut self) -> Result<&'a [u8]> {
        match self.data[self.at..].iter().position(|byte| byte & 0x80 == 0) {
            Some(last) => self.take(last + 1),
            None => Err(String::from("the message ends within a number")),
        }
    }

    /// A length, never more than what is left could hold when each item takes a byte or more.
    pub fn length(&mut self) -> Result<usize> {
        let size = self.leb()?;
        if size > self.left() as u64 {
            return Err(format!("a length of {size} with {} bytes left", self.left()));
        }
        Ok(size as usize)
    }

    pub fn principal(&mut self) -> Result<&'a [u8]> {
        if self.byte()? != 1 {
            return Err(String::from("an opaque reference"));
        }
        let size = self.length()?;
        if size > 29 {
            return Err(format!("a principal of {size} bytes: at most 29 are allowed"));
        }
        self.take(size)
    }

    pub fn end(&self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(format!("{left} bytes follow the last value")),
        }
    }
}

/// The head of a message: its type table and the types of its values.
pub struct Header {
    pub table: Vec<WireType>,
    pub values: Vec<WireRef>,
}

impl Header {
    pub fn read(reader: &mut Reader) -> Result<Header> {
        if reader.left() < 4 || reader.take(4)? != b"DIDL" {
            return Err(String::from("not a Candid message: it does not begin with DIDL"));
        }
        let count = reader.leb()?;
        if count > MAX_TABLE {
            return Err(format!("{count} types: at most {MAX_TABLE} are allowed"));
        }
        let mut table = Vec::new();
        for _ in 0..count {
            table.push(read_type(reader, count)?);
        }
        let mut values = Vec::new();
        for _ in 0..reader.length()? {
            values.push(type_ref(reader, count)?);
        }
        Ok(Header { table, values })
    }

    pub fn get(&self, wire: WireRef) -> Option<&WireType> {
        usize::try_from(wire).ok().and_then(|index| self.table.get(index))
    }

    /// A type of the message, as an error names it.
    pub fn name(&self, wire: WireRef) -> &'static str {
        const PRIMITIVES: [&str; 17] = [
            "null", "bool", "nat", "int", "nat8", "nat16", "nat32", "nat64", "int8", "int16", "int32", "int64",
            "float32", "float64", "text", "reserved", "empty",
        ];
        match self.get(wire) {
            Some(WireType::Opt(_)) => "opt",
            Some(WireType::Vec(NAT8)) => "blob",
            Some(WireType::Vec(_)) => "vec",
            Some(WireType::Record(_)) => "record",
            Some(WireType::Variant(_)) => "variant",
            Some(WireType::Func(_)) => "func",
            Some(WireType::Service) => "service",
            None if wire == PRINCIPAL => "principal",
            None => PRIMITIVES[(-wire - 1) as usize],
        }
    }
}

fn type_ref(reader: &mut Reader, count: u64) -> Result<WireRef> {
    reader.charge_extra(1)?;
    let code = reader.type_code()?;
    let known = (code >= 0 && (code as u64) < count) || (EMPTY..=NULL).contains(&code) || code == PRINCIPAL;
    match known {
        true => Ok(code),
        false => Err(format!("unknown type {code}")),
    }
}

fn read_type(reader: &mut Reader, count: u64) -> Result<WireType> {
    reader.charge_extra(1)?;
    match reader.type_code()? {
        OPT => Ok(WireType::Opt(type_ref(reader, count)?)),
        VEC => Ok(WireType::Vec(type_ref(reader, count)?)),
        RECORD => Ok(WireType::Record(read_fields(reader, count)?)),
        VARIANT => Ok(WireType::Variant(read_fields(reader, count)?)),
        FUNC => {
            for _ in 0..2 {
                for _ in 0..reader.length()? {
                    type_ref(reader, count)?;
                }
            }
            let size = reader.length()?;
            Ok(WireType::Func(reader.take(size)?.to_vec()))
        }
        SERVICE => {
            for _ in 0..reader.length()? {
                let size = reader.length()?;
                reader.take(size)?;
                type_ref(reader, count)?;
            }
            Ok(WireType::Service)
        }
        code => Err(format!("unknown type constructor {code}")),
    }
}

fn read_fields(reader: &mut Reader, count: u64) -> Result<Vec<(u32, WireRef)>> {
    let mut fields: Vec<(u32, WireRef)> = Vec::new();
    for _ in 0..reader.length()? {
        let hash = u32::try_from(reader.leb()?).map_err(|_| String::from("a field number above 2^32"))?;
        if fields.last().is_some_and(|(before, _)| *before >= hash) {
            return Err(String::from("fields out of order"));
        }
        fields.push((hash, type_ref(reader, count)?));
    }
    Ok(fields)
}

pub fn write_leb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn write_sleb(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Writes a number of any size given as two's complement; the sign bit is among the bytes.
pub fn write_leb_bytes(out: &mut Vec<u8>, bytes: &[u8], signed: bool) {
    let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let bit_at = |bit: usize| bytes.get(bit / 8).map_or(fill & 1, |byte| (byte >> (bit % 8)) & 1);
    let bits = bytes.len() * 8;
    // The bits that say something: up to the last one that differs from the sign, and a sign bit where there is one.
    let used = (0..bits).rev().find(|bit| bit_at(*bit) != fill & 1).map_or(0, |bit| bit + 1) + signed as usize;
    let groups = used.div_ceil(7).max(1);
    for group in 0..groups {
        let byte = (0..7).fold(0u8, |byte, bit| byte | bit_at(group * 7 + bit) << bit);
        out.push(if group + 1 < groups { byte | 0x80 } else { byte });
    }
}

/// The two's complement bytes of a LEB128 number, and whether it is small enough for `i64` (then as a value).
pub fn leb_value(bytes: &[u8], signed: bool) -> LebValue {
    if bytes.len() <= 9 {
        let value = bytes.iter().rev().fold(0i64, |value, byte| value << 7 | (byte & 0x7f) as i64);
        let used = 7 * bytes.len();
        return LebValue::Small(if signed { value << (64 - used) >> (64 - used) } else { value });
    }
    let negative = signed && bytes[bytes.len() - 1] & 0x40 != 0;
    let mut out = Vec::with_capacity(bytes.len());
    let (mut buffer, mut filled) = (0u32, 0);
    for byte in bytes {
        buffer |= ((byte & 0x7f) as u32) << filled;
        filled += 7;
        if filled >= 8 {
            out.push(buffer as u8);
            buffer >>= 8;
            filled -= 8;
        }
    }
    let fill = if negative { u32::MAX << filled } else { 0 };
    out.push((buffer | fill) as u8);
    if negative {
        out.push(0xff);
    } else {
        out.push(0);
    }
    LebValue::Big(out)
}

pub enum LebValue {
    Small(i64),
    Big(Vec<u8>),
}

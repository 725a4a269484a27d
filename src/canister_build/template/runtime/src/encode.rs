//! Python to Candid, by declared types: a value that does not fit is an error that names the place and both types.
//! The type table of a signature is written once and copied before the values of every message.

use crate::py::{Kind, Py};
use crate::types::{Field, Shape, Signature, TypeRef};
use crate::wire;

/// How deep values may nest; the stack is finite.
const MAX_DEPTH: usize = 128;

type Result<T> = std::result::Result<T, String>;

/// Types with the head of the messages that carry their values.
pub struct Codec {
    pub types: Vec<TypeRef>,
    head: Vec<u8>,
}

impl Codec {
    pub fn new(types: Vec<TypeRef>) -> Self {
        let head = Table::default().head(&types);
        Codec { types, head }
    }

    /// A message with these values, one for each type.
    pub fn encode(&self, values: &[Py]) -> Result<Vec<u8>> {
        if values.len() != self.types.len() {
            return Err(format!("expected {} values, got {}", self.types.len(), values.len()));
        }
        let mut out = Vec::with_capacity(self.head.len() + 64);
        out.extend_from_slice(&self.head);
        for (value, declared) in values.iter().zip(&self.types) {
            encode(value, declared, &mut out, 0)?;
        }
        Ok(out)
    }

    pub fn decode(&self, data: &[u8]) -> Result<Vec<Py>> {
        crate::decode::decode(data, &self.types)
    }
}

/// The type table of messages, while it is being written.
#[derive(Default)]
struct Table {
    known: Vec<usize>,
    entries: Vec<Vec<u8>>,
}

impl Table {
    fn head(mut self, types: &[TypeRef]) -> Vec<u8> {
        let codes: Vec<i64> = types.iter().map(|declared| self.code(declared)).collect();
        let mut out = b"DIDL".to_vec();
        wire::write_leb(&mut out, self.entries.len() as u64);
        self.entries.iter().for_each(|entry| out.extend_from_slice(entry));
        write_codes(&mut out, &codes);
        out
    }

    fn code(&mut self, declared: TypeRef) -> i64 {
        match declared.shape() {
            Shape::Null => wire::NULL,
            Shape::Bool => wire::BOOL,
            Shape::Nat => wire::NAT,
            Shape::Int => wire::INT,
            Shape::Nat8 => wire::NAT8,
            Shape::Nat16 => wire::NAT16,
            Shape::Nat32 => wire::NAT32,
            Shape::Nat64 => wire::NAT64,
            Shape::Int8 => wire::INT8,
            Shape::Int16 => wire::INT16,
            Shape::Int32 => wire::INT32,
            Shape::Int64 => wire::INT64,
            Shape::Float32 => wire::FLOAT32,
            Shape::Float64 => wire::FLOAT64,
            Shape::Text => wire::TEXT,
            Shape::Reserved => wire::RESERVED,
            Shape::Empty => wire::EMPTY,
            Shape::Principal => wire::PRINCIPAL,
            _ => self.entry(declared),
        }
    }

    fn entry(&mut self, declared: TypeRef) -> i64 {
        if let Some(index) = self.known.iter().position(|known| *known == declared.id()) {
            return index as i64;
        }
        let index = self.known.len();
        self.known.push(declared.id());
        self.entries.push(Vec::new());
        let mut entry = Vec::new();
        match declared.shape() {
            Shape::Opt(inner) => self.wrapper(&mut entry, wire::OPT, inner),
            Shape::Vec(item) => self.wrapper(&mut entry, wire::VEC, item),
            Shape::Record(fields) => self.fields(&mut entry, wire::RECORD, fields),
            Shape::Variant(fields) => self.fields(&mut entry, wire::VARIANT, fields),
            Shape::Tuple(items) => {
                wire::write_sleb(&mut entry, wire::RECORD);
                wire::write_leb(&mut entry, items.len() as u64);
                for (number, item) in items.iter().enumerate() {
                    wire::write_leb(&mut entry, number as u64);
                    let code = self.code(item);
                    wire::write_sleb(&mut entry, code);
                }
            }
            Shape::Func(signature) => self.func(&mut entry, signature),
            Shape::Service => {
                wire::write_sleb(&mut entry, wire::SERVICE);
                wire::write_leb(&mut entry, 0);
            }
            _ => {
                wire::write_sleb(&mut entry, wire::VEC);
                wire::write_sleb(&mut entry, wire::NAT8);
            }
        }
        self.entries[index] = entry;
        index as i64
    }

    fn wrapper(&mut self, entry: &mut Vec<u8>, constructor: i64, inner: TypeRef) {
        let code = self.code(inner);
        wire::write_sleb(entry, constructor);
        wire::write_sleb(entry, code);
    }

    fn fields(&mut self, entry: &mut Vec<u8>, constructor: i64, fields: &[Field]) {
        wire::write_sleb(entry, constructor);
        wire::write_leb(entry, fields.len() as u64);
        for field in fields {
            wire::write_leb(entry, field.hash as u64);
            let code = self.code(field.shape);
            wire::write_sleb(entry, code);
        }
    }

    fn func(&mut self, entry: &mut Vec<u8>, signature: &Signature) {
        let arguments: Vec<i64> = signature.arguments.iter().map(|declared| self.code(declared)).collect();
        let results: Vec<i64> = signature.results.iter().map(|declared| self.code(declared)).collect();
        wire::write_sleb(entry, wire::FUNC);
        write_codes(entry, &arguments);
        write_codes(entry, &results);
        wire::write_leb(entry, signature.annotations.len() as u64);
        entry.extend_from_slice(&signature.annotations);
    }
}

fn write_codes(out: &mut Vec<u8>, codes: &[i64]) {
    wire::write_leb(out, codes.len() as u64);
    codes.iter().for_each(|code| wire::write_sleb(out, *code));
}

fn wrong<T>(value: &Py, declared: TypeRef) -> Result<T> {
    Err(format!("expected {}, got {}", expected(declared), value.type_name()))
}

/// What Python value a type takes.
fn expected(declared: TypeRef) -> String {
    let python = match declared.shape() {
        Shape::Null => "None",
        Shape::Bool => "bool",
        Shape::Float32 | Shape::Float64 => "float",
        Shape::Text => "str",
        Shape::Principal => "Principal",
        Shape::Blob => "bytes, bytearray or list of int",
        Shape::Vec(_) => "list",
        Shape::Record(_) | Shape::Variant(_) => "dict",
        Shape::Tuple(_) => "tuple",
        Shape::Func(_) => "tuple of Principal and str",
        Shape::Service => "Service",
        Shape::Empty => "no value",
        Shape::Opt(_) | Shape::Reserved => "any value",
        _ => "int",
    };
    format!("{python} for {}", declared.name())
}

fn encode(value: &Py, declared: TypeRef, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    let kind = value.kind();
    match (declared.shape(), kind) {
        (Shape::Reserved, _) => Ok(()),
        (Shape::Null, Kind::None) => Ok(()),
        (Shape::Bool, Kind::Bool) => {
            out.push(value.is_true() as u8);
            Ok(())
        }
        (Shape::Nat8, Kind::Int) => unsigned(value, declared, out, 1),
        (Shape::Nat16, Kind::Int) => unsigned(value, declared, out, 2),
        (Shape::Nat32, Kind::Int) => unsigned(value, declared, out, 4),
        (Shape::Nat64, Kind::Int) => unsigned(value, declared, out, 8),
        (Shape::Int8, Kind::Int) => signed(value, declared, out, 1),
        (Shape::Int16, Kind::Int) => signed(value, declared, out, 2),
        (Shape::Int32, Kind::Int) => signed(value, declared, out, 4),
        (Shape::Int64, Kind::Int) => signed(value, declared, out, 8),
        (Shape::Nat, Kind::Int) => {
            match value.as_u64() {
                Some(small) => wire::write_leb(out, small),
                None if value.is_negative() => return out_of_range(value, declared),
                None => wire::write_leb_bytes(out, &value.int_bytes(), false),
            }
            Ok(())
        }
        (Shape::Int, Kind::Int) => {
            match value.as_i64() {
                Some(small) => wire::write_sleb(out, small),
                None => wire::write_leb_bytes(out, &value.int_bytes(), true),
            }
            Ok(())
        }
        (Shape::Float32, Kind::Float) => {
            out.extend_from_slice(&(value.as_f64() as f32).to_le_bytes());
            Ok(())
        }
        (Shape::Float64, Kind::Float) => {
            out.extend_from_slice(&value.as_f64().to_le_bytes());
            Ok(())
        }
        (Shape::Text, Kind::Str) => text(value, out),
        (Shape::Blob, Kind::Bytes | Kind::ByteArray) => {
            let bytes = value.buffer();
            wire::write_leb(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
            Ok(())
        }
        (Shape::Blob, Kind::List) => {
            wire::write_leb(out, value.sequence_size() as u64);
            for item in items(value) {
                match item.as_u64().and_then(|byte| u8::try_from(byte).ok()) {
                    Some(byte) => out.push(byte),
                    None => return Err(String::from("blob: expected ints from 0 to 255 in the list")),
                }
            }
            Ok(())
        }
        (Shape::Principal, Kind::Other) => principal(value, declared, out),
        (Shape::Service, Kind::Other) => match crate::runtime::service_principal(value) {
            Some(inner) => principal(&inner, declared, out),
            None => wrong(value, declared),
        },
        _ if depth == MAX_DEPTH => Err(format!("nested deeper than {MAX_DEPTH}")),
        (Shape::Opt(_), Kind::None) => {
            out.push(0);
            Ok(())
        }
        (Shape::Opt(inner), _) => {
            out.push(1);
            encode(value, inner, out, depth + 1)
        }
        (Shape::Vec(inner), Kind::List) => {
            wire::write_leb(out, value.sequence_size() as u64);
            for (index, item) in items(value).enumerate() {
                encode(&item, inner, out, depth + 1).map_err(|error| format!("[{index}]: {error}"))?;
            }
            Ok(())
        }
        (Shape::Record(fields), Kind::Dict) => {
            for field in fields {
                let Some(item) = value.dict_get(&field.key) else {
                    return Err(format!("the dict for record lacks {:?}", field.key.str_lossy()));
                };
                encode(&item, field.shape, out, depth + 1).map_err(|error| format!("{}: {error}", field.name))?;
            }
            Ok(())
        }
        (Shape::Tuple(shapes), Kind::Tuple) => {
            if value.sequence_size() != shapes.len() {
                return Err(format!("expected a tuple of {}, got one of {}", shapes.len(), value.sequence_size()));
            }
            for (index, (item, shape)) in items(value).zip(shapes).enumerate() {
                encode(&item, shape, out, depth + 1).map_err(|error| format!("[{index}]: {error}"))?;
            }
            Ok(())
        }
        (Shape::Variant(fields), Kind::Dict) => variant(value, fields, out, depth),
        (Shape::Func(_), Kind::Tuple) => {
            let (first, second) = (value.sequence_item(0), value.sequence_item(1));
            match (first, second) {
                (Some(canister), Some(method)) if value.sequence_size() == 2 && method.kind() == Kind::Str => {
                    out.push(1);
                    principal(&canister, declared, out)?;
                    text(&method, out)
                }
                _ => wrong(value, declared),
            }
        }
        _ => wrong(value, declared),
    }
}

fn items(sequence: &Py) -> impl Iterator<Item = Py> + '_ {
    (0..sequence.sequence_size()).map_while(|index| sequence.sequence_item(index))
}

fn out_of_range<T>(value: &Py, declared: TypeRef) -> Result<T> {
    let shown = match value.as_i64() {
        Some(small) => small.to_string(),
        None => format!("an int of {} bytes", value.int_bytes().len()),
    };
    Err(format!("{shown} is out of range for {}", declared.name()))
}

fn unsigned(value: &Py, declared: TypeRef, out: &mut Vec<u8>, size: usize) -> Result<()> {
    match value.as_u64() {
        Some(number) if size == 8 || number >> (8 * size) == 0 => {
            out.extend_from_slice(&number.to_le_bytes()[..size]);
            Ok(())
        }
        _ => out_of_range(value, declared),
    }
}

fn signed(value: &Py, declared: TypeRef, out: &mut Vec<u8>, size: usize) -> Result<()> {
    match value.as_i64() {
        Some(number) if size == 8 || (number >> (8 * size - 1) == 0 || number >> (8 * size - 1) == -1) => {
            out.extend_from_slice(&number.to_le_bytes()[..size]);
            Ok(())
        }
        _ => out_of_range(value, declared),
    }
}

fn text(value: &Py, out: &mut Vec<u8>) -> Result<()> {
    let content = value.as_str().map_err(|raised| raised.text())?;
    wire::write_leb(out, content.len() as u64);
    out.extend_from_slice(content.as_bytes());
    Ok(())
}

fn principal(value: &Py, declared: TypeRef, out: &mut Vec<u8>) -> Result<()> {
    let Some(bytes) = crate::runtime::principal_bytes(value) else {
        return wrong(value, declared);
    };
    out.push(1);
    wire::write_leb(out, bytes.buffer().len() as u64);
    out.extend_from_slice(bytes.buffer());
    Ok(())
}

fn variant(value: &Py, fields: &[Field], out: &mut Vec<u8>, depth: usize) -> Result<()> {
    let entries = value.dict_entries();
    let [(key, item)] = entries.as_slice() else {
        return Err(format!("expected a dict with one key for variant, got {}", entries.len()));
    };
    if key.kind() != Kind::Str {
        return Err(format!("expected a str as the key of a variant, got {}", key.type_name()));
    }
    let name = key.str_lossy();
    let Some(index) = fields.iter().position(|field| field.key.str_lossy() == name) else {
        let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        return Err(format!("unknown variant case {name:?}: known are {}", known.join(", ")));
    };
    wire::write_leb(out, index as u64);
    encode(item, fields[index].shape, out, depth + 1).map_err(|error| format!("{name}: {error}"))
}

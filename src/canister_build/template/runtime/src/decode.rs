//! Candid to Python, by declared types: what does not fit is refused, what is not declared is skipped.
//! The rules are those of Candid's subtyping; work is bounded by the reader's budget.

use crate::py::Py;
use crate::types::{Field, Shape, TypeRef};
use crate::wire::{self, Header, LebValue, Reader, Result, WireRef, WireType};

/// How deep values and types may nest; the stack is finite.
const MAX_DEPTH: usize = 128;

/// Decodes a message's values as these types. Missing ones are None where the type allows it; more are ignored.
pub fn decode(data: &[u8], types: &[TypeRef]) -> Result<Vec<Py>> {
    let mut reader = Reader::new(data);
    let header = Header::read(&mut reader)?;
    let mut decoder = Decoder { reader, header: &header, proven: Vec::new(), depth: 0 };
    let mut values = Vec::with_capacity(types.len());
    for (index, declared) in types.iter().enumerate() {
        let decoded = match header.values.get(index) {
            Some(wire) => decoder.checked(*wire, declared),
            None => decoder.missing(declared),
        };
        values.push(decoded.map_err(|error| format!("value {} ({}): {error}", index + 1, declared.name()))?);
    }
    for wire in header.values.iter().skip(types.len()) {
        decoder.skip(*wire)?;
    }
    decoder.reader.end()?;
    Ok(values)
}

pub(crate) struct Decoder<'a, 'h> {
    pub(crate) reader: Reader<'a>,
    pub(crate) header: &'h Header,
    /// Pairs found (or being taken) to be subtypes.
    proven: Vec<(WireRef, usize)>,
    depth: usize,
}

impl<'a, 'h> Decoder<'a, 'h> {
    fn checked(&mut self, wire: WireRef, declared: TypeRef) -> Result<Py> {
        if !self.subtype(wire, declared)? {
            return Err(format!("a {} does not fit the declared {}", self.header.name(wire), declared.name()));
        }
        self.value(wire, declared)
    }

    fn missing(&mut self, declared: TypeRef) -> Result<Py> {
        self.reader.charge(1)?;
        match declared.shape() {
            Shape::Opt(_) | Shape::Null | Shape::Reserved => Ok(Py::none()),
            _ => Err(String::from("it is missing")),
        }
    }

    /// Runs a step one level deeper, within the limit.
    pub(crate) fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// Whether values of the message's type fit the declared one. Options fit always: as None in the worst case.
    fn subtype(&mut self, wire: WireRef, declared: TypeRef) -> Result<bool> {
        self.reader.charge(1)?;
        let expected = match declared.shape() {
            Shape::Reserved | Shape::Opt(_) => return Ok(true),
            Shape::Null => wire::NULL,
            Shape::Bool => wire::BOOL,
            Shape::Nat => wire::NAT,
            Shape::Int => return Ok(wire == wire::INT || wire == wire::NAT || wire == wire::EMPTY),
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
            Shape::Empty => wire::EMPTY,
            Shape::Principal => wire::PRINCIPAL,
            _ => return self.subtype_composite(wire, declared),
        };
        Ok(wire == expected || wire == wire::EMPTY)
    }

    fn subtype_composite(&mut self, wire: WireRef, declared: TypeRef) -> Result<bool> {
        if wire == wire::EMPTY {
            return Ok(true);
        }
        let pair = (wire, declared.id());
        if self.proven.contains(&pair) {
            return Ok(true);
        }
        let before = self.proven.len();
        self.proven.push(pair);
        let fits = self.deeper(|decoder| decoder.subtype_table(wire, declared))?;
        if !fits {
            // What was found on the way may rest on this pair.
            self.proven.truncate(before);
        }
        Ok(fits)
    }

    fn subtype_table(&mut self, wire: WireRef, declared: TypeRef) -> Result<bool> {
        let header = self.header;
        match (header.get(wire), declared.shape()) {
            (Some(WireType::Vec(item)), Shape::Blob) => Ok(*item == wire::NAT8 || *item == wire::EMPTY),
            (Some(WireType::Vec(item)), Shape::Vec(expected)) => self.subtype(*item, expected),
            (Some(WireType::Record(fields)), Shape::Record(expected)) => {
                for field in expected {
                    if !self.subtype_field(fields, field.hash, field.shape)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Some(WireType::Record(fields)), Shape::Tuple(expected)) => {
                for (index, shape) in expected.iter().enumerate() {
                    if !self.subtype_field(fields, index as u32, shape)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Some(WireType::Variant(fields)), Shape::Variant(expected)) => {
                for (hash, wire) in fields {
                    match find(expected, *hash) {
                        Some(field) if self.subtype(*wire, field.shape)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            // The signatures are not compared: a func is called by name, and its arguments are checked there.
            (Some(WireType::Func(annotations)), Shape::Func(signature)) => Ok(*annotations == signature.annotations),
            (Some(WireType::Service), Shape::Service) => Ok(true),
            _ => Ok(false),
        }
    }

    fn subtype_field(&mut self, fields: &[(u32, WireRef)], hash: u32, declared: TypeRef) -> Result<bool> {
        match fields.binary_search_by_key(&hash, |field| field.0) {
            Ok(index) => self.subtype(fields[index].1, declared),
            Err(_) => {
                self.reader.charge(1)?;
                Ok(matches!(declared.shape(), Shape::Opt(_) | Shape::Null | Shape::Reserved))
            }
        }
    }

    /// A value whose type is known to fit.
    fn value(&mut self, wire: WireRef, declared: TypeRef) -> Result<Py> {
        self.reader.charge(1)?;
        if wire == wire::EMPTY {
            return Err(String::from("a value of type empty"));
        }
        Ok(match declared.shape() {
            Shape::Null => Py::none(),
            Shape::Bool => Py::bool(self.bool()?),
            Shape::Nat => self.number(false)?,
            Shape::Int => self.number(wire == wire::INT)?,
            Shape::Nat8 => Py::u64(self.reader.byte()? as u64),
            Shape::Nat16 => Py::u64(u16::from_le_bytes(self.reader.array()?) as u64),
            Shape::Nat32 => Py::u64(u32::from_le_bytes(self.reader.array()?) as u64),
            Shape::Nat64 => Py::u64(u64::from_le_bytes(self.reader.array()?)),
            Shape::Int8 => Py::i64(i8::from_le_bytes(self.reader.array()?) as i64),
            Shape::Int16 => Py::i64(i16::from_le_bytes(self.reader.array()?) as i64),
            Shape::Int32 => Py::i64(i32::from_le_bytes(self.reader.array()?) as i64),
            Shape::Int64 => Py::i64(i64::from_le_bytes(self.reader.array()?)),
            Shape::Float32 => Py::f64(f32::from_le_bytes(self.reader.array()?) as f64),
            Shape::Float64 => Py::f64(f64::from_le_bytes(self.reader.array()?)),
            Shape::Text => self.text()?,
            Shape::Reserved => {
                self.skip(wire)?;
                Py::none()
            }
            Shape::Empty => return Err(String::from("a value of type empty")),
            Shape::Principal => crate::runtime::principal(self.reader.principal()?),
            Shape::Blob => {
                let size = self.reader.length()?;
                Py::bytes(self.reader.take(size)?)
            }
            _ => self.deeper(|decoder| decoder.composite(wire, declared))?,
        })
    }

    fn composite(&mut self, wire: WireRef, declared: TypeRef) -> Result<Py> {
        let header = self.header;
        match (header.get(wire), declared.shape()) {
            (_, Shape::Opt(inner)) => self.option(wire, inner),
            (Some(WireType::Vec(item)), Shape::Vec(expected)) => {
                let count = self.reader.leb()?;
                // Elements that take no bytes cost as much as those that do.
                self.reader.charge(count)?;
                let mut items = Vec::with_capacity((count as usize).min(self.reader.left() + 1));
                for index in 0..count {
                    items.push(self.value(*item, expected).map_err(|error| format!("[{index}]: {error}"))?);
                }
                Ok(Py::list(items))
            }
            (Some(WireType::Record(fields)), Shape::Record(expected)) => self.record(fields, expected),
            (Some(WireType::Record(fields)), Shape::Tuple(expected)) => {
                let mut items = Vec::with_capacity(expected.len());
                for (hash, wire) in fields {
                    match expected.get(*hash as usize) {
                        Some(shape) => {
                            while items.len() < *hash as usize {
                                items.push(self.missing(expected[items.len()])?);
                            }
                            items.push(self.value(*wire, shape).map_err(|error| format!("[{hash}]: {error}"))?);
                        }
                        None => self.skip(*wire)?,
                    }
                }
                while items.len() < expected.len() {
                    items.push(self.missing(expected[items.len()])?);
                }
                Ok(Py::tuple(items))
            }
            (Some(WireType::Variant(fields)), Shape::Variant(expected)) => {
                let index = self.reader.leb()? as usize;
                let Some((hash, wire)) = fields.get(index) else {
                    return Err(format!("variant case {index} of {}", fields.len()));
                };
                let Some(field) = find(expected, *hash) else {
                    return Err(format!("unknown variant case {hash}"));
                };
                let value = self.value(*wire, field.shape).map_err(|error| format!("{}: {error}", field.name))?;
                one_entry(&field.key, &value)
            }
            (Some(WireType::Func(_)), Shape::Func(_)) => {
                if self.reader.byte()? != 1 {
                    return Err(String::from("an opaque reference"));
                }
                let principal = crate::runtime::principal(self.reader.principal()?);
                Ok(Py::tuple(vec![principal, self.text()?]))
            }
            (Some(WireType::Service), Shape::Service) => {
                Ok(crate::runtime::service(crate::runtime::principal(self.reader.principal()?)))
            }
            _ => Err(format!("a {} does not fit the declared {}", header.name(wire), declared.name())),
        }
    }

    fn option(&mut self, wire: WireRef, inner: TypeRef) -> Result<Py> {
        let header = self.header;
        if wire == wire::NULL || wire == wire::RESERVED {
            return Ok(Py::none());
        }
        if let Some(WireType::Opt(value)) = header.get(wire) {
            if !self.bool()? {
                return Ok(Py::none());
            }
            return self.value_or_none(*value, inner);
        }
        if matches!(inner.shape(), Shape::Opt(_) | Shape::Null | Shape::Reserved) {
            self.skip(wire)?;
            return Ok(Py::none());
        }
        self.value_or_none(wire, inner)
    }

    fn value_or_none(&mut self, wire: WireRef, inner: TypeRef) -> Result<Py> {
        if self.subtype(wire, inner)? {
            return self.value(wire, inner);
        }
        self.skip(wire)?;
        Ok(Py::none())
    }

    fn record(&mut self, fields: &[(u32, WireRef)], expected: &[Field]) -> Result<Py> {
        let dict = Py::dict();
        let mut wanted = expected.iter().peekable();
        for (hash, wire) in fields {
            while let Some(field) = wanted.next_if(|field| field.hash < *hash) {
                self.missing_field(&dict, field)?;
            }
            match wanted.next_if(|field| field.hash == *hash) {
                Some(field) => {
                    let value = self.value(*wire, field.shape).map_err(|error| format!("{}: {error}", field.name))?;
                    set(&dict, &field.key, &value)?;
                }
                None => self.skip(*wire)?,
            }
        }
        for field in wanted {
            self.missing_field(&dict, field)?;
        }
        Ok(dict)
    }

    fn missing_field(&mut self, dict: &Py, field: &Field) -> Result<()> {
        let value = self.missing(field.shape).map_err(|error| format!("{}: {error}", field.name))?;
        set(dict, &field.key, &value)
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        match self.reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{other} where 0 or 1 is allowed")),
        }
    }

    pub(crate) fn number(&mut self, signed: bool) -> Result<Py> {
        let bytes = self.reader.leb_bytes()?;
        Ok(match wire::leb_value(bytes, signed) {
            LebValue::Small(value) => Py::i64(value),
            LebValue::Big(bytes) => Py::int_from_bytes(&bytes, signed),
        })
    }

    pub(crate) fn text(&mut self) -> Result<Py> {
        let size = self.reader.length()?;
        Py::str_from_utf8(self.reader.take(size)?).map_err(|raised| raised.text())
    }

    /// Passes over a value that nobody asked for.
    pub(crate) fn skip(&mut self, wire: WireRef) -> Result<()> {
        self.reader.charge_extra(1)?;
        if let Some(size) = fixed_size(wire) {
            return self.reader.take(size).map(|_| ());
        }
        match wire {
            wire::NAT | wire::INT => self.reader.leb_bytes().map(|_| ()),
            wire::TEXT => {
                let size = self.reader.length()?;
                self.reader.take(size).map(|_| ())
            }
            wire::PRINCIPAL => self.reader.principal().map(|_| ()),
            wire::EMPTY => Err(String::from("a value of type empty")),
            _ => self.deeper(|decoder| decoder.skip_composite(wire)),
        }
    }

    fn skip_composite(&mut self, wire: WireRef) -> Result<()> {
        let header = self.header;
        match header.get(wire) {
            Some(WireType::Opt(inner)) => match self.bool()? {
                true => self.skip(*inner),
                false => Ok(()),
            },
            Some(WireType::Vec(item)) => {
                let count = self.reader.leb()?;
                if let Some(size) = fixed_size(*item).filter(|size| *size > 0) {
                    let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(size));
                    return self.reader.take(bytes.unwrap_or(usize::MAX)).map(|_| ());
                }
                self.reader.charge_extra(count)?;
                for _ in 0..count {
                    self.skip(*item)?;
                }
                Ok(())
            }
            Some(WireType::Record(fields)) => {
                for (_, wire) in fields {
                    self.skip(*wire)?;
                }
                Ok(())
            }
            Some(WireType::Variant(fields)) => {
                let index = self.reader.leb()? as usize;
                match fields.get(index) {
                    Some((_, wire)) => self.skip(*wire),
                    None => Err(format!("variant case {index} of {}", fields.len())),
                }
            }
            Some(WireType::Func(_)) => {
                if self.reader.byte()? != 1 {
                    return Err(String::from("an opaque reference"));
                }
                self.reader.principal()?;
                let size = self.reader.length()?;
                self.reader.take(size).map(|_| ())
            }
            Some(WireType::Service) => self.reader.principal().map(|_| ()),
            None => Err(format!("unknown type {wire}")),
        }
    }
}

/// Bytes of each value of a type that always takes the same.
fn fixed_size(wire: WireRef) -> Option<usize> {
    match wire {
        wire::NULL | wire::RESERVED => Some(0),
        wire::BOOL | wire::NAT8 | wire::INT8 => Some(1),
        wire::NAT16 | wire::INT16 => Some(2),
        wire::NAT32 | wire::INT32 | wire::FLOAT32 => Some(4),
        wire::NAT64 | wire::INT64 | wire::FLOAT64 => Some(8),
        _ => None,
    }
}

fn find(fields: &[Field], hash: u32) -> Option<&Field> {
    fields.binary_search_by_key(&hash, |field| field.hash).ok().map(|index| &fields[index])
}

fn set(dict: &Py, key: &Py, value: &Py) -> Result<()> {
    dict.dict_set(key, value).map_err(|raised| raised.text())
}

fn one_entry(key: &Py, value: &Py) -> Result<Py> {
    let dict = Py::dict();
    set(&dict, key, value)?;
    Ok(dict)
}

impl<'a, 'h> Decoder<'a, 'h> {
    /// A decoder for other uses of a message than declared types, such as its text form.
    pub(crate) fn untyped(reader: Reader<'a>, header: &'h Header) -> Self {
        Decoder { reader, header, proven: Vec::new(), depth: 0 }
    }
}

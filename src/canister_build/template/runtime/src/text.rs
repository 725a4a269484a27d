//! Candid's text form: `ic.candid_encode` and `ic.candid_decode`.
//! Not for methods and calls, which have declared types; here a value's type is what its text says.

use crate::decode::Decoder;
use crate::encode::Codec;
use crate::py::Py;
use crate::types::{field_hash, TYPES};
use crate::wire::{self, Header, LebValue, Reader, WireRef, WireType};

type Result<T> = std::result::Result<T, String>;

/// A message from `(value, value : type, ...)`. Numbers without a type are `int`, with a point `float64`.
pub fn encode(text: &str) -> Result<Vec<u8>> {
    let mut parser = Parser { text, rest: text };
    let mut typed = Vec::new();
    parser.expect("(")?;
    while !parser.symbol(")") {
        typed.push(parser.annotated()?);
        if !parser.symbol(",") {
            parser.expect(")")?;
            break;
        }
    }
    if !parser.rest.trim().is_empty() {
        return parser.fail("the end");
    }
    let types = typed.iter().map(|value| TYPES.get().parse(&value.kind)).collect::<Result<Vec<_>>>()?;
    let values: Vec<Py> = typed.into_iter().map(|value| value.value).collect();
    Codec::new(types).encode(&values)
}

/// A value and the Candid type its text stands for.
struct Typed {
    kind: String,
    value: Py,
}

fn typed(kind: impl Into<String>, value: Py) -> Result<Typed> {
    Ok(Typed { kind: kind.into(), value })
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, expected: &str) -> Result<T> {
        Err(format!("Candid text: expected {expected} at offset {}", self.text.len() - self.rest.len()))
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let trimmed = self.rest.trim_start();
        match trimmed.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        match self.symbol(symbol) {
            true => Ok(()),
            false => self.fail(symbol),
        }
    }

    fn word(&mut self) -> &'a str {
        let trimmed = self.rest.trim_start();
        let end = trimmed.find(|c: char| !(c.is_alphanumeric() || "_+-.".contains(c))).unwrap_or(trimmed.len());
        self.rest = &trimmed[end..];
        &trimmed[..end]
    }

    /// A value, with its type where the text gives one.
    fn annotated(&mut self) -> Result<Typed> {
        let mut value = self.value()?;
        if self.symbol(":") {
            value.kind = self.annotation().to_owned();
            if value.kind.starts_with("float") {
                if let Some(number) = value.value.as_i64() {
                    value.value = Py::f64(number as f64);
                }
            }
        }
        Ok(value)
    }

    /// The text of a type: up to what can only follow one.
    fn annotation(&mut self) -> &'a str {
        let mut depth = 0;
        let end = self.rest.char_indices().find(|(_, c)| {
            match c {
                '{' | '(' => depth += 1,
                '}' | ')' if depth == 0 => return true,
                '}' | ')' => depth -= 1,
                ',' | ';' => return depth == 0,
                _ => {}
            }
            false
        });
        let end = end.map_or(self.rest.len(), |(index, _)| index);
        let (kind, rest) = self.rest.split_at(end);
        self.rest = rest;
        kind.trim()
    }

    fn value(&mut self) -> Result<Typed> {
        if self.symbol("(") {
            let inner = self.annotated()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.rest.trim_start().starts_with('"') {
            let bytes = self.quoted()?;
            return typed("text", Py::str_from_utf8(&bytes).map_err(|raised| raised.text())?);
        }
        match self.word() {
            "" => self.fail("a value"),
            "null" => typed("null", Py::none()),
            "true" => typed("bool", Py::bool(true)),
            "false" => typed("bool", Py::bool(false)),
            "opt" => {
                let inner = self.value()?;
                typed(format!("opt {}", inner.kind), inner.value)
            }
            "blob" => typed("blob", Py::bytes(&self.quoted()?)),
            "principal" => typed("principal", self.principal()?),
            "service" => typed("service {}", crate::runtime::service(self.principal()?)),
            "func" => {
                let canister = self.principal()?;
                self.expect(".")?;
                let method = self.label()?.0;
                typed("func () -> ()", Py::tuple(vec![canister, Py::str(&method)]))
            }
            "vec" => self.vec(),
            "record" => self.record(),
            "variant" => self.variant(),
            number => self.number(number),
        }
    }

    fn number(&self, word: &str) -> Result<Typed> {
        let digits = word.replace('_', "");
        if digits.contains('.') || digits.contains(['e', 'E']) && !digits.starts_with("0x") {
            return match digits.parse::<f64>() {
                Ok(value) => typed("float64", Py::f64(value)),
                Err(_) => self.fail("a number"),
            };
        }
        let (negative, magnitude) = match digits.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
        };
        let (radix, magnitude) = match magnitude.strip_prefix("0x") {
            Some(hex) => (16, hex),
            None => (10, magnitude),
        };
        let mut bytes = vec![0u8];
        for character in magnitude.chars() {
            let Some(digit) = character.to_digit(radix) else {
                return self.fail("a number");
            };
            let mut carry = digit;
            for byte in bytes.iter_mut() {
                carry += *byte as u32 * radix;
                *byte = carry as u8;
                carry >>= 8;
            }
            if carry > 0 {
                bytes.push(carry as u8);
            }
        }
        if magnitude.is_empty() {
            return self.fail("a number");
        }
        bytes.push(0);
        if negative {
            let mut carry = true;
            for byte in bytes.iter_mut() {
                let (inverted, overflow) = (!*byte).overflowing_add(carry as u8);
                (*byte, carry) = (inverted, overflow);
            }
        }
        typed("int", Py::int_from_bytes(&bytes, true))
    }

    fn principal(&mut self) -> Result<Py> {
        let text = String::from_utf8(self.quoted()?).map_err(|_| "a principal is no UTF-8")?;
        Ok(crate::runtime::principal(&crate::principal::from_text(&text)?))
    }

    fn vec(&mut self) -> Result<Typed> {
        self.expect("{")?;
        let mut items = Vec::new();
        let mut kind = None;
        while !self.symbol("}") {
            let item = self.annotated()?;
            kind.get_or_insert(item.kind);
            items.push(item.value);
            if !self.symbol(";") {
                self.expect("}")?;
                break;
            }
        }
        typed(format!("vec {}", kind.as_deref().unwrap_or("empty")), Py::list(items))
    }

    /// The name or number of a field as text, and whether it was quoted.
    fn label(&mut self) -> Result<(String, bool)> {
        if self.rest.trim_start().starts_with('"') {
            return match String::from_utf8(self.quoted()?) {
                Ok(name) => Ok((name, true)),
                Err(_) => self.fail("a name"),
            };
        }
        match self.word() {
            "" => self.fail("a name"),
            name => {
                Ok((name.replace('_', if name.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "_" }), false))
            }
        }
    }

    fn record(&mut self) -> Result<Typed> {
        self.expect("{")?;
        let mut fields: Vec<(u32, String, Typed)> = Vec::new();
        while !self.symbol("}") {
            let before = self.rest;
            let named = self.label().ok().filter(|_| self.symbol("="));
            let (hash, label) = match named {
                Some((name, quoted)) => (hash_of(&name, quoted), shown_label(&name, quoted)),
                None => {
                    self.rest = before;
                    let next = fields.last().map_or(0, |field| field.0 + 1);
                    (next, next.to_string())
                }
            };
            fields.push((hash, label, self.annotated()?));
            if !self.symbol(";") {
                self.expect("}")?;
                break;
            }
        }
        fields.sort_by_key(|field| field.0);
        let kinds: Vec<String> = fields.iter().map(|(_, label, field)| format!("{label} : {}", field.kind)).collect();
        let kind = format!("record {{ {} }}", kinds.join("; "));
        let is_tuple = !fields.is_empty() && fields.iter().enumerate().all(|(index, field)| field.0 == index as u32);
        if is_tuple {
            return typed(kind, Py::tuple(fields.into_iter().map(|field| field.2.value).collect()));
        }
        let dict = Py::dict();
        for (_, label, field) in &fields {
            set(&dict, label, &field.value)?;
        }
        typed(kind, dict)
    }

    fn variant(&mut self) -> Result<Typed> {
        self.expect("{")?;
        let (name, quoted) = self.label()?;
        let case = match self.symbol("=") {
            true => self.annotated()?,
            false => typed("null", Py::none())?,
        };
        self.expect("}")?;
        let label = shown_label(&name, quoted);
        let dict = Py::dict();
        set(&dict, &label, &case.value)?;
        typed(format!("variant {{ {label} : {} }}", case.kind), dict)
    }

    /// The bytes of a quoted text, with its escapes resolved.
    fn quoted(&mut self) -> Result<Vec<u8>> {
        self.expect("\"")?;
        let mut out = Vec::new();
        let mut characters = self.rest.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(out);
                }
                '\\' => match characters.next().map(|(_, escape)| escape) {
                    Some('n') => out.push(b'\n'),
                    Some('r') => out.push(b'\r'),
                    Some('t') => out.push(b'\t'),
                    Some(first) if first.is_ascii_hexdigit() => {
                        let second = characters.next().and_then(|(_, c)| c.to_digit(16));
                        match (first.to_digit(16), second) {
                            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                            _ => return self.fail("two hex digits after a backslash"),
                        }
                    }
                    Some(other) => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => break,
                },
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.fail("a closing quote")
    }
}

fn hash_of(name: &str, quoted: bool) -> u32 {
    match name.parse::<u32>() {
        Ok(number) if !quoted => number,
        _ => field_hash(name),
    }
}

/// A field's name for the type and for the dict: its number, which never clashes with a Python keyword.
fn shown_label(name: &str, quoted: bool) -> String {
    hash_of(name, quoted).to_string()
}

fn set(dict: &Py, label: &str, value: &Py) -> Result<()> {
    dict.dict_set(&Py::interned(label), value).map_err(|raised| raised.text())
}

/// The text of a message: fields by number, every number with its type.
pub fn decode(data: &[u8]) -> Result<String> {
    let mut reader = Reader::new(data);
    let header = Header::read(&mut reader)?;
    let mut printer = Decoder::untyped(reader, &header);
    let mut values = Vec::new();
    for wire in &header.values {
        values.push(print(&mut printer, *wire)?);
    }
    printer.reader.end()?;
    Ok(format!("({})", values.join(", ")))
}

fn print(decoder: &mut Decoder, wire: WireRef) -> Result<String> {
    decoder.reader.charge(1)?;
    let fixed = |text: String, kind: &str| Ok(format!("{} : {kind}", grouped(&text)));
    let name = decoder.header.name(wire);
    match wire {
        wire::NULL | wire::RESERVED => Ok(name.to_owned()),
        wire::BOOL => Ok(decoder.bool()?.to_string()),
        wire::NAT | wire::INT => {
            let signed = wire == wire::INT;
            let text = match wire::leb_value(decoder.reader.leb_bytes()?, signed) {
                LebValue::Small(value) => value.to_string(),
                LebValue::Big(bytes) => decimal(&Py::int_from_bytes(&bytes, signed))?,
            };
            fixed(text, name)
        }
        wire::NAT8 => fixed(decoder.reader.byte()?.to_string(), name),
        wire::NAT16 => fixed(u16::from_le_bytes(decoder.reader.array()?).to_string(), name),
        wire::NAT32 => fixed(u32::from_le_bytes(decoder.reader.array()?).to_string(), name),
        wire::NAT64 => fixed(u64::from_le_bytes(decoder.reader.array()?).to_string(), name),
        wire::INT8 => fixed(i8::from_le_bytes(decoder.reader.array()?).to_string(), name),
        wire::INT16 => fixed(i16::from_le_bytes(decoder.reader.array()?).to_string(), name),
        wire::INT32 => fixed(i32::from_le_bytes(decoder.reader.array()?).to_string(), name),
        wire::INT64 => fixed(i64::from_le_bytes(decoder.reader.array()?).to_string(), name),
        wire::FLOAT32 => Ok(format!("{:?} : float32", f32::from_le_bytes(decoder.reader.array()?))),
        wire::FLOAT64 => Ok(format!("{:?} : float64", f64::from_le_bytes(decoder.reader.array()?))),
        wire::TEXT => Ok(quote(&decoder.text()?.str_lossy())),
        wire::PRINCIPAL => Ok(format!("principal {}", principal_text(decoder)?)),
        wire::EMPTY => Err(String::from("a value of type empty")),
        _ => decoder.deeper(|decoder| print_composite(decoder, wire)),
    }
}

fn print_composite(decoder: &mut Decoder, wire: WireRef) -> Result<String> {
    let header = decoder.header;
    match header.get(wire) {
        Some(WireType::Opt(inner)) => match decoder.bool()? {
            true => Ok(format!("opt {}", parenthesised(print(decoder, *inner)?))),
            false => Ok(String::from("null")),
        },
        Some(WireType::Vec(wire::NAT8)) => {
            let size = decoder.reader.length()?;
            let hex: String = decoder.reader.take(size)?.iter().map(|byte| format!("\\{byte:02x}")).collect();
            Ok(format!("blob \"{hex}\""))
        }
        Some(WireType::Vec(item)) => {
            let count = decoder.reader.leb()?;
            decoder.reader.charge(count)?;
            let items = (0..count).map(|_| print(decoder, *item)).collect::<Result<Vec<_>>>()?;
            Ok(format!("vec {{ {} }}", items.join("; ")))
        }
        Some(WireType::Record(fields)) => {
            let mut parts = Vec::new();
            for (hash, wire) in fields {
                parts.push(format!("{} = {}", grouped(&hash.to_string()), print(decoder, *wire)?));
            }
            Ok(format!("record {{ {} }}", parts.join("; ")))
        }
        Some(WireType::Variant(fields)) => {
            let index = decoder.reader.leb()? as usize;
            let Some((hash, wire)) = fields.get(index) else {
                return Err(format!("variant case {index} of {}", fields.len()));
            };
            let label = grouped(&hash.to_string());
            match *wire {
                wire::NULL => Ok(format!("variant {{ {label} }}")),
                wire => Ok(format!("variant {{ {label} = {} }}", print(decoder, wire)?)),
            }
        }
        Some(WireType::Func(_)) => {
            if decoder.reader.byte()? != 1 {
                return Err(String::from("an opaque reference"));
            }
            let canister = principal_text(decoder)?;
            Ok(format!("func {canister}.{}", quote(&decoder.text()?.str_lossy())))
        }
        Some(WireType::Service) => Ok(format!("service {}", principal_text(decoder)?)),
        None => Err(format!("unknown type {wire}")),
    }
}

fn principal_text(decoder: &mut Decoder) -> Result<String> {
    Ok(quote(&crate::principal::to_text(decoder.reader.principal()?)))
}

fn parenthesised(text: String) -> String {
    match text.contains(" : ") && !text.contains('{') {
        true => format!("({text})"),
        false => text,
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Digits in threes, as Candid writes them.
fn grouped(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let mut out = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

fn decimal(number: &Py) -> Result<String> {
    let text = number.attribute_named("__str__").and_then(|method| method.call(&[]));
    text.map(|text| text.str_lossy()).map_err(|raised| raised.text())
}

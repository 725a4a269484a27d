//! Declared Candid types: parsed once from their text, then only walked.
//! Not for values: `decode.rs` and `encode.rs` do those.

use crate::global::Global;
use crate::py::Py;
use std::cell::OnceCell;
use std::collections::HashMap;

/// A declared type. Types live as long as the canister, so recursive ones are plain references.
pub struct Type {
    shape: OnceCell<Shape>,
}

pub type TypeRef = &'static Type;

pub enum Shape {
    Null,
    Bool,
    Nat,
    Int,
    Nat8,
    Nat16,
    Nat32,
    Nat64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Text,
    Reserved,
    Empty,
    Principal,
    Blob,
    Opt(TypeRef),
    Vec(TypeRef),
    /// Fields in the order of their hashes, as they travel.
    Record(Vec<Field>),
    /// A record whose fields are numbered from 0: a Python tuple.
    Tuple(Vec<TypeRef>),
    Variant(Vec<Field>),
    Func(Signature),
    Service,
}

pub struct Field {
    pub hash: u32,
    pub name: String,
    /// The key in Python's dict.
    pub key: Py,
    pub shape: TypeRef,
}

/// Arguments, results and annotations of a method or a func.
pub struct Signature {
    pub arguments: Vec<TypeRef>,
    pub results: Vec<TypeRef>,
    /// Candid's annotation bytes: 1 query, 2 oneway, 3 composite query.
    pub annotations: Vec<u8>,
}

impl Type {
    pub fn shape(&self) -> &Shape {
        match self.shape.get() {
            Some(shape) => shape,
            None => crate::ic0::trap("a Candid type refers to itself and nothing else"),
        }
    }

    /// Addresses identify types.
    pub fn id(&self) -> usize {
        self as *const Type as usize
    }

    /// The type as a message names it: short, without the fields.
    pub fn name(&self) -> &'static str {
        match self.shape() {
            Shape::Null => "null",
            Shape::Bool => "bool",
            Shape::Nat => "nat",
            Shape::Int => "int",
            Shape::Nat8 => "nat8",
            Shape::Nat16 => "nat16",
            Shape::Nat32 => "nat32",
            Shape::Nat64 => "nat64",
            Shape::Int8 => "int8",
            Shape::Int16 => "int16",
            Shape::Int32 => "int32",
            Shape::Int64 => "int64",
            Shape::Float32 => "float32",
            Shape::Float64 => "float64",
            Shape::Text => "text",
            Shape::Reserved => "reserved",
            Shape::Empty => "empty",
            Shape::Principal => "principal",
            Shape::Blob => "blob",
            Shape::Opt(_) => "opt",
            Shape::Vec(_) => "vec",
            Shape::Record(_) => "record",
            Shape::Tuple(_) => "tuple",
            Shape::Variant(_) => "variant",
            Shape::Func(_) => "func",
            Shape::Service => "service",
        }
    }
}

/// All types of the canister: named definitions and what was parsed so far.
pub struct Types {
    definitions: HashMap<String, String>,
    named: HashMap<String, TypeRef>,
    parsed: HashMap<String, TypeRef>,
}

pub static TYPES: Global<Types> = Global::new();

impl Types {
    pub fn new(definitions: HashMap<String, String>) -> Self {
        Types { definitions, named: HashMap::new(), parsed: HashMap::new() }
    }

    /// The type a text stands for. Equal texts give the same type.
    pub fn parse(&mut self, text: &str) -> Result<TypeRef, String> {
        if let Some(known) = self.parsed.get(text) {
            return Ok(known);
        }
        let mut parser = Parser { text, rest: text, types: self };
        let parsed = parser.type_()?;
        parser.end()?;
        self.parsed.insert(text.to_owned(), parsed);
        Ok(parsed)
    }

    /// A list of types: `(nat, text)`, or one type without parentheses; empty text is no type.
    pub fn parse_list(&mut self, text: &str) -> Result<Vec<TypeRef>, String> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Vec::new());
        }
        if !trimmed.starts_with('(') {
            return Ok(vec![self.parse(trimmed)?]);
        }
        let mut parser = Parser { text, rest: trimmed, types: self };
        let list = parser.list()?;
        parser.end()?;
        Ok(list)
    }

    fn define(&mut self, name: &str) -> Result<TypeRef, String> {
        if let Some(known) = self.named.get(name) {
            return Ok(known);
        }
        let Some(text) = self.definitions.get(name).cloned() else {
            return Err(format!("unknown Candid type {name:?}"));
        };
        let target: TypeRef = new_type();
        self.named.insert(name.to_owned(), target);
        let mut parser = Parser { text: &text, rest: &text, types: self };
        let shape = parser.shape()?;
        parser.end()?;
        match shape {
            Parsed::New(shape) => {
                let _ = target.shape.set(shape);
                Ok(target)
            }
            Parsed::Known(other) => {
                // A plain alias: the name stands for the other type itself.
                self.named.insert(name.to_owned(), other);
                Ok(other)
            }
        }
    }
}

fn new_type() -> TypeRef {
    Box::leak(Box::new(Type { shape: OnceCell::new() }))
}

fn type_of(shape: Shape) -> TypeRef {
    let created = new_type();
    let _ = created.shape.set(shape);
    created
}

/// Candid's hash of a field name.
pub fn field_hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(223).wrapping_add(byte as u32))
}

const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Python's name of a Candid field: keywords carry one more underscore.
fn python_name(name: &str) -> String {
    match KEYWORDS.contains(&name.trim_end_matches('_')) {
        true => format!("{name}_"),
        false => name.to_owned(),
    }
}

enum Parsed {
    New(Shape),
    Known(TypeRef),
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    types: &'a mut Types,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, expected: &str) -> Result<T, String> {
        let at = self.text.len() - self.rest.len();
        Err(format!("Candid type {:?}: expected {expected} at offset {at}", self.text))
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn end(&mut self) -> Result<(), String> {
        self.space();
        match self.rest.is_empty() {
            true => Ok(()),
            false => self.fail("the end"),
        }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        match self.symbol(symbol) {
            true => Ok(()),
            false => self.fail(symbol),
        }
    }

    /// A word, a number or a quoted name.
    fn word(&mut self) -> Option<String> {
        self.space();
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let end = quoted.find('"')?;
            self.rest = &quoted[end + 1..];
            return Some(quoted[..end].to_owned());
        }
        let size = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        if size == 0 {
            return None;
        }
        let word = self.rest[..size].to_owned();
        self.rest = &self.rest[size..];
        Some(word)
    }

    fn type_(&mut self) -> Result<TypeRef, String> {
        Ok(match self.shape()? {
            Parsed::New(shape) => type_of(shape),
            Parsed::Known(known) => known,
        })
    }

    fn shape(&mut self) -> Result<Parsed, String> {
        let Some(word) = self.word() else {
            return self.fail("a type");
        };
        Ok(Parsed::New(match word.as_str() {
            "null" => Shape::Null,
            "bool" => Shape::Bool,
            "nat" => Shape::Nat,
            "int" => Shape::Int,
            "nat8" => Shape::Nat8,
            "nat16" => Shape::Nat16,
            "nat32" => Shape::Nat32,
            "nat64" => Shape::Nat64,
            "int8" => Shape::Int8,
            "int16" => Shape::Int16,
            "int32" => Shape::Int32,
            "int64" => Shape::Int64,
            "float32" => Shape::Float32,
            "float64" => Shape::Float64,
            "text" => Shape::Text,
            "reserved" => Shape::Reserved,
            "empty" => Shape::Empty,
            "principal" => Shape::Principal,
            "blob" => Shape::Blob,
            "opt" => Shape::Opt(self.type_()?),
            "vec" => {
                let item = self.type_()?;
                match item.shape.get() {
                    Some(Shape::Nat8) => Shape::Blob,
                    _ => Shape::Vec(item),
                }
            }
            "record" => self.record()?,
            "variant" => Shape::Variant(self.fields(true)?.1),
            "func" => Shape::Func(self.signature()?),
            "service" => {
                self.skip_braces()?;
                Shape::Service
            }
            name => return Ok(Parsed::Known(self.types.define(name)?)),
        }))
    }

    fn record(&mut self) -> Result<Shape, String> {
        let (numbered, fields) = self.fields(false)?;
        if !numbered || fields.is_empty() {
            return Ok(Shape::Record(fields));
        }
        Ok(Shape::Tuple(fields.into_iter().map(|field| field.shape).collect()))
    }

    /// Fields in braces, sorted, and whether they are numbered 0, 1, 2 and so on.
    fn fields(&mut self, is_variant: bool) -> Result<(bool, Vec<Field>), String> {
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.symbol("}") {
            let before = self.rest;
            let quoted = before.trim_start().starts_with('"');
            let label = self.word();
            let field = match label {
                Some(name) if self.symbol(":") => {
                    let shape = self.type_()?;
                    self.field(name, quoted, shape)
                }
                Some(name) if is_variant => self.field(name, quoted, type_of(Shape::Null)),
                _ => {
                    // A type without a name is the next element of a tuple.
                    self.rest = before;
                    let shape = self.type_()?;
                    self.field(fields.len().to_string(), false, shape)
                }
            };
            fields.push(field);
            if !self.symbol(";") {
                self.expect("}")?;
                break;
            }
        }
        fields.sort_by_key(|field| field.hash);
        if fields.windows(2).any(|pair| pair[0].hash == pair[1].hash) {
            return self.fail("fields with different hashes");
        }
        let numbered = fields.iter().enumerate().all(|(index, field)| field.hash == index as u32);
        Ok((numbered, fields))
    }

    fn field(&self, name: String, quoted: bool, shape: TypeRef) -> Field {
        let hash = match name.parse::<u32>() {
            Ok(number) if !quoted => number,
            _ => field_hash(&name),
        };
        Field { hash, key: Py::interned(&python_name(&name)), name, shape }
    }

    /// `(types) -> (types) annotations`
    fn signature(&mut self) -> Result<Signature, String> {
        let arguments = self.list()?;
        self.expect("->")?;
        let results = self.list()?;
        let mut annotations = Vec::new();
        loop {
            let before = self.rest;
            match self.word().as_deref() {
                Some("query") => annotations.push(1),
                Some("oneway") => annotations.push(2),
                Some("composite_query") => annotations.push(3),
                _ => {
                    self.rest = before;
                    return Ok(Signature { arguments, results, annotations });
                }
            }
        }
    }

    /// Types in parentheses, each with or without a name before it.
    fn list(&mut self) -> Result<Vec<TypeRef>, String> {
        self.expect("(")?;
        let mut list = Vec::new();
        while !self.symbol(")") {
            let before = self.rest;
            if self.word().is_none() || !self.symbol(":") {
                self.rest = before;
            }
            list.push(self.type_()?);
            if !self.symbol(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(list)
    }

    fn skip_braces(&mut self) -> Result<(), String> {
        self.expect("{")?;
        let mut depth = 1;
        for (index, c) in self.rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(());
            }
        }
        self.fail("}")
    }
}

//! Reads the method table the build injects: JSON of our own making.
//! Not a validator: anything unexpected traps the installation.

use std::collections::HashMap;

pub enum Json {
    Null,
    Bool(bool),
    Text(String),
    List(Vec<Json>),
    Map(HashMap<String, Json>),
}

impl Json {
    pub fn parse(text: &str) -> Json {
        let mut parser = Parser { bytes: text.as_bytes(), at: 0 };
        parser.value()
    }

    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Map(map) => map.get(key),
            _ => None,
        }
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Json::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Json::Bool(true)))
    }

    pub fn list(&self, key: &str) -> &[Json] {
        match self.get(key) {
            Some(Json::List(list)) => list,
            _ => &[],
        }
    }

    pub fn entries(&self, key: &str) -> Vec<(&str, &Json)> {
        match self.get(key) {
            Some(Json::Map(map)) => map.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            _ => Vec::new(),
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn fail(&self) -> ! {
        crate::ic0::trap(&format!("the method table is broken at byte {}", self.at))
    }

    fn peek(&mut self) -> u8 {
        while self.bytes.get(self.at).is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
        *self.bytes.get(self.at).unwrap_or_else(|| self.fail())
    }

    fn expect(&mut self, byte: u8) {
        if self.peek() != byte {
            self.fail();
        }
        self.at += 1;
    }

    fn word(&mut self, word: &str, value: Json) -> Json {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.fail();
        }
        self.at += word.len();
        value
    }

    fn value(&mut self) -> Json {
        match self.peek() {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'"' => Json::Text(self.string()),
            b'[' => {
                let mut list = Vec::new();
                self.items(b']', |parser| list.push(parser.value()));
                Json::List(list)
            }
            b'{' => {
                let mut map = HashMap::new();
                self.items(b'}', |parser| {
                    parser.peek();
                    let key = parser.string();
                    parser.expect(b':');
                    map.insert(key, parser.value());
                });
                Json::Map(map)
            }
            _ => self.fail(),
        }
    }

    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self)) {
        self.at += 1;
        if self.peek() == end {
            self.at += 1;
            return;
        }
        loop {
            item(self);
            match self.peek() {
                b',' => self.at += 1,
                byte if byte == end => break,
                _ => self.fail(),
            }
        }
        self.at += 1;
    }

    fn string(&mut self) -> String {
        self.expect(b'"');
        let mut out = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at).unwrap_or_else(|| self.fail());
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let escape = self.bytes[self.at];
                    self.at += 1;
                    match escape {
                        b'n' => out.push(b'\n'),
                        b't' => out.push(b'\t'),
                        b'r' => out.push(b'\r'),
                        b'u' => {
                            let digits = std::str::from_utf8(&self.bytes[self.at..self.at + 4]).ok();
                            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                            let character = code.and_then(char::from_u32).unwrap_or_else(|| self.fail());
                            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                            self.at += 4;
                        }
                        other => out.push(other),
                    }
                }
                other => out.push(other),
            }
        }
        String::from_utf8(out).unwrap_or_else(|_| self.fail())
    }
}

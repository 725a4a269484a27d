//! Principals between their bytes and their text: groups of five base-32 characters over a CRC-32 and the bytes.
//! Not for what a principal may do.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const MAX_BYTES: usize = 29;

pub fn to_text(bytes: &[u8]) -> String {
    let mut data = crc32(bytes).to_be_bytes().to_vec();
    data.extend_from_slice(bytes);
    let mut characters = Vec::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in data {
        buffer = buffer << 8 | byte as u32;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            characters.push(ALPHABET[(buffer >> bits & 31) as usize]);
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        characters.push(ALPHABET[(buffer << (5 - bits) & 31) as usize]);
    }
    let mut text = String::new();
    for (index, character) in characters.iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            text.push('-');
        }
        text.push(*character as char);
    }
    text
}

/// The bytes of a principal's text, which must be in its one canonical form.
pub fn from_text(text: &str) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for character in text.bytes().filter(|byte| *byte != b'-') {
        let Some(value) = ALPHABET.iter().position(|known| *known == character.to_ascii_lowercase()) else {
            return Err(format!("{text:?} is not a principal: it holds {:?}", character as char));
        };
        buffer = buffer << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            data.push((buffer >> bits) as u8);
        }
        buffer &= (1 << bits) - 1;
    }
    if data.len() < 4 || data.len() > 4 + MAX_BYTES {
        return Err(format!("{text:?} is not a principal: its length is wrong"));
    }
    let bytes = data.split_off(4);
    match to_text(&bytes) == text.to_ascii_lowercase() {
        true => Ok(bytes),
        false => Err(format!("{text:?} is not a principal: its checksum or form is wrong")),
    }
}

/// The CRC-32 of ISO 3309, as zlib computes it.
pub fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ *byte as u32, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

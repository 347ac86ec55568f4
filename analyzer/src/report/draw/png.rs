//! PNG files (ISO/IEC 15948): a header, one compressed stream of rows, an end.

use super::colour::Rgb;

/// What the bytes of a picture mean; one byte a sample.
pub enum Samples<'a> {
    /// Places in a palette, of which the first is transparent.
    Palette(&'a [Rgb]),
    /// Red, green, blue.
    Rgb,
}

/// Encodes rows of samples from above.
pub fn encode(width: usize, height: usize, samples: &Samples<'_>, bytes: &[u8]) -> Vec<u8> {
    let (colour_type, each) = match samples {
        Samples::Palette(_) => (3_u8, 1),
        Samples::Rgb => (2, 3),
    };
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::with_capacity(13);
    header.extend(u32::try_from(width).unwrap_or(u32::MAX).to_be_bytes());
    header.extend(u32::try_from(height).unwrap_or(u32::MAX).to_be_bytes());
    header.extend([8, colour_type, 0, 0, 0]);
    chunk(&mut png, *b"IHDR", &header);
    if let Samples::Palette(palette) = samples {
        chunk(&mut png, *b"PLTE", palette.as_flattened());
        chunk(&mut png, *b"tRNS", &[0]);
    }
    let mut rows = Vec::with_capacity((width * each + 1) * height);
    for row in bytes.chunks_exact((width * each).max(1)).take(height) {
        rows.push(0); // no filter
        rows.extend_from_slice(row);
    }
    chunk(&mut png, *b"IDAT", &miniz_oxide::deflate::compress_to_vec_zlib(&rows, 9));
    chunk(&mut png, *b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    let begin = png.len();
    png.extend(kind);
    png.extend_from_slice(data);
    let checksum = crc32(&png[begin..]);
    png.extend(checksum.to_be_bytes());
}

/// CRC-32 as in ISO 3309, bit by bit: pictures are small.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Bytes as base64 (RFC 4648) with padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn the_rows_come_back() {
        let png = encode(2, 2, &Samples::Palette(&[[0; 3], [1, 2, 3]]), &[0, 1, 1, 0]);
        let data = png.windows(4).position(|four| four == b"IDAT").unwrap();
        let length = u32::from_be_bytes(png[data - 4..data].try_into().unwrap()) as usize;
        let rows = miniz_oxide::inflate::decompress_to_vec_zlib(&png[data + 4..data + 4 + length]).unwrap();
        assert_eq!(rows, [0, 0, 1, 0, 1, 0]);
    }
}

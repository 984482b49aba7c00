//! No bytes make a decompressor panic or go over its limit, whether they are random or a damaged work of its own.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir_otlp::encoding::Encoding;

const LIMIT: usize = 1 << 16;
const ALL: [Encoding; 7] = [
    Encoding::Gzip,
    Encoding::Deflate,
    Encoding::Zlib,
    Encoding::Zstd,
    Encoding::Snappy,
    Encoding::SnappyFramed,
    Encoding::Lz4,
];

fuzz_target!(|data: &[u8]| {
    for encoding in ALL {
        read(encoding, data.to_vec());
        // The first three bytes say where which bits are turned over.
        let Some((&[low, high, bits], text)) = data.split_first_chunk() else { continue };
        let mut compressed = Vec::new();
        encoding.compress(text, None, &mut compressed).expect("compressed");
        let at = usize::from(u16::from_le_bytes([low, high])) % compressed.len().max(1);
        if let Some(byte) = compressed.get_mut(at) {
            *byte ^= bits;
        }
        read(encoding, compressed);
    }
});

fn read(encoding: Encoding, data: Vec<u8>) {
    if let Ok(output) = encoding.decompress(Bytes::from(data), LIMIT) {
        assert!(output.len() <= LIMIT);
    }
}

//! Snappy: one raw block, or the framing format, which begins with a stream identifier.
//!
//! Source: google/snappy, format_description.txt and framing_format.txt.

use std::io::Write;

use bytes::Bytes;
use snap::raw::{Decoder, Encoder, decompress_len};
use snap::read::FrameDecoder;
use snap::write::FrameEncoder;

use super::{DecodeError, read_capped};

/// How a stream in the framing format begins.
const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// A block makes at most 64 bytes of 3; a larger claim is a lie, for which nothing is reserved.
const MOST_PER_BYTE: usize = 22;

/// Decompresses a block or a stream, whichever it is: before 0.125 the Collector sent streams under the name of blocks.
pub(super) fn decompress_either(input: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    if input.starts_with(STREAM_IDENTIFIER) {
        return decompress_stream(input, limit);
    }
    let corrupt = |e: snap::Error| DecodeError::Corrupt(e.to_string());
    let length = decompress_len(input).map_err(corrupt)?;
    if length > limit {
        return Err(DecodeError::TooLarge);
    }
    if length > input.len().saturating_mul(MOST_PER_BYTE) {
        return Err(DecodeError::Corrupt("snappy: the length is more than the block can hold".to_owned()));
    }
    Decoder::new().decompress_vec(input).map(Bytes::from).map_err(corrupt)
}

/// Decompresses a stream.
pub(super) fn decompress_stream(input: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    read_capped(FrameDecoder::new(input), 4 * input.len(), limit)
}

/// Appends `input` as one block.
pub(super) fn compress_block(input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    out.resize(start + snap::raw::max_compress_len(input.len()), 0);
    let written = Encoder::new().compress(input, &mut out[start..]).map_err(|e| e.to_string())?;
    out.truncate(start + written);
    Ok(())
}

/// Appends `input` as a stream.
pub(super) fn compress_stream(input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut encoder = FrameEncoder::new(out);
    encoder.write_all(input).and_then(|()| encoder.flush()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_streams_are_told_apart() {
        let (mut block, mut stream) = (Vec::new(), Vec::new());
        compress_block(b"the same", &mut block).expect("compressed");
        compress_stream(b"the same", &mut stream).expect("compressed");
        assert!(stream.starts_with(STREAM_IDENTIFIER));
        for input in [&block, &stream] {
            assert_eq!(decompress_either(input, 8).expect("read"), &b"the same"[..]);
        }
        assert!(matches!(decompress_stream(&block, 8), Err(DecodeError::Corrupt(_))));
    }

    #[test]
    fn a_block_that_claims_more_than_it_can_hold_is_refused_before_anything_is_reserved() {
        // 16 MiB in a varint, then one literal byte.
        let lie = [0x80, 0x80, 0x80, 0x08, 0x00, b'x'];
        assert!(matches!(decompress_either(&lie, 64 << 20), Err(DecodeError::Corrupt(_))));
        assert_eq!(decompress_either(&lie, 1 << 20), Err(DecodeError::TooLarge));
        let mut dense = Vec::new();
        compress_block(&vec![7; 1 << 20], &mut dense).expect("compressed");
        assert_eq!(decompress_either(&dense, 1 << 20).expect("read").len(), 1 << 20);
    }
}

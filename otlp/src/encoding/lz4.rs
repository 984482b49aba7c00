//! LZ4 in its frame format.

use std::io::{Read, Write};

use bytes::Bytes;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::{DecodeError, read_capped};

/// Decompresses one frame or several, or none.
pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    if input.is_empty() {
        return Ok(Bytes::new());
    }
    read_capped(Frames(FrameDecoder::new(Whole(input))), 4 * input.len(), limit)
}

/// Appends `input` as a frame.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut encoder = FrameEncoder::new(out);
    encoder.write_all(input).map_err(|e| e.to_string())?;
    encoder.finish().map(drop).map_err(|e| e.to_string())
}

/// What is asked for has to be there: the library takes an input that ends behind a magic number or a block for a frame
/// that does.
struct Whole<'a>(&'a [u8]);

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() && !buffer.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "an LZ4 frame is cut off"));
        }
        self.0.read(buffer)
    }
}

/// Reads on where a frame ends and another follows.
struct Frames<'a>(FrameDecoder<Whole<'a>>);

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.0.get_ref().0.is_empty() {
                return Ok(read);
            }
        }
    }
}

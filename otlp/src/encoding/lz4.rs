//! LZ4 in its frame format.

use std::io::{Read, Write};

use bytes::Bytes;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::{DecodeError, read_capped};

/// The magic number of the format before frames had heads. All of its blocks have 8 MiB, and nobody writes it.
const LEGACY: [u8; 4] = 0x184C_2102_u32.to_le_bytes();
/// Room for blocks that frames behind the first may always ask for.
const ALWAYS: usize = 8 << 20;

/// Decompresses one frame or several, or none.
pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    if input.is_empty() {
        return Ok(Bytes::new());
    }
    let room = limit.max(ALWAYS);
    let mut frames = Frames { decoder: FrameDecoder::new(Whole(input)), room, no_room: false };
    frames.begin()?;
    let read = read_capped(&mut frames, 4 * input.len(), limit);
    if frames.no_room { Err(DecodeError::TooLarge) } else { read }
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
///
/// The library clears room for a block of the size that a frame announces, up to 4 MiB, for each frame anew. What a few
/// bytes ask for so counts as if it were content: 64 KiB of empty frames would take seconds.
struct Frames<'a> {
    decoder: FrameDecoder<Whole<'a>>,
    /// What is left for frames behind the first.
    room: usize,
    /// Whether a frame asked for more than that.
    no_room: bool,
}

impl Frames<'_> {
    /// The size of the blocks of the frame that begins here, as far as it is one.
    fn begin(&self) -> Result<usize, DecodeError> {
        let frame = self.decoder.get_ref().0;
        if frame.starts_with(&LEGACY) {
            return Err(DecodeError::Corrupt("an LZ4 frame of the legacy format".to_owned()));
        }
        // Behind the magic number and the flags: 4 is 64 KiB, each more four times as much.
        let size = frame.get(5).map_or(0, |sizes| sizes >> 4 & 7);
        Ok(1 << (8 + 2 * size))
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.decoder.get_ref().0.is_empty() {
                return Ok(read);
            }
            let block = self.begin().map_err(std::io::Error::other)?;
            let Some(left) = self.room.checked_sub(block) else {
                self.no_room = true;
                return Err(std::io::Error::other("more LZ4 frames than content"));
            };
            self.room = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameInfo};

    use super::*;

    fn frame(size: BlockSize, mode: BlockMode, content: &[u8]) -> Vec<u8> {
        let info = FrameInfo::new().block_size(size).block_mode(mode);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(content).expect("compressed");
        encoder.finish().expect("compressed")
    }

    #[test]
    fn room_for_blocks_that_frames_ask_for_is_bounded_like_content() {
        const LIMIT: usize = 20 << 20;
        for (size, bytes) in [(BlockSize::Max4MB, 4 << 20), (BlockSize::Max64KB, 64 << 10)] {
            for mode in [BlockMode::Independent, BlockMode::Linked] {
                let frame = frame(size, mode, &[b'a'; 1000]);
                let most = 1 + LIMIT / bytes;
                let read = decompress(&frame.repeat(most), LIMIT).expect("read");
                assert_eq!(read.len(), 1000 * most);
                assert_eq!(decompress(&frame.repeat(most + 1), LIMIT), Err(DecodeError::TooLarge));
                assert!(decompress(&frame.repeat(3), 3000).is_ok(), "a few are read whatever the limit is");
            }
        }
    }

    #[test]
    fn frames_of_the_legacy_format_are_refused_wherever_they_stand() {
        let legacy = [&LEGACY[..], &2u32.to_le_bytes(), b"\x10a", &0u32.to_le_bytes()].concat();
        let whole = frame(BlockSize::Max64KB, BlockMode::Independent, b"a");
        for input in [legacy.clone(), [&whole[..], &legacy].concat()] {
            let refused = decompress(&input, 1 << 20).expect_err("refused").to_string();
            assert!(refused.contains("legacy"), "{refused}");
        }
    }
}

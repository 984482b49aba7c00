//! Content encodings, with a cap on every output: no API here can produce more than it was allowed to.
//!
//! `gzip` may have several members (RFC 1952, 2.2), `zstd` several frames (RFC 8878), `deflate` and `zlib` are the zlib
//! format (RFC 1950), as in HTTP and in the Go Collector. A zstd window may take 8 MiB (RFC 9659). `snappy` is one raw block
//! in HTTP and the framing format in gRPC.

mod lz4;
mod snappy;

use std::cell::RefCell;
use std::fmt;
use std::io::{Cursor, Read};

use bytes::Bytes;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use memchr::memmem;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// A content encoding that can be read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// No compression.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, named `deflate` in HTTP and gRPC.
    Deflate,
    /// RFC 1950 under the name that the Collector also takes.
    Zlib,
    /// RFC 8878.
    Zstd,
    /// One raw block; when read also the framing format, which old Collectors send under the same name.
    Snappy,
    /// The framing format of snappy; gRPC calls it `snappy`.
    SnappyFramed,
    /// The frame format of LZ4.
    Lz4,
}

/// Names of all encodings of HTTP but identity, for `accept-encoding` headers.
pub const ACCEPTED: &str = "gzip, zstd, zlib, snappy, deflate, lz4, x-snappy-framed";
/// Names of all encodings of gRPC, for `grpc-accept-encoding` headers.
pub const ACCEPTED_GRPC: &str = "identity,deflate,gzip,zstd,snappy";

/// Why content could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The output would exceed the limit.
    TooLarge,
    /// The input is damaged; what the library said.
    Corrupt(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::TooLarge => f.write_str("larger than allowed after decompression"),
            DecodeError::Corrupt(why) => write!(f, "damaged compressed data: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Encoding {
    /// The encoding of that name in `content-encoding`; names are case-sensitive, as in the Collector. `None` for
    /// encodings that are not supported.
    pub fn parse(name: &str) -> Option<Encoding> {
        match name {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" => Some(Encoding::Gzip),
            "deflate" => Some(Encoding::Deflate),
            "zlib" => Some(Encoding::Zlib),
            "zstd" => Some(Encoding::Zstd),
            "snappy" => Some(Encoding::Snappy),
            "x-snappy-framed" => Some(Encoding::SnappyFramed),
            "lz4" => Some(Encoding::Lz4),
            _ => None,
        }
    }

    /// The encoding of that name in `grpc-encoding`. `None` for encodings that are not supported there.
    pub fn parse_grpc(name: &str) -> Option<Encoding> {
        match name {
            "snappy" => Some(Encoding::SnappyFramed),
            "zlib" | "x-snappy-framed" | "lz4" => None,
            other => Encoding::parse(other),
        }
    }

    /// Its name in `grpc-encoding`.
    pub fn grpc_name(self) -> &'static str {
        match self {
            Encoding::Snappy | Encoding::SnappyFramed => "snappy",
            other => other.name(),
        }
    }

    /// Its name in `content-encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zlib => "zlib",
            Encoding::Zstd => "zstd",
            Encoding::Snappy => "snappy",
            Encoding::SnappyFramed => "x-snappy-framed",
            Encoding::Lz4 => "lz4",
        }
    }

    /// Decompresses `input` to at most `limit` bytes. Identity returns the input itself.
    ///
    /// # Errors
    /// [`DecodeError`] when the output would be larger or the input is damaged or cut off.
    pub fn decompress(self, input: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
        match self {
            Encoding::Identity if input.len() > limit => Err(DecodeError::TooLarge),
            Encoding::Identity => Ok(input),
            Encoding::Gzip => match gunzip_at_once(&input, limit) {
                Some(out) => Ok(out),
                None => read_capped(MultiGzDecoder::new(&input[..]), gzip_hint(&input), limit),
            },
            Encoding::Deflate | Encoding::Zlib => {
                read_capped(ZlibDecoder::new(&input[..]), 4 * input.len(), limit)
            }
            Encoding::Zstd => unzstd(&input, limit),
            Encoding::Snappy => snappy::decompress_either(&input, limit),
            Encoding::SnappyFramed => snappy::decompress_stream(&input, limit),
            Encoding::Lz4 => lz4::decompress(&input, limit),
        }
    }

    /// The size that `input` says it has decompressed; `None` when it says nothing. It may be a lie.
    pub(crate) fn announced(self, input: &[u8]) -> Option<usize> {
        match self {
            Encoding::Gzip => Some(gzip_hint(input)),
            Encoding::Zstd => zstd_hint(input),
            _ => None,
        }
    }

    /// Appends `input` in compressed form to `out`. `level` follows the library: 1 to 12 for gzip and zlib, -7 to 22 for
    /// zstd, the others have none; `None` is level 1, the best output per CPU second for telemetry.
    ///
    /// # Errors
    /// What the library said; it does not happen for inputs that fit into memory.
    pub fn compress(self, input: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Encoding::Identity => {
                out.extend_from_slice(input);
                Ok(())
            }
            Encoding::Gzip => {
                deflate(level, out, |c| c.gzip_compress_bound(input.len()), |c, o| c.gzip_compress(input, o))
            }
            Encoding::Deflate | Encoding::Zlib => {
                deflate(level, out, |c| c.zlib_compress_bound(input.len()), |c, o| c.zlib_compress(input, o))
            }
            Encoding::Zstd => zstd_compress(level.unwrap_or(1), input, out).map_err(|e| e.to_string()),
            Encoding::Snappy => snappy::compress_block(input, out),
            Encoding::SnappyFramed => snappy::compress_stream(input, out),
            Encoding::Lz4 => lz4::compress(input, out),
        }
    }
}

/// The largest size that is reserved on the word of the sender; more is reserved as output really comes.
const TRUSTED_HINT: usize = 1 << 20;

/// Length of the last member as its trailer says, which is the whole output for one member.
fn gzip_hint(input: &[u8]) -> usize {
    let trailer = input.last_chunk::<4>().copied().unwrap_or_default();
    // At most about 1030:1 is possible; a larger claim is a lie or belongs to a longer output.
    (u32::from_le_bytes(trailer) as usize).min(input.len().saturating_mul(1032))
}

/// The largest output that is made in one step, and so reserved on the word of the sender.
const AT_ONCE: usize = 4 << 20;
/// What every member begins with: the magic number and the only method.
const GZIP_MEMBER: [u8; 3] = [0x1f, 0x8b, 8];
/// A member has at least a header of 10 bytes and a trailer of 8.
const GZIP_SHORTEST: usize = 18;

/// The output of one member whose trailer, at the end of the input, says its size: the usual case. All else is left to
/// the reader that goes step by step: several members, outputs that are large or larger than allowed, damage.
fn gunzip_at_once(input: &[u8], limit: usize) -> Option<Bytes> {
    let size = gzip_hint(input);
    if size > limit.min(AT_ONCE) || memmem::find(input.get(GZIP_SHORTEST..)?, &GZIP_MEMBER).is_some() {
        return None;
    }
    let mut out = vec![0; size];
    let written = INFLATE.with_borrow_mut(|kept| {
        let decompressor = kept.get_or_insert_with(Decompressor::new);
        decompressor.gzip_decompress(input, &mut out)
    });
    (written == Ok(size)).then(|| Bytes::from(out))
}

fn read_capped(reader: impl Read, hint: usize, limit: usize) -> Result<Bytes, DecodeError> {
    // One byte more than the content, so that reading to the end does not grow the buffer for nothing.
    let mut out = Vec::with_capacity(hint.min(limit).min(TRUSTED_HINT) + 1);
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(cap).read_to_end(&mut out).map_err(|e| DecodeError::Corrupt(e.to_string()))?;
    if out.len() > limit { Err(DecodeError::TooLarge) } else { Ok(weir_pdata::fitted(out)) }
}

thread_local! {
    // A context takes about 100 KiB; one per thread instead of one per request.
    static UNZSTD: RefCell<Option<Decoder<'static>>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static DEFLATE: RefCell<Option<(i32, Compressor)>> = const { RefCell::new(None) };
    // Room for output in the worst case, of which little is written: what is not written costs no memory.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Room for output that a thread keeps; about that of a batch of the default size.
const KEPT_OUTPUT: usize = 4 << 20;

/// 2^23 = 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Several frames, one, or none: nothing at all is an empty content, as in the Collector.
fn unzstd(input: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    if input.is_empty() {
        return Ok(Bytes::new());
    }
    UNZSTD.with_borrow_mut(|slot| {
        let result = (|| {
            let decoder = match slot {
                Some(decoder) => {
                    decoder.reinit()?;
                    decoder
                }
                None => {
                    let mut fresh = Decoder::new()?;
                    fresh.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                    slot.insert(fresh)
                }
            };
            unzstd_with(decoder, input, limit)
        })();
        result.map_err(|e: std::io::Error| DecodeError::Corrupt(e.to_string()))?.ok_or(DecodeError::TooLarge)
    })
}

/// `None` when the output would exceed the limit.
fn unzstd_with(decoder: &mut Decoder<'_>, input: &[u8], limit: usize) -> std::io::Result<Option<Bytes>> {
    let hint = zstd_hint(input).unwrap_or(4 * input.len());
    let mut out: Vec<u8> = Vec::with_capacity(hint.min(limit).clamp(64, TRUSTED_HINT));
    let mut source = InBuffer::around(input);
    loop {
        if out.len() == out.capacity() {
            out.reserve(out.len().min(limit.saturating_sub(out.len())).max(1));
        }
        let start = out.len();
        let mut sink = OutBuffer::around_pos(&mut out, start);
        let missing = decoder.run(&mut source, &mut sink)?;
        let progress = sink.pos() > start;
        if out.len() > limit {
            return Ok(None);
        }
        let consumed = source.pos() == input.len();
        if consumed && missing == 0 {
            return Ok(Some(weir_pdata::fitted(out)));
        }
        if consumed && !progress && out.len() < out.capacity() {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
    }
}

fn zstd_hint(input: &[u8]) -> Option<usize> {
    usize::try_from(zstd::zstd_safe::get_frame_content_size(input).ok()??).ok()
}

fn zstd_compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    ZSTD.with_borrow_mut(|slot| {
        let kept = match slot.take().filter(|(of, _)| *of == level) {
            Some(kept) => kept,
            None => (level, zstd::bulk::Compressor::new(level)?),
        };
        let (_, compressor) = slot.insert(kept);
        out.reserve(zstd::zstd_safe::compress_bound(input.len()));
        let mut end = Cursor::new(out);
        end.set_position(end.get_ref().len() as u64);
        compressor.compress_to_buffer(input, &mut end)?;
        Ok(())
    })
}

fn deflate(
    level: Option<i32>,
    out: &mut Vec<u8>,
    bound: impl FnOnce(&mut Compressor) -> usize,
    compress: impl FnOnce(&mut Compressor, &mut [u8]) -> Result<usize, libdeflater::CompressionError>,
) -> Result<(), String> {
    let level = level.unwrap_or(1).clamp(1, 12);
    DEFLATE.with_borrow_mut(|slot| {
        let kept = slot.take().filter(|(of, _)| *of == level);
        let fresh = || (level, Compressor::new(CompressionLvl::new(level).unwrap_or_default()));
        let (_, compressor) = slot.insert(kept.unwrap_or_else(fresh));
        let bound = bound(compressor);
        OUTPUT.with_borrow_mut(|output| {
            if output.len() < bound {
                *output = vec![0; bound];
            }
            let written = compress(compressor, &mut output[..bound]).map_err(|e| e.to_string())?;
            out.extend_from_slice(&output[..written]);
            if bound > KEPT_OUTPUT {
                *output = Vec::new();
            }
            Ok(())
        })
    })
}

/// Everything that compresses.
#[cfg(any(test, feature = "fuzzing"))]
const ALL: [Encoding; 7] = [
    Encoding::Gzip,
    Encoding::Deflate,
    Encoding::Zlib,
    Encoding::Zstd,
    Encoding::Snappy,
    Encoding::SnappyFramed,
    Encoding::Lz4,
];

/// No bytes make a decompressor panic or go over its limit, whether they are foreign or a damaged work of its own; the first
/// three say where which bits are turned over. What is not damaged comes back. For tests and for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::expect_used, reason = "a check that does not hold is a fault")]
pub fn check(bytes: &[u8]) {
    const LIMIT: usize = 1 << 16;
    for encoding in ALL {
        let read = |bytes: &[u8]| {
            let output = encoding.decompress(Bytes::copy_from_slice(bytes), LIMIT);
            assert!(output.as_ref().is_ok_and(|output| output.len() <= LIMIT) || output.is_err());
            output
        };
        drop(read(bytes));
        let Some((&[low, high, bits], text)) = bytes.split_first_chunk() else { continue };
        let mut compressed = Vec::new();
        encoding.compress(text, None, &mut compressed).expect("compressed");
        assert_eq!(read(&compressed).as_deref(), Ok(text), "{encoding:?}");
        let at = usize::from(u16::from_le_bytes([low, high])) % compressed.len().max(1);
        if let Some(byte) = compressed.get_mut(at) {
            *byte ^= bits;
        }
        drop(read(&compressed));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compressed(encoding: Encoding, input: &[u8]) -> Bytes {
        let mut out = Vec::new();
        encoding.compress(input, None, &mut out).expect("compressed");
        Bytes::from(out)
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        let input = vec![7u8; 3_000_000];
        for encoding in ALL {
            let small = compressed(encoding, &input);
            assert!(small.len() < 200_000);
            assert_eq!(encoding.decompress(small.clone(), input.len()).expect("fits"), input);
            assert_eq!(
                encoding.decompress(small, input.len() - 1),
                Err(DecodeError::TooLarge),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn output_keeps_no_room_that_its_input_only_announces() {
        for encoding in ALL {
            let small = compressed(encoding, &[b'x'; 1000]);
            let input = match encoding {
                // Bytes behind a zlib stream are not looked at.
                Encoding::Deflate | Encoding::Zlib => [&small[..], &[0; 1 << 20]].concat().into(),
                // A frame to be passed over.
                Encoding::Zstd => {
                    let length = 1u32 << 20;
                    let skipped = [&0x184D_2A50_u32.to_le_bytes()[..], &length.to_le_bytes()].concat();
                    [&skipped[..], &vec![0; 1 << 20], &small].concat().into()
                }
                _ => small,
            };
            let output = encoding.decompress(input, 20 << 20).expect("read");
            let output = output.try_into_mut().expect("alone");
            assert_eq!(output.len(), 1000);
            assert!(output.capacity() <= 1125, "{encoding:?}: {}", output.capacity());
        }
        // Two members: read step by step.
        let two = compressed(Encoding::Gzip, &[b'x'; 1000]).repeat(2).into();
        let output = Encoding::Gzip.decompress(two, 20 << 20).expect("read").try_into_mut().expect("alone");
        assert!(output.capacity() <= 2250, "{}", output.capacity());
    }

    #[test]
    fn several_members_or_frames_are_read_as_one() {
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::SnappyFramed, Encoding::Lz4] {
            let mut two = compressed(encoding, b"same").to_vec();
            two.extend(compressed(encoding, b"size"));
            assert_eq!(encoding.decompress(two.into(), 100).expect("read"), &b"samesize"[..]);
        }
    }

    #[test]
    fn a_second_member_of_the_same_content_is_not_forgotten() {
        let one = compressed(Encoding::Gzip, b"same").to_vec();
        assert_eq!(Encoding::Gzip.decompress(one.repeat(2).into(), 100).expect("read"), &b"samesame"[..]);
    }

    #[test]
    fn bytes_behind_a_member_are_damage() {
        let mut input = compressed(Encoding::Gzip, b"same").to_vec();
        input.extend_from_slice(b"more");
        assert!(matches!(Encoding::Gzip.decompress(input.into(), 100), Err(DecodeError::Corrupt(_))));
    }

    #[test]
    fn cut_off_input_is_damaged_not_short() {
        let input: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for encoding in ALL {
            let whole = compressed(encoding, &input);
            let cut = whole.slice(..whole.len() / 2);
            assert!(
                matches!(encoding.decompress(cut, usize::MAX >> 1), Err(DecodeError::Corrupt(_))),
                "{encoding:?}"
            );
            assert!(matches!(encoding.decompress(Bytes::new(), 10), Err(DecodeError::Corrupt(_)) | Ok(_)));
        }
    }

    #[test]
    fn a_cut_at_any_byte_is_damage_but_no_frame_at_all_is_no_content() {
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Lz4] {
            let whole = compressed(encoding, b"some bytes, and some bytes again");
            for at in 1..whole.len() {
                let read = encoding.decompress(whole.slice(..at), 100);
                assert!(matches!(read, Err(DecodeError::Corrupt(_))), "{encoding:?} cut at {at}: {read:?}");
                let behind = [&whole[..], &whole[..at]].concat().into();
                let read = encoding.decompress(behind, 100);
                // Bytes behind a zlib stream are not looked at.
                let is_free = encoding == Encoding::Deflate;
                assert_eq!(read.is_ok(), is_free, "{encoding:?} and a second one cut at {at}: {read:?}");
            }
        }
        for encoding in [Encoding::Zstd, Encoding::Lz4] {
            assert_eq!(encoding.decompress(Bytes::new(), 100), Ok(Bytes::new()), "{encoding:?}");
            for junk in [&b"j"[..], b"junk", b"junk and more"] {
                let read = encoding.decompress(Bytes::copy_from_slice(junk), 100);
                assert!(matches!(read, Err(DecodeError::Corrupt(_))), "{encoding:?}: {read:?}");
            }
        }
    }

    #[test]
    fn a_zstd_window_over_8_mib_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("encoder");
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(27)).expect("window");
        encoder.include_contentsize(false).expect("no size");
        std::io::Write::write_all(&mut encoder, &vec![1u8; 1 << 20]).expect("written");
        let frame = Bytes::from(encoder.finish().expect("finished"));
        let why = Encoding::Zstd.decompress(frame, 64 << 20).expect_err("refused").to_string();
        assert!(why.contains("memory") || why.contains("window"), "{why}");
    }

    #[test]
    fn the_corpus_comes_back_and_no_part_of_it_makes_a_decompressor_panic() {
        for input in crate::corpus::corpus("decompress") {
            // Bits of the first bytes of the compressed form, one after the other, then what the input says.
            (0..24).for_each(|at| check(&[&[at, 0, 0x55], &input[..]].concat()));
            check(&input);
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back_at_every_level(input in proptest::collection::vec(any::<u8>(), 0..5000), level in 1..12) {
            for encoding in ALL {
                let mut out = b"head".to_vec();
                encoding.compress(&input, Some(level), &mut out).expect("compressed");
                let body = Bytes::from(out).slice(4..);
                prop_assert_eq!(&encoding.decompress(body, input.len()).expect("read")[..], &input[..]);
            }
        }

        #[test]
        fn random_input_never_panics(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            for encoding in ALL {
                drop(encoding.decompress(Bytes::from(input.clone()), 1000));
            }
        }
    }
}

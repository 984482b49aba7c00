//! No bytes of a peer break the server's side of HTTP/2; the first eight decide how they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((seed, bytes)) = bytes.split_first_chunk() {
        weir_otlp::check::converse(bytes, u64::from_le_bytes(*seed));
    }
});

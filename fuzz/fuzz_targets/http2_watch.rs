//! Of frames of HTTP/2 that pass by the same is seen however they are cut, as the first eight bytes decide.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((seed, bytes)) = bytes.split_first_chunk() {
        weir_otlp::check::watch(bytes, u64::from_le_bytes(*seed));
    }
});

//! No bytes make a decompressor panic or go over its limit, and what is whole comes back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_otlp::check::decompress(bytes));

//! Blocks of fields keep the table within its bounds, and two decoders with different room agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_otlp::check::blocks(bytes));

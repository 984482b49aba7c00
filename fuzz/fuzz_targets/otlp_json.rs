//! What the reader of OTLP/JSON accepts is well formed and means the same when it is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| weir_pdata::check::json(text));

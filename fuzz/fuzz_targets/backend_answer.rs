//! What a backend answers is read within bounds, and a status comes back as it was written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_otlp::check::answer(bytes));

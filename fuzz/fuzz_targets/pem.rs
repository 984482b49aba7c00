//! Nothing of a bundle of certificates that can be used is lost to what cannot, and errors repeat nothing of a key.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_otlp::check::pem(bytes));

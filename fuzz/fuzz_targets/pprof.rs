//! A profile keeps to its limits and is the same when it comes compressed.
#![no_main]

libfuzzer_sys::fuzz_target!(|answer: &[u8]| weir_profile::check::answer(answer));

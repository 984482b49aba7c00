//! Reading, merging and expanding end for any configuration, also one that refers to itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| weir_config::check::expansion(text));

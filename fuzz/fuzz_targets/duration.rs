//! A duration is printed in the form that Go gives it, which is read as the same duration.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| weir_config::check::duration(text));

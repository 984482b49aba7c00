//! A text of YAML is refused at a place that is in it, or stays the same when it is printed and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| weir_config::check::yaml(text));

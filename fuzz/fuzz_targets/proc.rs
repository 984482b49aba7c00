//! A process of any name is read as it is, and no text of /proc makes a reader fail.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| weir_kernel::check::text(text));

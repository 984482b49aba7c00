//! Proxies and the servers that are reached without one are told apart whatever names them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_otlp::check::proxy(&String::from_utf8_lossy(bytes)));

//! The message of a gRPC call is the same however it is cut, and never longer than allowed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_otlp::check::message(bytes));

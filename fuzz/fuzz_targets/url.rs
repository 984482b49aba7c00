//! URLs of servers are used as they are written, shown without what may be secret, and redirects stay on the server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_otlp::check::url(&String::from_utf8_lossy(bytes)));

//! Credentials of callers and lines of htpasswd files are read as they were written, and so are parameters of queries that
//! take the place of headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    weir_extension_basicauth::check::basic_auth(bytes);
    weir_otlp::check::params(&String::from_utf8_lossy(bytes));
});

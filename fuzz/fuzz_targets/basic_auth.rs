//! Credentials of callers and lines of htpasswd files are read as they were written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_extension_basicauth::check::basic_auth(bytes));

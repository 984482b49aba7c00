//! Answers of the kernel are read within their bytes, and are the same when they are written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_kernel::check::datagram(bytes));

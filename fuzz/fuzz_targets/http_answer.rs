//! What a server of configurations answers is read within its bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|answer: &[u8]| weir_config::check::http_answer(answer));

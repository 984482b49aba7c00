//! A request that passes the validation is the same to all of its readers: prost, views, JSON, splitting, editing.
#![no_main]

libfuzzer_sys::fuzz_target!(|request: &[u8]| weir_pdata::check::protobuf(request));

//! Events and metrics of any numbers and times are judged within bounds, and every number in a verdict is one.
#![no_main]

libfuzzer_sys::fuzz_target!(|request: &[u8]| weir_processor_leak_detection::check::evidence(request));

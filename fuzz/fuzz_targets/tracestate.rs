//! A trace state that keeps the rules means the same when it is written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| weir_processor_probabilistic_sampler::check_trace_state(text));

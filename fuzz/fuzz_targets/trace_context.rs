//! The trace that a caller's headers name, in W3C's form and in B3, and its state mean the same when they are written and
//! read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    weir_processor_probabilistic_sampler::check_trace_state(text);
    weir_telemetry::check_trace_context(text);
});

//! A pattern of Go keeps its meaning when it is rewritten; the first line is the pattern, the rest a text.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| {
    let (pattern, text) = input.split_once('\n').unwrap_or((input, ""));
    weir_processing::check_regex(pattern, text);
});

//! What is wrong with a PEM text, in words that repeat nothing of it: where ends of lines got lost, as in a variable of the
//! environment, the line that is wrong is the whole key.

use rustls::pki_types::pem::Error;

pub(super) fn words(e: &Error) -> String {
    const LINES: &str =
        "each of `-----BEGIN ...-----`, what it holds and `-----END ...-----` has a line of its own";
    match e {
        Error::MissingSectionEnd { .. } => format!("missing section end marker: {LINES}"),
        Error::IllegalSectionStart { .. } => format!("illegal section start: {LINES}"),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{chain, private_key};

    #[test]
    fn a_key_whose_ends_of_lines_were_lost_is_not_repeated() {
        let line = "-----BEGIN PRIVATE KEY-----hunter2-----END PRIVATE KEY-----";
        for text in [line, "-----BEGIN PRIVATE KEY-----hunter2"] {
            for error in [private_key(text.as_bytes()).err(), chain(text.as_bytes()).err()] {
                let error = error.expect("refused");
                let is_said =
                    error.contains("hunter2") || error.contains(&format!("{:?}", b"hunter2")[1..15]);
                assert!(!is_said && error.contains("has a line of its own"), "{error}");
            }
        }
    }
}

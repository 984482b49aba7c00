//! Which valid word was probably meant.

/// The longest word that is compared; longer ones are not typing errors.
const LONGEST: usize = 128;

/// The valid word nearest to `word`, if one is near enough to be a typing error: one edit for words of up to four
/// letters, else a third of the letters. Case and `-` against `_` count as no difference.
pub(crate) fn nearest<S: AsRef<str>>(word: &str, valid: &[S]) -> Option<String> {
    let wanted = folded(word);
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let limit = (wanted.len() / 3).max(1);
    let candidates = valid.iter().map(AsRef::as_ref).filter(|name| *name != word && !name.is_empty());
    let scored = candidates.filter_map(|name| {
        let distance = edits(&wanted, &folded(name), limit)?;
        Some((distance, name))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, name)| name.to_owned())
}

fn folded(word: &str) -> Vec<char> {
    let lower = word.trim().chars().flat_map(char::to_lowercase);
    lower.map(|letter| if letter == '-' || letter == ' ' { '_' } else { letter }).collect()
}

/// The number of insertions, deletions, replacements and swaps of neighbours between two words, if at most `limit`.
fn edits(left: &[char], right: &[char], limit: usize) -> Option<usize> {
    if left.len().abs_diff(right.len()) > limit || right.len() > LONGEST {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(letter != other);
            let mut best = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && left[row - 1] == *other && right[column - 1] == *letter;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_word_that_was_meant() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("endpont", &["endpoint", "transport"], Some("endpoint")),
            ("htttp", &["grpc", "http"], Some("http")),
            ("grcp", &["grpc", "http"], Some("grpc")),
            ("Endpoint", &["endpoint"], Some("endpoint")),
            ("send-batch-size", &["send_batch_size", "timeout"], Some("send_batch_size")),
            ("otlphtp", &["otlp", "otlphttp"], Some("otlphttp")),
            ("banana", &["endpoint", "tls"], None),
            ("", &["tls"], None),
            ("tls", &["tls"], None),
            ("x", &["yy"], None),
        ];
        for (word, valid, expected) in cases {
            assert_eq!(nearest(word, valid).as_deref(), *expected, "{word}");
        }
    }

    #[test]
    fn a_word_of_a_megabyte_is_not_compared() {
        assert_eq!(nearest(&"a".repeat(1 << 20), &["a"]), None);
    }
}

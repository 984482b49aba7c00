//! What the targets in `fuzz/` check, over their corpus and over random changes of it.

use std::sync::LazyLock;

use proptest::prelude::*;

use crate::check;
use crate::corpus::corpus;

fn texts(target: &str) -> Vec<String> {
    corpus(target).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

static YAML: LazyLock<Vec<String>> = LazyLock::new(|| texts("yaml"));
static EXPANSION: LazyLock<Vec<String>> = LazyLock::new(|| texts("expansion"));

/// One change of a text: what stands from a place on is replaced, doubled or taken away.
#[derive(Debug, Clone)]
struct Change {
    at: prop::sample::Index,
    cut: usize,
    put: String,
    again: bool,
}

fn change() -> impl Strategy<Value = Change> {
    let words = prop::sample::select(vec![
        "", "\n", "  ", "- ", ": ", "{", "}", "[", "]", "${", "}", "$", "::", "&a ", "*a", "<<: ", "'", "\"",
        "|\n", "#", "!!str ", "\u{0}", "\t", "env:", "file:a", "yaml:", ":-", "\u{feff}", "\r", "?", "=",
    ]);
    (any::<prop::sample::Index>(), 0..4_usize, words, any::<bool>())
        .prop_map(|(at, cut, put, again)| Change { at, cut, put: put.to_owned(), again })
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for change in changes {
        let start = change.at.index(letters.len() + 1);
        let end = (start + change.cut).min(letters.len());
        let tail: Vec<char> = if change.again { letters[start..].to_vec() } else { Vec::new() };
        letters.splice(start..end, change.put.chars().chain(tail));
        // Doubling again and again would test the limit of size only.
        letters.truncate(4096);
    }
    letters.into_iter().collect()
}

#[test]
fn the_corpora_are_read_as_they_were_written() {
    texts("yaml").iter().for_each(|text| check::yaml(text));
    texts("expansion").iter().for_each(|text| check::expansion(text));
    texts("duration").iter().for_each(|text| check::duration(text));
    corpus("http_answer").iter().for_each(|answer| check::http_answer(answer));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changes_of_the_yaml_corpus_are_read_or_refused(
        which in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..6)
    ) {
        check::yaml(&changed(which.get::<String>(&YAML), &changes));
    }

    #[test]
    fn changes_of_the_expansion_corpus_are_read_or_refused(
        which in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..6)
    ) {
        check::expansion(&changed(which.get::<String>(&EXPANSION), &changes));
    }
}

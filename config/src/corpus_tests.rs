//! What the targets in `fuzz/` check, over their corpus and over random changes of it.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::{Env, Request, SourceId, resolve, yaml};

/// The text is a variable and a file as well as the configuration.
struct World<'a>(&'a str);

impl Env for World<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (name != "UNSET").then(|| self.0.to_owned())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "a" { Ok(self.0.into()) } else { Err("no such file or directory".to_owned()) }
    }

    fn http(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("no network".to_owned())
    }
}

fn read_yaml(text: &str) {
    if let Err(error) = yaml::parse(text, SourceId::default()) {
        let span = error.span.expect("an error of YAML has a place");
        let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
        assert!(usize::try_from(span.line).unwrap() <= lines + 1, "{span:?} of {text:?}");
    }
}

fn expand(text: &str) {
    let uris = ["file:a".to_owned(), format!("yaml:{text}")];
    let sets = [text.to_owned()];
    let append_lists = text.len().is_multiple_of(2);
    let request = Request { uris: &uris, sets: &sets, env: &World(text), append_lists };
    if let Err(diagnostics) = resolve(request) {
        assert!(!diagnostics.errors().is_empty());
        // Neither form of the errors may fail on a text that is no text for people.
        drop((diagnostics.render(false), diagnostics.to_json(), diagnostics.to_string()));
    }
}

fn corpus(target: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(texts.len() > 10, "{} is nearly empty", folder.display());
    texts
}

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
fn the_corpus_is_read_without_panic() {
    corpus("yaml").iter().for_each(|text| read_yaml(text));
    corpus("expansion").iter().for_each(|text| expand(text));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changes_of_the_yaml_corpus_are_read_without_panic(
        which in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..6)
    ) {
        let corpus = corpus("yaml");
        read_yaml(&changed(which.get::<String>(&corpus), &changes));
    }

    #[test]
    fn changes_of_the_expansion_corpus_are_read_without_panic(
        which in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..6)
    ) {
        let corpus = corpus("expansion");
        expand(&changed(which.get::<String>(&corpus), &changes));
    }
}

//! The kept inputs of a fuzz target, for the unit tests of the crates that are fuzzed: they bring this file in by its path.

/// The inputs of `fuzz/corpus/TARGET`, in the order of their names.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let root =
        here.ancestors().find(|folder| folder.join("fuzz/corpus").is_dir()).expect("a folder of corpora");
    let files = std::fs::read_dir(root.join("fuzz/corpus").join(target)).expect("a corpus");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("read")).collect();
    let size: usize = inputs.iter().map(Vec::len).sum();
    assert!(inputs.len() > 5, "the corpus of {target} is nearly empty");
    assert!(
        inputs.len() <= 150 && size <= 64 << 10,
        "the corpus of {target} has grown: {} files, {size} bytes",
        inputs.len()
    );
    inputs
}

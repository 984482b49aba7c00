//! Configurations from the wild: each is accepted, or names component types that are not here, or is refused by a Go
//! Collector as well, in the same words.
//!
//! They lie in `shared/configs/files` beside the checkout, or where `WEIR_CONFIGS` says; without that folder there is
//! nothing to test. `BLESS=1 cargo test -p weir --test agent real_configs` writes the table of types that are missing into
//! docs/compatibility.md.

mod prune;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::conformance::root;
use crate::oracle::{Call, Program};
use prune::{Known, prune};

const BEGIN: &str = "<!-- missing types: begin -->\n";
const END: &str = "<!-- missing types: end -->";

/// A configuration and what this program says of it.
struct Judged {
    name: String,
    text: String,
    env: BTreeMap<String, String>,
    /// `section: type` of the types that are not here.
    missing: BTreeSet<String>,
    /// Errors of other kinds.
    others: Vec<Json>,
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("WEIR_CONFIGS").map(PathBuf::from);
    let beside = || Some(root().parent()?.join("shared/configs/files"));
    folder.or_else(beside).filter(|folder| folder.is_dir())
}

/// All configurations of the folder; none without it.
#[expect(clippy::print_stderr, reason = "a test that finds nothing to test says so")]
fn judged() -> Vec<Judged> {
    let Some(folder) = folder() else {
        eprintln!("skipped: there is no folder shared/configs/files beside the checkout");
        return Vec::new();
    };
    let entries = fs::read_dir(&folder).expect("the folder is read");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| judge(file)).collect()
}

fn judge(file: &Path) -> Judged {
    let text = fs::read_to_string(file).expect("the configuration is read");
    judge_text(&file.file_name().expect("a name").to_string_lossy(), text)
}

fn judge_text(name: &str, text: String) -> Judged {
    let env = variables(&text);
    let call = Call {
        configs: vec![text.clone()],
        env: env.clone(),
        args: vec!["--error-format=json".to_owned(), PROFILES.to_owned()],
        ..Call::default()
    };
    let (accepted, _, said) = call.run(&Program::weir(), &["validate"]);
    let said: Vec<Json> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{name}: {line}")))
        .collect();
    let errors: Vec<Json> = said.into_iter().filter(|error| error["severity"] == "error").collect();
    assert_eq!(accepted, errors.is_empty(), "{name}: {errors:?}");
    // Whether a limit fits the machine is no matter of the configuration.
    let errors = errors.into_iter().filter(|error| !error.to_string().contains(ABOVE_THE_MACHINE));
    // What the Collector has removed is no type that is missing here.
    let lacks = |error: &Json| {
        let words = error["collector"].as_str().unwrap_or_default();
        error["kind"] == "unknown_type" && words.contains("unknown type: ")
    };
    let (types, others): (Vec<Json>, Vec<Json>) = errors.partition(lacks);
    Judged { name: name.to_owned(), text, env, missing: types.iter().map(missing).collect(), others }
}

/// `section: type` of an error about an unknown type.
fn missing(error: &Json) -> String {
    let path = error["path"].as_str().unwrap_or_default();
    let (section, id) = path.split_once("::").unwrap_or_default();
    let kind = id.split('/').next().unwrap_or_default().trim();
    format!("{}: {kind}", section.trim_end_matches('s'))
}

/// What is refused here and accepted there, and why.
const ON_PURPOSE: [(&str, &str); 4] = [
    ("endpoint must be a URL that begins with http:// or https://", "there each export fails instead"),
    ("no storage client extension found", "there the start fails instead"),
    ("authenticator not found", "there the start fails instead"),
    (ABOVE_THE_MACHINE, "there the kernel ends the process instead"),
];

const ABOVE_THE_MACHINE: &str = "is above the memory that this process may use";

const PROFILES: &str = "--feature-gates=service.profilesSupport";

/// Something for each variable that is referred to without a default.
fn variables(text: &str) -> BTreeMap<String, String> {
    let references = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    let names = references.map(|inner| inner.strip_prefix("env:").unwrap_or(inner));
    let is_name = |name: &&str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    names.filter(is_name).map(|name| (name.to_owned(), plausible(name).to_owned())).collect()
}

fn plausible(name: &str) -> &'static str {
    let name = name.to_ascii_uppercase();
    let ends = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match () {
        () if ends(&["PORT"]) => "4317",
        () if ends(&["URL", "URI", "ENDPOINT", "ADDR", "SERVER"]) => "http://localhost:4317",
        () if ends(&["HOST", "IP"]) => "localhost",
        () if ends(&["LEVEL"]) => "info",
        () if ends(&["TIMEOUT", "INTERVAL", "DURATION"]) => "1s",
        () => "1",
    }
}

#[test]
fn each_is_accepted_or_lacks_types_or_is_refused_by_the_collector_too() {
    let all = judged();
    if all.is_empty() {
        return;
    }
    let [weir, collector] = Program::both();
    let known = Known::to_both(&weir, &collector);
    let wrong: Vec<String> = all
        .iter()
        .filter(|one| !one.others.is_empty())
        .filter_map(|one| disagreement(one, &known, &weir, &collector))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Where the two judge a configuration differently, once what only one of them has is taken out of it.
fn disagreement(one: &Judged, known: &Known, weir: &Program, collector: &Program) -> Option<String> {
    let text = prune(&one.text, known).unwrap_or_else(|| one.text.clone());
    let call = |args: Vec<String>| Call {
        configs: vec![text.clone()],
        env: one.env.clone(),
        args,
        ..Call::default()
    };
    let gate = PROFILES.to_owned();
    let (ours, _, said) = call(vec![gate.clone(), "--error-format=json".to_owned()]).run(weir, &["validate"]);
    let (theirs, _, words) = call(vec![gate]).run(collector, &["validate"]);
    if ours == theirs || ON_PURPOSE.iter().any(|(words, _)| said.contains(words)) {
        return None;
    }
    let (a, b) = if ours { ("accepted here", "refused there") } else { ("refused here", "accepted there") };
    Some(format!("{}: {a}, {b}:\n{said}{words}", one.name))
}

#[test]
fn the_configuration_of_the_collectors_packages_lacks_nothing_but_types() {
    let own = judge_text("packages.yaml", include_str!("real_configs/packages.yaml").to_owned());
    assert!(own.others.is_empty(), "{:?}", own.others);
    let [weir, collector] = Program::both();
    let rest = prune(&own.text, &Known::to_both(&weir, &collector)).expect("it is a mapping");
    for program in [weir, collector] {
        let call = Call { configs: vec![rest.clone()], ..Call::default() };
        let (accepted, _, said) = call.run(&program, &["validate"]);
        assert!(accepted, "{}: {said}", program.name);
    }
}

#[test]
fn the_table_of_missing_types_is_up_to_date() {
    let all = judged();
    if all.is_empty() {
        return;
    }
    let path = root().join("docs/compatibility.md");
    let page = fs::read_to_string(&path).expect("the page is read");
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (_, after) = rest.split_once(END).expect("the place ends");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table(&all));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &wanted).expect("the page is written");
    }
    let written = fs::read_to_string(&path).expect("the page is read");
    assert!(written == wanted, "docs/compatibility.md is out of date (BLESS=1 writes it)");
}

fn table(all: &[Judged]) -> String {
    let accepted = all.iter().filter(|one| one.missing.is_empty() && one.others.is_empty()).count();
    let lacking = all.iter().filter(|one| !one.missing.is_empty()).count();
    let refused = all.len() - accepted - lacking;
    let mut types: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for one in all {
        for kind in &one.missing {
            let (named, completed) = types.entry(kind).or_default();
            *named += 1;
            *completed += usize::from(one.missing.len() == 1);
        }
    }
    let mut rows: Vec<_> = types.into_iter().collect();
    rows.sort_by_key(|(kind, (named, completed))| (std::cmp::Reverse((*completed, *named)), *kind));
    let mut text = format!(
        "Of {} configurations from public repositories, {accepted} are accepted as they are, {lacking} name types that are \
         not here, and {refused} are refused for other reasons, by the Collector too but for the differences above.\n\n\
         | type that is not here | configurations that name it | of these, lack nothing else |\n|---|---|---|\n",
        all.len()
    );
    let (shown, rest) = rows.split_at(rows.len().min(40));
    for (kind, (named, completed)) in shown {
        writeln!(text, "| {kind} | {named} | {completed} |").expect("a text takes text");
    }
    if !rest.is_empty() {
        writeln!(text, "| {} others | | |", rest.len()).expect("a text takes text");
    }
    text
}

//! The same configurations given to this program and to a Go Collector: what they read, and the words in which they
//! refuse. The cases are data, in the folder of this module.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use crate::backends::servers::install;

pub(crate) const BASE: &str = include_str!("oracle/base.yaml");

/// Variables of all cases.
const ENV: [(&str, &str); 7] = [
    ("WORD", "word"),
    ("NUMBER", "3044"),
    ("LIST", "[a, b]"),
    ("NAME", "WORD"),
    ("OUTER", "(${env:WORD})"),
    ("EMPTY", ""),
    ("TIME", "4s"),
];

/// A program that takes the Collector's command line.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
}

impl Program {
    pub(crate) fn weir() -> Program {
        Program { name: "weir", binary: env!("CARGO_BIN_EXE_weir").into() }
    }

    pub(crate) fn both() -> [Program; 2] {
        let [folder] = install(["otelcol"]);
        let collector = Program { name: "otelcol", binary: folder.join("otelcol") };
        [Program::weir(), collector]
    }
}

/// One call of a program.
#[derive(Default)]
pub(crate) struct Call {
    /// Files in its folder.
    pub(crate) files: BTreeMap<String, String>,
    /// Configurations, in order.
    pub(crate) configs: Vec<String>,
    /// Further variables.
    pub(crate) env: BTreeMap<String, String>,
    /// Further arguments.
    pub(crate) args: Vec<String>,
}

impl Call {
    /// Success, standard output, standard error.
    pub(crate) fn run(&self, program: &Program, command: &[&str]) -> (bool, String, String) {
        let dir = TempDir::new().expect("a temporary folder");
        let write =
            |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("the file is written");
        let mut call = Command::new(&program.binary);
        call.current_dir(dir.path()).stdin(Stdio::null()).args(command);
        for (number, config) in self.configs.iter().enumerate() {
            write(&format!("{number}.yaml"), config);
            call.arg(format!("--config={number}.yaml"));
        }
        self.files.iter().for_each(|(name, text)| write(name, text));
        call.args(&self.args).env_clear().envs(ENV).envs(&self.env).env("NO_COLOR", "1");
        let output = call.output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// The effective configuration.
    pub(crate) fn effective(&self, program: &Program) -> Value {
        let (_, printed, said) = self.run(program, &["print-config", "--format=json", "--mode=unredacted"]);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{}: {error}\n{said}", program.name))
    }
}

fn cases<T: DeserializeOwned>(text: &str) -> Vec<T> {
    serde_yaml_ng::from_str(text).expect("the cases are read")
}

/// The value at a path; null where there is none, as the Collector leaves zero values out.
fn at<'v>(root: &'v Value, path: &str) -> &'v Value {
    path.split("::").try_fold(root, |value, step| value.get(step)).unwrap_or(&Value::Null)
}

/// Whether a value is what was expected. One that is left out is zero.
fn is(found: &Value, expected: &Value) -> bool {
    let zero = match expected {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        _ => false,
    };
    match (found, expected) {
        (Value::Null, _) if zero => true,
        (Value::Number(found), Value::Number(expected)) => found.as_f64() == expected.as_f64(),
        _ => found == expected,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueCase {
    env: String,
    into: BTreeMap<String, Value>,
}

/// An exporter or processor with the value of a variable in an option of a type, and the path of the option.
fn option_of(kind: &str, id: &str, reference: &str) -> (String, String) {
    let exporter = |option: &str, value: &str| {
        format!("exporters::otlp_grpc/{id}: {{endpoint: \"a:1\", {option}: '{value}'}}\n")
    };
    let processor = |option: &str| format!("processors::batch/{id}: {{{option}: '{reference}'}}\n");
    let (text, path) = match kind {
        "int" => (processor("send_batch_size"), "processors::batch/ID::send_batch_size"),
        "duration" => (processor("timeout"), "processors::batch/ID::timeout"),
        "list" => (processor("metadata_keys"), "processors::batch/ID::metadata_keys"),
        "string" => (exporter("authority", reference), "exporters::otlp_grpc/ID::authority"),
        "text" => (exporter("authority", &format!("<{reference}>")), "exporters::otlp_grpc/ID::authority"),
        "bool" => (
            exporter("sending_queue::block_on_overflow", reference),
            "exporters::otlp_grpc/ID::sending_queue::block_on_overflow",
        ),
        "float" => (
            exporter("retry_on_failure::multiplier", reference),
            "exporters::otlp_grpc/ID::retry_on_failure::multiplier",
        ),
        other => panic!("no option of the type {other}"),
    };
    (text, path.replace("ID", id))
}

/// All cases of values in one configuration, and for each path what is expected and the variable.
fn all_values() -> (Call, Vec<(String, Value, String)>) {
    let (mut call, mut expected, mut config) = (Call::default(), Vec::new(), String::new());
    for (number, case) in cases::<ValueCase>(include_str!("oracle/values.yaml")).iter().enumerate() {
        call.env.insert(format!("V{number}"), case.env.clone());
        call.env.insert(format!("V{number}_INDIRECT"), format!("${{env:V{number}}}"));
        for (kind, value) in &case.into {
            for (way, variable) in [("d", format!("V{number}")), ("i", format!("V{number}_INDIRECT"))] {
                let id = format!("{number}{way}{kind}");
                let (text, path) = option_of(kind, &id, &format!("${{env:{variable}}}"));
                config += &text;
                let value = match kind.as_str() {
                    // A floating point option is printed with all digits.
                    "float" => value.as_f64().map_or(Value::Null, Value::from),
                    _ => value.clone(),
                };
                expected.push((path, value, case.env.clone()));
            }
        }
    }
    call.configs = vec![BASE.to_owned(), config];
    (call, expected)
}

#[test]
fn a_value_of_a_variable_is_read_as_the_collector_reads_it() {
    let (call, expected) = all_values();
    for program in Program::both() {
        let read = call.effective(&program);
        let wrong: Vec<String> = expected
            .iter()
            .filter(|(path, value, _)| !is(at(&read, path), value))
            .map(|(path, value, env)| format!("{env:?} at {path}: {} instead of {value}", at(&read, path)))
            .collect();
        assert!(wrong.is_empty(), "{}:\n{}", program.name, wrong.join("\n"));
    }
    assert!(expected.len() > 200, "{} cases", expected.len());
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceCase {
    write: String,
    read: String,
}

#[test]
fn references_in_texts_are_expanded_as_the_collector_expands_them() {
    let cases: Vec<ReferenceCase> = cases(include_str!("oracle/references.yaml"));
    let mut config = String::new();
    for (number, case) in cases.iter().enumerate() {
        config +=
            &format!("exporters::otlp_grpc/{number}: {{endpoint: \"a:1\", authority: '{}'}}\n", case.write);
    }
    let call = Call { configs: vec![BASE.to_owned(), config], ..Call::default() };
    for program in Program::both() {
        let read = call.effective(&program);
        for (number, case) in cases.iter().enumerate() {
            let found = at(&read, &format!("exporters::otlp_grpc/{number}::authority"));
            assert!(is(found, &case.read.clone().into()), "{}: {} became {found}", program.name, case.write);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergeCase {
    name: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    configs: Vec<String>,
    #[serde(default)]
    sets: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    read: BTreeMap<String, Value>,
}

#[test]
fn configurations_and_flags_are_laid_over_each_other_as_in_the_collector() {
    let programs = Program::both();
    for case in cases::<MergeCase>(include_str!("oracle/merges.yaml")) {
        let mut args = case.args;
        args.extend(case.sets.iter().map(|set| format!("--set={set}")));
        let configs = std::iter::once(BASE.to_owned()).chain(case.configs).collect();
        let call = Call { files: case.files, configs, args, ..Call::default() };
        for program in &programs {
            let read = call.effective(program);
            for (path, expected) in &case.read {
                let found = at(&read, path);
                assert!(is(found, expected), "{}: {}: {path} is {found}", program.name, case.name);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedCase {
    /// Laid over the base.
    add: Option<String>,
    /// Alone.
    whole: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The core of the Collector's words.
    says: String,
    /// Ours where they differ.
    ours: Option<String>,
    /// Why they do.
    why: Option<String>,
}

impl RefusedCase {
    fn call(&self) -> Call {
        let configs = match (&self.add, &self.whole) {
            (Some(add), None) => vec![BASE.to_owned(), add.clone()],
            (None, Some(whole)) => vec![whole.clone()],
            _ => vec![BASE.to_owned()],
        };
        Call { configs, env: self.env.clone(), args: self.args.clone(), ..Call::default() }
    }

    /// What went otherwise than expected.
    fn check(&self, program: &Program) -> Option<String> {
        let (accepted, _, said) = self.call().run(program, &["validate"]);
        let words = self.ours.as_ref().filter(|_| program.name == "weir").unwrap_or(&self.says);
        if !accepted && said.contains(words.as_str()) {
            return None;
        }
        let config = self.add.as_ref().or(self.whole.as_ref());
        let what = if accepted { "accepts" } else { "does not say" };
        Some(format!("{} {what} {words:?} of {config:?} {:?}:\n{said}", program.name, self.args))
    }
}

#[test]
fn what_the_collector_refuses_is_refused_in_its_words() {
    let cases: Vec<RefusedCase> = cases(include_str!("oracle/refused.yaml"));
    assert!(
        cases.iter().all(|case| case.ours.is_some() == case.why.is_some()),
        "a difference has its reason"
    );
    let wrong: Vec<String> = Program::both()
        .iter()
        .flat_map(|program| cases.iter().filter_map(move |case| case.check(program)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * cases.len(), wrong.join("\n"));
}

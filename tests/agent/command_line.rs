//! The command line, beside a Go Collector's where it has the same.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::oracle::{BASE, Call, Program};
use crate::support::{LONG, wait_until};

const GOOD: &str = "receivers: {nop: , nop/2: }\nprocessors: {batch: }\nexporters: {nop: }\n\
                    service: {pipelines: {traces: {receivers: [nop], exporters: [nop]}}}\n";

fn call(configs: &[&str], args: &[&str]) -> Call {
    Call {
        configs: configs.iter().map(|config| (*config).to_owned()).collect(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..Call::default()
    }
}

/// Options that print-config shows otherwise than the Collector, by the end of their paths.
const OTHERWISE: [(&str, &str); 6] = [
    ("::verbosity", "left out there when it is basic"),
    ("::sizer", "printed as {} there"),
    ("memory_limiter::max_gc_interval_when_hard_limited", "an option of later releases"),
    ("memory_limiter::max_gc_interval_when_soft_limited", "an option of later releases"),
    ("telemetry::resource::schema_url", "of the Collector's own telemetry"),
    ("telemetry::traces::level", "left out there when traces are off"),
];

/// Values by path; those that are nothing are left out, as the Collector leaves out some of them.
fn leaves(value: &Value, path: &str, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            leaves(value, &format!("{path}{}{key}", if path.is_empty() { "" } else { "::" }), into);
        }),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(place, item)| leaves(item, &format!("{path}::{place}"), into));
        }
        Value::Null | Value::Bool(false) => {}
        Value::String(text) if text.is_empty() || text == "0s" => {}
        Value::Number(number) if number.as_f64() == Some(0.0) => {}
        other => into.push((path.to_owned(), other.clone())),
    }
}

#[test]
fn the_effective_configuration_is_the_collectors() {
    let configs = [
        BASE,
        "receivers: {otlp: {protocols: {grpc: {include_metadata: true, keepalive: {enforcement_policy: {min_time: 10s}}}, \
         http: {endpoint: \"localhost:0\", cors: {allowed_origins: [a]}, max_request_body_size: 5}}}}\n\
         exporters: {otlp: {endpoint: \"a:1\", headers: {x: secret}, tls: {insecure: true}, compression: zstd, keepalive: {time: 20s, timeout: 3s}}}\n",
        "exporters: {otlp_http: {sending_queue: {batch: {}, sizer: bytes, queue_size: 1000000}, compression: zstd, compression_params: {level: 5}, \
         timeout: 1m30s}, debug: {verbosity: detailed}, debug/2: {sending_queue: {}}}\n\
         processors: {batch: {metadata_keys: [a, b]}, memory_limiter: {check_interval: 1s, limit_percentage: 50}}\n",
        "connectors: {forward: , forward/2: }\nextensions: {health_check: {path: /up}, zpages: , zpages/2: {endpoint: \"a:1\", cors: {allowed_origins: [b]}}, pprof: , \
         bearertokenauth: {token: x}, basicauth: {client_auth: {username: a, password: b}}}\n\
         service: {extensions: [health_check, zpages], pipelines: {logs/2: {receivers: [otlp], exporters: [debug, otlp_http]}}, \
         telemetry: {logs: {level: debug, encoding: json, initial_fields: {a: b}}, metrics: {level: detailed}}}\n",
    ];
    let both = Program::both();
    for number in 1..=configs.len() {
        let call = call(&configs[..number], &[]);
        let read = both.each_ref().map(|program| {
            let mut all = Vec::new();
            leaves(&call.effective(program), "", &mut all);
            all.retain(|(path, _)| !OTHERWISE.iter().any(|(end, _)| path.ends_with(end)));
            all
        });
        let [ours, theirs] = &read;
        let only = |these: &[(String, Value)], those: &[(String, Value)]| -> Vec<String> {
            let other = these.iter().filter(|leaf| !those.contains(leaf));
            other.map(|(path, value)| format!("{path}: {value}")).collect()
        };
        let (ours_only, theirs_only) = (only(ours, theirs), only(theirs, ours));
        assert!(
            ours_only.is_empty() && theirs_only.is_empty(),
            "{number}: only here {ours_only:#?}, only there {theirs_only:#?}"
        );
    }
}

#[test]
fn secrets_are_printed_only_when_asked_for() {
    let config = "exporters: {otlp_grpc: {headers: {authorization: hunter2}}}";
    for program in Program::both() {
        for format in ["yaml", "json"] {
            let format = format!("--format={format}");
            let print = |mode| call(&[BASE, config], &[&format, mode]).run(&program, &["print-config"]).1;
            assert!(!print("--mode=redacted").contains("hunter2"), "{}", program.name);
            assert!(print("--mode=redacted").contains("[REDACTED]"), "{}", program.name);
            assert!(print("--mode=unredacted").contains("hunter2"), "{}", program.name);
        }
    }
}

#[test]
fn print_config_has_the_form_of_the_collectors() {
    let text = |program: &Program| call(&[BASE], &[]).run(program, &["print-config"]).1;
    let [weir, collector] = Program::both().map(|program| text(&program));
    let pipelines = |text: &str| {
        let pipelines =
            text.split("    pipelines:\n").nth(1).and_then(|rest| rest.split("    telemetry:").next());
        pipelines.map(str::to_owned).expect("pipelines are printed")
    };
    assert_eq!(pipelines(&weir), pipelines(&collector));
    assert!(weir.ends_with("\n\n") && collector.ends_with("\n\n"));
}

#[test]
fn print_config_reads_without_checking_when_it_is_told_to() {
    let config = "processors: {memory_limiter: }";
    for program in Program::both() {
        let checked = call(&[BASE, config], &[]).run(&program, &["print-config"]);
        assert!(!checked.0 && checked.2.contains("Error: invalid configuration: "), "{}", checked.2);
        let unchecked = call(&[BASE, config], &["--validate=false"]).run(&program, &["print-initial-config"]);
        assert!(unchecked.0 && unchecked.1.contains("limit_mib: 0"), "{}", unchecked.2);
        for (flag, words) in [
            ("--mode=x", "Error: invalid mode \"x\": modes are: redacted, unredacted"),
            ("--format=x", "Error: unrecognized print format: x"),
        ] {
            let (ok, printed, said) = call(&[BASE], &[flag]).run(&program, &["print-config"]);
            assert!(!ok && printed.is_empty() && said.contains(words), "{}: {said}", program.name);
        }
    }
}

#[test]
fn a_time_for_the_stop_that_is_none_is_refused_with_the_flag_and_how_one_is_written() {
    for (flag, words) in [
        ("--shutdown-timeout=10", "missing unit in duration \"10\"; a duration is a number with a unit"),
        ("--shutdown-timeout=-1s", "\"-1s\" is negative"),
        ("--shutdown-timeout=soon", "invalid duration \"soon\""),
    ] {
        let (ok, printed, said) = call(&[BASE], &[flag]).run(&Program::weir(), &[]);
        assert!(!ok && printed.is_empty(), "{said}");
        assert!(
            said.starts_with("Error: ") && said.contains("--shutdown-timeout") && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn feature_gates_are_listed_and_shown_as_in_the_collector() {
    for program in Program::both() {
        let (_, table, _) = Call::default().run(&program, &["featuregate"]);
        let columns: Vec<&str> = table.lines().next().expect("a head").split_whitespace().collect();
        assert_eq!(columns, ["ID", "Enabled", "Stage", "Description"]);
        assert!(table.contains("\nservice.AllowNoPipelines "), "{table}");
        let (_, one, _) = Call::default().run(&program, &["featuregate", "service.AllowNoPipelines"]);
        let begins = "Feature: service.AllowNoPipelines\nEnabled: false\nStage: Alpha\nDescription: ";
        assert!(one.starts_with(begins), "{one}");
        assert!(one.ends_with("From Version: v0.122.0\nTo Version: v<nil>\n"), "{one}");
        let (ok, _, said) = Call::default().run(&program, &["featuregate", "x"]);
        assert_eq!((ok, said.as_str()), (false, "Error: feature \"x\" not found\n"));
    }
}

#[test]
fn components_are_listed_in_the_collectors_form() {
    for program in Program::both() {
        let (_, listed, _) = Call::default().run(&program, &["components"]);
        let listed: serde_yaml_ng::Value = serde_yaml_ng::from_str(&listed).expect("YAML");
        let find = |section: &str, name: &str| {
            let list = listed[section].as_sequence().expect(section);
            list.iter().find(|one| one["name"] == name).cloned().expect(name)
        };
        let keys = |value: &serde_yaml_ng::Value| {
            let map = value.as_mapping().expect("a mapping");
            map.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(keys(&find("receivers", "otlp")), ["name", "module", "stability"]);
        assert_eq!(keys(&find("receivers", "otlp")["stability"]), ["logs", "metrics", "traces"]);
        assert_eq!(keys(&find("connectors", "forward")["stability"]).len(), 9);
        assert_eq!(find("connectors", "forward")["stability"]["logs-to-traces"], "Undefined");
        assert_eq!(keys(&find("extensions", "zpages")["stability"]), ["extension"]);
        let schemes = listed["providers"].as_sequence().expect("providers").iter();
        let schemes: Vec<&str> = schemes.filter_map(|one| one["scheme"].as_str()).collect();
        assert_eq!(schemes, ["env", "file", "http", "https", "yaml"]);
        let names = listed["exporters"].as_sequence().expect("exporters").iter().map(|one| &one["name"]);
        assert!(
            names.clone().is_sorted_by_key(|name| name.as_str()) && !names.clone().any(|name| name == "otlp")
        );
    }
}

#[test]
fn components_are_as_mature_for_each_signal_as_the_collectors() {
    let [ours, theirs] = Program::both().map(|program| {
        let (_, listed, _) = Call::default().run(&program, &["components"]);
        serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&listed).expect("YAML")
    });
    let mut compared = 0;
    for section in ["receivers", "processors", "exporters", "connectors", "extensions"] {
        for one in ours[section].as_sequence().expect(section) {
            let there = theirs[section].as_sequence().expect(section).iter();
            let Some(other) = there.clone().find(|other| other["name"] == one["name"]) else { continue };
            assert_eq!(one["stability"], other["stability"], "{section} {:?}", one["name"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 21);
}

#[test]
fn scripts_for_the_completion_of_shells_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (ok, script, _) = Call::default().run(&Program::weir(), &["completion", shell]);
        assert!(ok && script.contains("print-config"), "{shell}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["-h"], &["help"], &["help", "validate"], &["--version"], &["-v"]] {
        let (ok, printed, said) = Call::default().run(&Program::weir(), arguments);
        assert!(ok && !printed.is_empty() && said.is_empty(), "{arguments:?}: {said}");
    }
}

#[test]
fn the_name_is_the_collectors_where_it_is_called_so() {
    let version = env!("CARGO_PKG_VERSION");
    let dir = TempDir::new().expect("a temporary folder");
    let link = dir.path().join("otelcol");
    symlink(Program::weir().binary, &link).expect("a link is made");
    let linked = Program { name: "weir", binary: link };
    let (_, printed, _) = Call::default().run(&linked, &["--version"]);
    assert_eq!(printed, format!("otelcol version {version}\n"));
    let (_, _, said) = Call::default().run(&linked, &["foo"]);
    assert_eq!(said, "Error: unknown command \"foo\" for \"otelcol\"\nRun 'otelcol --help' for usage.\n");
    let mut named = call(&[], &[]);
    named.env.insert("WEIR_AS".to_owned(), "otelcol-contrib".to_owned());
    let (_, printed, _) = named.run(&Program::weir(), &["components"]);
    assert!(printed.starts_with("buildinfo:\n    command: otelcol-contrib\n"), "{printed}");
    let (_, printed, _) = Call::default().run(&Program::weir(), &["--version"]);
    assert_eq!(printed, format!("weir version {version}\n"));
}

#[test]
fn what_nothing_uses_is_a_warning_of_validate_with_its_place() {
    let (ok, printed, said) = call(&[GOOD], &[]).run(&Program::weir(), &["validate"]);
    assert!(ok && printed.is_empty());
    for words in [
        "warning: receiver \"nop/2\" is configured but not used",
        "0.yaml:1:20",
        "processor \"batch\"",
        "0.yaml:2:14",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    let (ok, _, said) = call(&[GOOD], &["--error-format=json"]).run(&Program::weir(), &["validate"]);
    let notes: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(ok && notes.len() == 2 && notes.iter().all(|note| note["severity"] == "warning"), "{said}");
}

#[test]
fn unknown_options_can_be_let_pass_with_a_warning() {
    let config = "processors: {batch: {time_out: 1s}}";
    let (ok, _, said) = call(&[BASE, config], &[]).run(&Program::weir(), &["validate"]);
    assert!(!ok && said.contains("error: unknown field `time_out`"), "{said}");
    let (ok, _, said) = call(&[BASE, config], &["--strict=false"]).run(&Program::weir(), &["validate"]);
    assert!(ok && said.contains("warning: unknown field `time_out`"), "{said}");
    assert!(said.contains("1.yaml:1:22") && said.contains("did you mean `timeout`?"), "{said}");
    let wrong = "processors: {batch: {time_out: 1s, timeout: x}}";
    let (ok, _, said) = call(&[BASE, wrong], &["--strict=false"]).run(&Program::weir(), &["validate"]);
    assert!(!ok && said.contains("invalid duration"), "a wrong value stays one: {said}");
}

#[test]
fn folders_and_several_files_are_checked_one_by_one() {
    let dir = TempDir::new().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    std::fs::create_dir(dir.path().join("below")).expect("made");
    write("good.yaml", BASE);
    write("below/bad.yml", &BASE.replace("batch:", "bach:"));
    write("below/notes.txt", "no YAML: [");
    let run = |paths: &[&str]| {
        let mut command = Command::new(Program::weir().binary);
        let output =
            command.current_dir(dir.path()).arg("validate").args(paths).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["."]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("bad.yml:3:") && said.contains("1 of 2 configurations are wrong"), "{said}");
    assert_eq!(run(&["good.yaml"]).0, Some(0));
    assert_eq!(run(&["good.yaml", "below/bad.yml"]).0, Some(1));
    let (code, said) = run(&["no-such-folder"]);
    assert!(code == Some(1) && said.contains("no such file or directory"), "{said}");
}

#[test]
fn without_pipelines_extensions_run_when_the_gate_is_on() {
    let config = "extensions: {health_check: {endpoint: \"127.0.0.1:0\"}}\n\
                  service: {extensions: [health_check], telemetry: {metrics: {level: none}}}\n";
    let dir = TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("c.yaml"), config).expect("written");
    let log = std::fs::File::create(dir.path().join("log")).expect("made");
    let gates = "--feature-gates=service.AllowNoPipelines,pdata.useProtoPooling";
    let mut command = Command::new(Program::weir().binary);
    command.current_dir(dir.path()).args(["--config=c.yaml", gates]).stdin(Stdio::null()).stderr(log);
    let mut child = command.spawn().expect("it starts");
    let log = || std::fs::read_to_string(dir.path().join("log")).expect("the log is read");
    let is_there = |log: &String| {
        log.contains("Everything is ready.")
            && log.contains("Health Check state change\t{")
            && log.contains("\"status\": \"ready\"")
    };
    let ready = wait_until(LONG, || Some(log()).filter(is_there));
    crate::support::kill("TERM", child.id());
    let status = child.wait().expect("it ends");
    assert!(ready.is_some() && status.success(), "{}", log());
    assert!(log().contains("Feature gate is accepted, without effect"), "{}", log());
    assert!(log().contains("\"status\": \"unavailable\""), "{}", log());
}

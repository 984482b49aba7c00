use std::collections::HashMap;

use super::*;
use crate::{
    ConfigValue, Env, Node, Path, REDACTED, Request, Sources, from_node, net, parse_body, resolve, validate,
};

struct World {
    variables: HashMap<&'static str, &'static str>,
    files: HashMap<&'static str, &'static str>,
}

impl Env for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        self.files
            .get(path)
            .map(|text| text.as_bytes().to_vec())
            .ok_or_else(|| format!("open {path}: no such file or directory"))
    }
}

fn world(text: &'static str) -> World {
    World {
        variables: [("LIMIT", "lots"), ("SERVER", "{tls: {}, endpoint: 5}"), ("TOKEN", "12345678")].into(),
        files: [("weir.yaml", text), ("server.yaml", "transport: tpc\n")].into(),
    }
}

/// The errors of a server's settings under `receivers::otlp`, rendered.
fn render<T: ConfigValue>(text: &'static str, sets: &[&str]) -> String {
    diagnose::<T>(text, sets).render(false)
}

fn diagnose<T: ConfigValue>(text: &'static str, sets: &[&str]) -> Diagnostics {
    let (body, sources) = match read(text, sets) {
        Ok(read) => read,
        Err(diagnostics) => return diagnostics,
    };
    let errors = from_node::<T>(&body, &Path::component("receivers", "otlp")).err().unwrap_or_default();
    Diagnostics::new(errors, sources)
}

/// The settings of a server.
fn read(text: &'static str, sets: &[&str]) -> Result<(Node, Sources), Diagnostics> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let env = world(text);
    let request = Request { uris: &["weir.yaml".to_owned()], sets: &sets, env: &env, append_lists: false };
    let resolved = resolve(request)?;
    Ok((resolved.root.get(&["receivers", "otlp"]).unwrap().clone(), resolved.sources))
}

#[test]
fn an_unknown_option_is_shown_like_a_compiler_error() {
    let text = "receivers:\n  otlp:\n    # where to listen\n    endpont: localhost:4317\n";
    let expected = "\
error: unknown field `endpont` in receivers::otlp
  --> weir.yaml:4:5
    |
  4 |     endpont: ...
    |     ^^^^^^^ did you mean `endpoint`?
  help: fields here: tls, max_recv_msg_size_mib, max_concurrent_streams, read_buffer_size, write_buffer_size, keepalive, \
auth, include_metadata, middlewares, endpoint, transport, dialer
  note: '[otlp]' has invalid keys: endpont
";
    assert_eq!(render::<net::GrpcServerConfig>(text, &[]), expected);
}

#[test]
fn several_errors_are_sorted_by_place_and_share_their_sentence() {
    let text = "receivers:\n  otlp:\n    foo: 1\n    endpoint: 5\n    bar: 2\n";
    let shown = render::<net::GrpcServerConfig>(text, &[]);
    let heads: Vec<&str> =
        shown.lines().filter(|line| line.starts_with("error") || line.contains("-->")).collect();
    let expected = [
        "error: unknown field `foo` in receivers::otlp",
        "  --> weir.yaml:3:5",
        "error: `receivers::otlp::endpoint` must be a string, found the integer 5",
        "  --> weir.yaml:4:15",
        "error: unknown field `bar` in receivers::otlp",
        "  --> weir.yaml:5:5",
    ];
    assert_eq!(heads, expected);
    assert!(shown.contains("^ expected a string\n"));
    assert!(shown.contains("help: put the value in quotes to make it a string"));
}

#[test]
fn a_value_of_a_variable_is_shown_where_it_is_used() {
    let text = "receivers: {otlp: {max_recv_msg_size_mib: \"${env:LIMIT}\"}}";
    let expected = "\
error: `receivers::otlp::max_recv_msg_size_mib` must be a whole number, found the string \"lots\"
  --> weir.yaml:1:44
    |
  1 | receivers: {otlp: {max_recv_msg_size_mib: \"${env:LIMIT}\"}}
    |                                            ^^^^^^^^^^^^ expected a whole number
  note: the value comes from the environment variable LIMIT
  note: 'max_recv_msg_size_mib' expected type 'int', got unconvertible type 'string'
";
    assert_eq!(render::<net::GrpcServerConfig>(text, &[]), expected);
    let text = "receivers: {otlp: '${env:SERVER}'}";
    let shown = render::<net::HttpServerConfig>(text, &[]);
    assert!(shown.contains("--> weir.yaml:1:20\n"), "{shown}");
    assert!(shown.contains("note: the value comes from the environment variable SERVER"), "{shown}");
}

#[test]
fn a_value_of_an_included_file_is_shown_in_it() {
    let text = "receivers:\n  otlp: ${file:server.yaml}\n";
    let shown = render::<net::GrpcServerConfig>(text, &[]);
    assert!(shown.contains("--> server.yaml:1:12\n"), "{shown}");
    assert!(shown.contains("1 | transport: tpc\n"), "{shown}");
    assert!(shown.contains("^^^ did you mean `tcp`?\n"), "{shown}");
    assert!(shown.contains("note: included at weir.yaml:2:9\n"), "{shown}");
    assert!(shown.contains("note: 'transport' unsupported transport type \"tpc\"\n"), "{shown}");
}

#[test]
fn a_value_of_a_flag_is_shown_in_the_flag() {
    let shown = render::<net::GrpcServerConfig>("receivers: {otlp: }", &["receivers.otlp.transport=tpc"]);
    assert!(shown.contains("--> --set:1:26\n"), "{shown}");
    assert!(shown.contains("1 | receivers.otlp.transport=tpc\n"), "{shown}");
}

#[test]
fn secrets_are_not_quoted() {
    let texts = [
        "receivers:\n  otlp: {headers: [{name: a, value: [hunter2]}]}\n",
        "receivers:\n  otlp: {headers: {a: [hunter2]}}\n",
        "receivers:\n  otlp: {headers: {Authorization: Bearer hunter2}, tmeout: 1s}\n",
        "receivers:\n  otlp: {password: hunter2}\n",
        "receivers:\n  otlp:\n    tls: {key_pem: [hunter2]}\n",
        "receivers:\n  otlp:\n    tls: {key_pem: {hunter2: 1}}\n",
        "receivers: {otlp: {tls: {key_pem: {a: hunter2}}, passwrd: hunter2}}\n",
        "receivers: {otlp: {endpoint: \"http://u:hunter2@h/p?token=hunter2\", timeuot: 3s}}\n",
        "receivers: {otlp: {endpoint: \"http://u:hunter2@h/p?token=hunter2\", timeout: x}}\n",
        "receivers: {otlp: {timeout: \"http://u:hunter2@h/p?token=hunter2\"}}\n",
        "receivers: {otlp: {timeout: [\"u:hunter2@h\"], compression: \"u:hunter2@h\"}}\n",
        "receivers:\n  otlp:\n    pasword: hunter2\n    tokn: {a: hunter2}\n    headrs: {x: hunter2}\n",
        "receivers: {otlp: {headers: \"hunter2\"}}\n",
        "receivers:\n  otlp:\n    headers:\n      a: 1\n      x: hunter2\n      x: hunter2\n",
        "receivers: {otlp: {headers: {x: \"hunter2}}}\n",
        "receivers: {otlp: {auth: \"hunter2\"}}\n",
        "receivers: {otlp: {auth: {enabled: hunter2}}}\n",
        "receivers: {otlp: {timeout: '${TOKEN:-hunter2}'}}\n",
        "receivers: {otlp: {tls: {key_pem:hunter2}}}\n",
        "receivers: {otlp: {\"headers: authorization: hunter2\"}}\n",
        "receivers: {otlp: {headers: {\"x-y:hunter2\": [1]}}}\n",
        "receivers:\n  otlp:\n    proxy_url: http://u:hunter2@h: 3\n",
        "receivers:\n  otlp:\n    password: hunter2:\n",
        "receivers:\n  otlp: {timeout: hunter2: 3}\n",
        "receivers: {otlp: {tls: {key_pem: !!int hunter2}}}\n",
        "receivers: {otlp: {timeout: '${TOKEN:hunter2}'}}\n",
        "receivers: {otlp: {timeout: '${env:TOKEN:hunter2}'}}\n",
        "receivers: {otlp: {timeout: '${MY_TOKEN:hunter2}'}}\n",
        "receivers: {otlp: {timeout: '${MY-TOKEN:-hunter2}'}}\n",
        "receivers: {otlp: {timeout: '${env:MY-TOKEN:-hunter2}'}}\n",
        "receivers: {otlp: {timeout: '${envv:TOKEN:-hunter2}'}}\n",
        "receivers: {otlp: {timeout: \"http://u:long-long-long-long-long-long-long-long-long-hunter2@h\"}}\n",
    ];
    for text in texts {
        let diagnostics = diagnose::<net::HttpClientConfig>(text, &[]);
        assert!(!diagnostics.errors().is_empty(), "{text}");
        for shown in [diagnostics.render(false), diagnostics.to_json(), diagnostics.to_string()] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
    let shown = render::<net::HttpClientConfig>("receivers: {otlp: {timeout:3s}}", &[]);
    assert!(shown.contains("unknown field `timeout:[REDACTED]` in receivers::otlp\n"), "{shown}");
    assert!(shown.contains("help: a blank is missing behind `timeout:`\n"), "{shown}");
    let shown =
        render::<net::HttpClientConfig>("receivers: {otlp: {tls: {key_pem: [\"${env:TOKEN}\"]}}}", &[]);
    assert!(!shown.contains("12345678"), "{shown}");
}

#[test]
fn a_proxy_without_a_scheme_is_not_quoted_in_a_file_or_in_a_flag() {
    for (text, sets) in [
        ("receivers: {otlp: {proxy_url: \"user:hunter2:8\"}}\n", [].as_slice()),
        ("receivers:\n  otlp:\n    proxy_url: user:hunter2:8\n", &[]),
        ("receivers: {otlp: }", &["receivers::otlp::proxy_url=user:hunter2:8"]),
        ("receivers: {otlp: }", &["receivers.otlp.proxy_url=user:hunter2:8"]),
    ] {
        let (body, sources) = read(text, sets).expect("it can be read");
        let path = Path::component("receivers", "otlp");
        let settings: net::HttpClientConfig = from_node(&body, &path).expect("the types are right");
        let diagnostics = Diagnostics::new(validate(&settings, &body, &path), sources);
        let shown = diagnostics.render(false);
        assert!(shown.contains("proxy_url") && shown.contains(REDACTED), "{shown}");
        assert!(![shown, diagnostics.to_json()].iter().any(|text| text.contains("hunter2")));
    }
}

#[test]
fn a_syntax_error_and_a_duplicate_key_are_shown_at_their_places() {
    let shown = render::<net::GrpcServerConfig>("a:\n  b: [1\nc: 2\n", &[]);
    assert!(shown.starts_with("error: this is not valid YAML"), "{shown}");
    assert!(shown.contains("--> weir.yaml:3:2"), "{shown}");
    let shown = render::<net::GrpcServerConfig>("a: 1\nb: 2\na: 3\n", &[]);
    assert!(shown.contains("--> weir.yaml:3:1\n"), "{shown}");
    assert!(shown.contains("note: first written here: weir.yaml:1:1\n"), "{shown}");
}

#[test]
fn colour_only_adds_to_the_text() {
    let diagnostics = diagnose::<net::GrpcServerConfig>("receivers: {otlp: {foo: 1}}", &[]);
    let coloured = diagnostics.render(true);
    assert!(coloured.contains("\x1b[1;31merror\x1b[0m: "));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some(start) = rest.find('\x1b') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..][rest[start..].find('m').unwrap() + 1..];
    }
    plain.push_str(rest);
    assert_eq!(plain, diagnostics.render(false));
}

#[test]
fn of_very_many_errors_the_first_are_shown_and_the_others_are_counted() {
    let errors: Vec<ConfigError> =
        (0..4000).map(|number| ConfigError::new(ErrorKind::Invalid, format!("wrong {number}"))).collect();
    let diagnostics = Diagnostics::new(errors, Sources::new());
    let shown = diagnostics.render(false);
    assert!(shown.contains("error: wrong 99\n") && !shown.contains("wrong 100"), "{shown}");
    assert!(shown.ends_with("\n3900 more of 4000 errors; --error-format json lists all\n"), "{shown}");
    assert_eq!(diagnostics.to_json().lines().count(), 4000);
}

#[test]
fn machines_get_one_object_per_error() {
    let json =
        diagnose::<net::GrpcServerConfig>("receivers: {otlp: {endpont: a, transport: x}}", &[]).to_json();
    let reports: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["kind"], "unknown_field");
    assert_eq!(reports[0]["path"], "receivers::otlp::endpont");
    assert_eq!(reports[0]["suggestion"], "endpoint");
    let location = serde_json::json!({"source": "weir.yaml", "line": 1, "column": 20, "length": 7});
    assert_eq!(reports[0]["location"], location);
    assert_eq!(reports[1]["kind"], "value");
}

#[test]
fn the_short_form_has_the_collectors_prefix_and_sentences() {
    let cases: &[(&'static str, &str)] = &[
        (
            "receivers: {otlp: {foo: 1, bar: 2}}",
            "failed to get config: cannot unmarshal the configuration: 'receivers' error reading configuration for \"otlp\": \
             decoding failed due to the following error(s): '[otlp]' has invalid keys: bar, foo",
        ),
        (
            "receivers: {otlp: '${foo:bar}'}",
            "failed to get config: cannot resolve the configuration: scheme \"foo\" is not supported for uri \"foo:[REDACTED]\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(diagnose::<net::GrpcServerConfig>(text, &[]).to_string(), *expected);
    }
}

#[test]
fn very_long_lines_are_cut_around_the_mistake() {
    let text = format!("{{a: {}, b: *x}}", "y".repeat(10_000));
    let error = parse_body(&text).unwrap_err();
    let mut sources = Sources::new();
    sources.add(crate::SourceKind::Inline, text, None);
    let shown = Diagnostics::new(vec![error], sources).render(false);
    assert!(shown.len() < 1000, "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    let caret = shown.lines().find(|line| line.contains('^')).unwrap().find('^').unwrap();
    let quoted = shown.lines().find(|line| line.contains("*x")).unwrap();
    assert_eq!(quoted.find("*x"), Some(caret));
}

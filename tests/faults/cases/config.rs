//! 24: mistakes in a configuration.

use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Case, Extra, Outcome, yaml};
use crate::agent::{Kind, binary};

pub(crate) const CASES: [Case; 1] = [Case {
    number: 24,
    name: "mistakes: key, component, type, duration, reference, key twice, YAML, aliases without end, variable that is not set",
    settings: "`validate`",
    bar: "each named by line and column; all but the variable refused, with a suggestion where a name is misspelt",
    run: mistakes,
}];

/// A mistake: what is replaced by what, and what the error suggests, if a name is misspelt.
struct Mistake {
    name: &'static str,
    right: &'static str,
    wrong: &'static str,
    suggests: &'static str,
}

const MISTAKES: [Mistake; 9] = [
    Mistake { name: "key", right: "compression: none", wrong: "compresion: none", suggests: "compression" },
    Mistake {
        name: "component",
        right: "exporters:\n  otlp_http:",
        wrong: "exporters:\n  otlp_htp:",
        suggests: "otlp_http",
    },
    Mistake { name: "type", right: "compression: none", wrong: "timeout: [1, 2]", suggests: "" },
    Mistake { name: "duration", right: "compression: none", wrong: "timeout: 5 parsecs", suggests: "" },
    Mistake {
        name: "reference",
        right: "exporters: [otlp_http]",
        wrong: "exporters: [otlp_htp]",
        suggests: "otlp_http",
    },
    Mistake {
        name: "key twice",
        right: "compression: none",
        wrong: "compression: none\n    compression: gzip",
        suggests: "",
    },
    Mistake { name: "YAML", right: "compression: none", wrong: "compression: [none", suggests: "" },
    Mistake { name: "aliases", right: "receivers:\n", wrong: ALIASES, suggests: "" },
    Mistake {
        name: "variable",
        right: "compression: none",
        wrong: "compression: \"${env:WEIR_FAULTS_NOT_SET}\"",
        suggests: "",
    },
];

/// Nine levels of nine aliases each: 387 million values.
const ALIASES: &str = "a: &a [x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]
g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]
h: &h [*g, *g, *g, *g, *g, *g, *g, *g, *g]
i: &i [*h, *h, *h, *h, *h, *h, *h, *h, *h]
receivers:
";

fn mistakes(kind: Kind) -> Outcome {
    let mut outcome = Outcome { fired: true, ..Outcome::default() };
    let right = yaml(4318, 4317, 4319, Extra::default());
    let (refused, _) = validate(kind, &right);
    outcome.require(!refused, "what is right is refused");
    let (mut placed, mut rejected) = (0, 0);
    for mistake in &MISTAKES {
        let wrong = right.replacen(mistake.right, mistake.wrong, 1);
        outcome.fired &= wrong != right;
        let (refused, said) = validate(kind, &wrong);
        let mut lines = changed(&right, &wrong);
        if mistake.name == "YAML" {
            // What is left open shows where it cannot go on.
            lines
                .extend(lines.last().and_then(|(number, _)| Some((number + 1, wrong.lines().nth(*number)?))));
        }
        let place = has_place(&said, &lines);
        placed += usize::from(place);
        rejected += usize::from(refused);
        outcome.require(place, format!("{}: no line and column", mistake.name));
        outcome.require(refused || mistake.name == "variable", format!("{}: accepted", mistake.name));
        let suggestion = format!("did you mean `{}`?", mistake.suggests);
        let suggests = mistake.suggests.is_empty() || said.contains(&suggestion);
        outcome.require(suggests, format!("{}: no suggestion", mistake.name));
    }
    outcome.see(format!("{placed} of 9 by line and column, {rejected} of 8 refused"));
    outcome
}

/// Whether it refuses a configuration, and what it says.
fn validate(kind: Kind, yaml: &str) -> (bool, String) {
    let dir = TempDir::new().expect("a temporary folder");
    let file = dir.path().join("agent.yaml");
    fs::write(&file, yaml).expect("written");
    let mut command = Command::new(binary(kind));
    command.args(["validate", "--config"]).arg(&file).env("NO_COLOR", "1").stdin(Stdio::null());
    let out = command.output().expect("it runs");
    let said = [out.stdout, out.stderr].concat();
    (!out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The lines that are wrong, by number, each with what is written there.
fn changed<'a>(right: &str, wrong: &'a str) -> Vec<(usize, &'a str)> {
    let lines: Vec<_> = wrong.lines().collect();
    let same = right.lines().zip(&lines).take_while(|(a, b)| a == *b).count();
    let after = right.lines().rev().zip(lines.iter().rev()).take_while(|(a, b)| a == *b).count();
    // A line that is there twice may be either.
    let end = (lines.len() - after).max(same + 1);
    (same..end).map(|at| (at + 1, lines[at])).collect()
}

/// Whether a text has `agent.yaml:LINE:COLUMN` of one of these lines.
fn has_place(said: &str, lines: &[(usize, &str)]) -> bool {
    said.split("agent.yaml:").skip(1).any(|rest| {
        let mut numbers = rest.splitn(3, ':').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<usize>().ok()
        });
        let (Some(Some(line)), Some(Some(column))) = (numbers.next(), numbers.next()) else { return false };
        lines.iter().any(|(number, text)| *number == line && (1..=text.len() + 1).contains(&column))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_of_the_mistake_counts() {
        let lines = changed("a: 1\nb: 2\nc: 3\n", "a: 1\nx: 2\ny: 4\nc: 3\n");
        assert_eq!(lines, [(2, "x: 2"), (3, "y: 4")]);
        for (said, is_there) in [
            ("agent.yaml:2:1: unknown", true),
            ("error: /tmp/agent.yaml:3:4", true),
            ("agent.yaml:1:1: no", false),
            ("agent.yaml:2:40: no", false),
            ("agent.yaml:2: no column", false),
            ("line 2", false),
        ] {
            assert_eq!(has_place(said, &lines), is_there, "{said}");
        }
        assert_eq!(changed("a: 1\nb: 2\n", "a: 1\na: 1\nb: 2\n"), [(2, "a: 1")]);
    }
}

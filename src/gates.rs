//! Feature gates: the Collector's, and what each of them does here.

/// How settled a gate is, in the Collector's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Off unless asked for.
    Alpha,
    /// On unless told otherwise.
    Beta,
}

/// One gate.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Its id.
    pub(crate) id: &'static str,
    /// How settled it is; decides whether it is on by itself.
    pub(crate) stage: Stage,
    /// The Collector's release that brought it.
    pub(crate) since: &'static str,
    /// What it does.
    pub(crate) description: &'static str,
    /// Whether it does that here; one that does not can be set all the same, and the log says so.
    pub(crate) works: bool,
}

/// The gate that puts lists together in merges.
pub(crate) const MERGE_LISTS: &str = "confmap.enableMergeAppendOption";
/// The gate that lets a configuration be without pipelines.
pub(crate) const NO_PIPELINES: &str = "service.AllowNoPipelines";
/// The gate that allows pipelines for profiles.
pub(crate) const PROFILES: &str = "service.profilesSupport";

/// All gates of the Collector's releases 0.155 to 0.159, sorted.
pub(crate) const GATES: &[Gate] = &[
    Gate {
        id: MERGE_LISTS,
        stage: Stage::Alpha,
        since: "v0.120.0",
        description: "Puts lists of extensions, receivers and exporters of several configurations together, instead of the last replacing the others",
        works: true,
    },
    Gate {
        id: "pdata.useProtoPooling",
        stage: Stage::Alpha,
        since: "v0.133.0",
        description: "Takes the memory of messages from pools; there are none here, as requests are kept as received bytes",
        works: false,
    },
    Gate {
        id: "pkg.exporterhelper.queueBatchEnabled",
        stage: Stage::Alpha,
        since: "v0.158.0",
        description: "Turns batching on in the queues of exporters unless it is configured",
        works: false,
    },
    Gate {
        id: "receiverhelper.newReceiverMetrics",
        stage: Stage::Alpha,
        since: "v0.138.0",
        description: "Counts what receivers could not hand on as failed instead of refused when the fault lies behind them",
        works: false,
    },
    Gate {
        id: NO_PIPELINES,
        stage: Stage::Alpha,
        since: "v0.122.0",
        description: "Allows a configuration without pipelines, which only runs extensions",
        works: true,
    },
    Gate {
        id: "service.partialReload",
        stage: Stage::Alpha,
        since: "v0.157.0",
        description: "Restarts only what a changed configuration changes",
        works: false,
    },
    Gate {
        id: "service.partialReloadReceivers",
        stage: Stage::Beta,
        since: "v0.157.0",
        description: "With service.partialReload, restarts only receivers when only receivers have changed",
        works: false,
    },
    // Alpha in the Collector. Here profiles are a signal like the others, and the gate can only turn them off.
    Gate {
        id: PROFILES,
        stage: Stage::Beta,
        since: "v0.112.0",
        description: "Allows pipelines for profiles",
        works: true,
    },
    Gate {
        id: "telemetry.newPipelineTelemetry",
        stage: Stage::Alpha,
        since: "v0.123.0",
        description: "Adds metrics of what each component takes and gives, with the component as attributes",
        works: false,
    },
];

/// Gates that the Collector has removed, and why they need not be set.
const REMOVED: &[(&str, &str)] = &[
    ("component.UseLocalHostAsDefaultHost", "its effect is the default"),
    ("confighttp.framedSnappy", "its effect is the default"),
    ("configoptional.AddEnabledField", "its effect is the default"),
    ("confmap.strictlyTypedInput", "its effect is the default"),
    ("confmap.unifyEnvVarExpansion", "its effect is the default"),
    ("exporter.PersistRequestContext", "its effect is the default"),
    ("otelcol.printInitialConfig", "print-config needs no gate"),
    ("telemetry.UseLocalHostAsDefaultMetricsAddress", "its effect is the default"),
    ("telemetry.disableHighCardinalityMetrics", "its effect is the default"),
];

/// Which gates are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gates {
    /// What was asked for, the last word on a gate last.
    asked: Vec<(&'static str, bool)>,
}

impl Gates {
    /// Reads the values of `--feature-gates`: `a,-b,+c`.
    ///
    /// # Errors
    /// All gates that do not exist, in the Collector's words.
    pub(crate) fn parse<S: AsRef<str>>(values: &[S]) -> Result<Gates, String> {
        let mut gates = Gates::default();
        let mut errors = Vec::new();
        for value in values.iter().map(AsRef::as_ref).filter(|value| !value.is_empty()) {
            for (place, word) in value.split(',').enumerate() {
                match gate(word, place) {
                    Ok(asked) => gates.asked.push(asked),
                    Err(error) => errors.push(error),
                }
            }
        }
        if errors.is_empty() { Ok(gates) } else { Err(errors.join("; ")) }
    }

    /// Whether a gate is on.
    pub(crate) fn is_on(&self, id: &str) -> bool {
        let asked = self.asked.iter().rev().find(|(asked, _)| *asked == id);
        let by_itself = || GATES.iter().any(|gate| gate.id == id && gate.stage == Stage::Beta);
        asked.map_or_else(by_itself, |(_, on)| *on)
    }

    /// Gates that were turned on and do nothing here.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = &'static str> + '_ {
        let idle = GATES.iter().filter(|gate| !gate.works).map(|gate| gate.id);
        idle.filter(|id| self.asked.iter().any(|(asked, _)| asked == id) && self.is_on(id))
    }
}

fn gate(word: &str, place: usize) -> Result<(&'static str, bool), String> {
    let (id, on) = match word.strip_prefix('-') {
        Some(id) => (id, false),
        None => (word.strip_prefix('+').unwrap_or(word), true),
    };
    if id.is_empty() {
        return Err(format!("empty feature gate identifier at index {place}"));
    }
    if let Some(gate) = GATES.iter().find(|gate| gate.id == id) {
        return Ok((gate.id, on));
    }
    let valid: Vec<&str> = GATES.iter().map(|gate| gate.id).collect();
    let mut error = format!("no such feature gate {id:?}. valid gates: [{}]", valid.join(" "));
    if let Some((_, why)) = REMOVED.iter().find(|(removed, _)| *removed == id) {
        error += &format!("; {id} has been removed from the Collector, {why}: leave it out");
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_sorted_as_they_are_listed() {
        assert!(GATES.is_sorted_by_key(|gate| gate.id));
    }

    #[test]
    fn each_gate_is_documented_as_it_is() {
        let page = include_str!("../docs/compatibility.md");
        for gate in GATES {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", gate.id)));
            let row = row.expect(gate.id);
            assert_eq!(row.contains("| works |"), gate.works, "{row}");
            assert_eq!(row.contains("| on"), gate.stage == Stage::Beta, "{row}");
        }
    }

    #[test]
    fn the_last_word_on_a_gate_counts() {
        let gates = Gates::parse(&["service.AllowNoPipelines,-service.profilesSupport"]).unwrap();
        assert!(gates.is_on(NO_PIPELINES) && !gates.is_on(PROFILES) && !gates.is_on(MERGE_LISTS));
        let gates = Gates::parse(&["+service.AllowNoPipelines", "-service.AllowNoPipelines"]).unwrap();
        assert!(!gates.is_on(NO_PIPELINES));
        assert!(Gates::parse::<&str>(&[]).unwrap().is_on(PROFILES));
        assert!(Gates::parse(&[""]).unwrap().is_on(PROFILES));
    }

    #[test]
    fn a_gate_without_effect_is_told_when_it_is_turned_on() {
        let gates = Gates::parse(&["pdata.useProtoPooling,-telemetry.newPipelineTelemetry"]).unwrap();
        assert_eq!(gates.without_effect().collect::<Vec<_>>(), ["pdata.useProtoPooling"]);
    }

    #[test]
    fn all_gates_that_do_not_exist_are_named() {
        let error = Gates::parse(&["a,,-otelcol.printInitialConfig"]).unwrap_err();
        for part in [
            "no such feature gate \"a\". valid gates: [confmap.enableMergeAppendOption pdata.",
            "empty feature gate identifier at index 1",
            "otelcol.printInitialConfig has been removed",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}

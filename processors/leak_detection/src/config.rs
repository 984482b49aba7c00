//! Options of the processor.

use serde::{Deserialize, Serialize};
use weir_component::{Build, BuildError, Maturity, Processor, ProcessorFactory, Stability};
use weir_config::{GoDuration, Options};
use weir_pdata::Signal;

use crate::detector::{Settings, Thresholds};
use crate::stage::LeakDetection;

/// Options; see metadata.yaml for their effects.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) window: GoDuration,
    pub(crate) report_interval: GoDuration,
    pub(crate) max_series: u32,
    pub(crate) source_roots: Vec<String>,
    pub(crate) thresholds: ThresholdsConfig,
}

/// Fixed thresholds, all off by default.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ThresholdsConfig {
    established: Option<f64>,
    goroutines: Option<f64>,
    connection_goroutines: Option<f64>,
    mutex_contentions_per_second: Option<f64>,
    mutex_delay: Option<GoDuration>,
    socket_goroutine_difference: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            window: GoDuration::from_mins(10),
            report_interval: GoDuration::ZERO,
            max_series: 10_000,
            source_roots: Vec::new(),
            thresholds: ThresholdsConfig::default(),
        }
    }
}

impl Config {
    pub(crate) fn settings(&self) -> Settings {
        let t = &self.thresholds;
        Settings {
            window: self.window.as_std().as_secs_f64(),
            max_series: self.max_series as usize,
            thresholds: Thresholds {
                established: t.established,
                goroutines: t.goroutines,
                connection_goroutines: t.connection_goroutines,
                mutex_contentions: t.mutex_contentions_per_second,
                mutex_delay: t.mutex_delay.map(|d| d.as_std().as_secs_f64()),
                socket_goroutine_difference: t.socket_goroutine_difference,
            },
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.window.as_std().as_secs_f64() < 1.0 {
            return Err("window must be at least 1s: connections are counted at ages from 1 s up");
        }
        if self.report_interval.is_negative() {
            return Err("report_interval must not be negative");
        }
        if self.max_series == 0 {
            return Err("max_series must be above zero");
        }
        Ok(())
    }
}

/// Makes `leak_detection` processors: one detector for all pipelines in which an id stands.
pub const FACTORY: ProcessorFactory = ProcessorFactory {
    kind: "leak_detection",
    aliases: &[],
    signals: &[Signal::Traces, Signal::Metrics, Signal::Logs],
    stability: Maturity::all(Stability::Development),
    metadata: include_str!("../metadata.yaml"),
    options: Options::of::<Config>(),
    shared: true,
    create,
};

fn create(build: &Build<'_>) -> Result<Processor, BuildError> {
    let config: Config = build.config()?;
    config.check().map_err(|message| build.invalid(message))?;
    Ok(Processor::Stage(Box::new(LeakDetection::new(&config, build.id, build.host))))
}

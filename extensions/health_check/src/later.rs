//! Options of the second version of the Collector's extension, which is behind a feature gate there.

use serde::{Deserialize, Serialize};
use weir_config::net::{GrpcServerConfig, HttpServerConfig};
use weir_config::{GoDuration, Issues, Optional, Validate};

/// Read, so that mistakes in them are found, and refused as the Collector refuses them without its gate.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Later {
    use_v2: bool,
    http: Optional<Http>,
    grpc: Optional<GrpcServerConfig>,
    component_health: Optional<ComponentHealth>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Http {
    #[serde(rename = "+server")]
    server: HttpServerConfig,
    config: Page,
    status: Page,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    enabled: bool,
    path: String,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct ComponentHealth {
    include_permanent_errors: bool,
    include_recoverable_errors: bool,
    recovery_duration: GoDuration,
}

impl Validate for Later {
    fn validate(&self, issues: &mut Issues) {
        const CURE: &str = "leave it out: `path` and `response_body` say what is answered";
        let sections = [
            ("http", self.http.is_on()),
            ("grpc", self.grpc.is_on()),
            ("component_health", self.component_health.is_on()),
        ];
        for (option, _) in sections.into_iter().filter(|(_, on)| *on) {
            let message =
                "v2 healthcheck configuration (http/grpc fields) detected, which this version does not have";
            issues.at_with_help(option, message, CURE);
        }
        if self.use_v2 && !self.http.is_on() && !self.grpc.is_on() {
            issues.at_with_help("use_v2", "must specify at least one protocol", CURE);
        }
    }
}

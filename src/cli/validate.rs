//! `weir validate`: checks a configuration without running it.

use std::process::ExitCode;
use std::sync::Arc;

use weir_config::Diagnostics;

use super::ConfigArgs;
use crate::service;

/// Reads, checks and builds; nothing is opened or started.
pub(super) fn validate(args: &ConfigArgs) -> ExitCode {
    let loaded = match args.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let runtime = match service::tokio_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            super::eprint(&format!("Error: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let _inside = runtime.enter();
    let tokio = Arc::new(weir_engine::TokioRuntime::current());
    let host = service::host(&tokio, opentelemetry::global::meter("weir"));
    match service::build(&loaded, tokio, &host) {
        Ok(_) => ExitCode::SUCCESS,
        Err(errors) => args.report(&Diagnostics::new(errors, loaded.sources)),
    }
}

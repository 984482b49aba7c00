//! Weir: an OpenTelemetry-Collector-compatible pipeline agent that finds leaking connections.
//!
//! This is wiring only: the command line, the table of components, and the order in which the parts are put together.

mod cli;
mod components;
mod gates;
mod program;
mod service;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

//! Debug pages of the pipelines and the page of leaks.
//!
//! `/leaks` and `/leaks.json` show the verdicts, `/debug/pipelinez`, `/debug/servicez`, `/debug/extensionz` and
//! `/debug/featurez` what runs. Pages change nothing and answer GET and HEAD only; on a loopback address requests with
//! a foreign Host header are refused (DNS rebinding).

mod extension;
pub mod page;
mod views;

pub use extension::FACTORY;

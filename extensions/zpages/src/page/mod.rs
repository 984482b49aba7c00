//! The pages as HTML: pure functions from plain data to one self-contained document each.
//!
//! Markup is made by `html::Element`, which escapes whatever is put in, because names and texts come from telemetry
//! and may be hostile. There is one rendering, this one: the script in the page fetches the page again, takes over what
//! changed, and otherwise only draws what follows the pointer, so that a refreshed page and a fresh one cannot differ.
//! Style and script are inline and named by hash in [`content_security_policy`]; nothing else may run or load.

mod chart;
mod chart_data;
mod chart_scale;
mod debug;
mod detail;
mod document;
mod empty;
mod evidence;
mod forecast;
mod html;
mod leaks;
mod lists;
mod parts;
mod table;

pub use debug::{
    ComponentView, ExtensionView, FeatureView, PipelineView, ServiceView, extensions_html, features_html,
    index_html, pipelines_html, service_html,
};
pub use document::content_security_policy;
pub use leaks::{MAX_SHOWN, STALE_AFTER, leaks_html};

//! The whole agent, as its users meet it: the real binary, real Go programs, real backends.

mod backends;
mod collector;
mod conformance;
mod dependency_law;
mod docs;
mod scenarios;
mod support;
mod wrong_input;

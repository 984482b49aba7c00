//! The queue against a modelled file system that crashes and fails, and on a real one.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../../../fuzz/corpus.rs"]
mod corpus;
mod damage;
mod directory;
mod every_call;
mod gather;
mod harmed;
mod memory;
mod model;
mod random;
mod script;
mod unreadable;
mod world;

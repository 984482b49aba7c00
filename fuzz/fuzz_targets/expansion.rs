//! No configuration makes reading, merging and expanding panic or hang. The text is a configuration, a variable and a file
//! that it may refer to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_config::{Env, Request, resolve};

struct World<'a>(&'a str);

impl Env for World<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (name != "UNSET").then(|| self.0.to_owned())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "a" { Ok(self.0.into()) } else { Err("no such file or directory".to_owned()) }
    }

    fn http(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("no network".to_owned())
    }
}

fuzz_target!(|text: &str| {
    let world = World(text);
    let uris = ["file:a".to_owned(), format!("yaml:{text}")];
    let sets = [text.to_owned()];
    let append_lists = text.len() % 2 == 0;
    drop(resolve(Request { uris: &uris, sets: &sets, env: &world, append_lists }));
});

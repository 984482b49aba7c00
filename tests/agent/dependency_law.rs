//! Which crate may use which, as ARCHITECTURE.md says, and the lints that hold for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::conformance::root;

/// Folders of components, one crate each.
const COMPONENTS: [&str; 5] = ["receivers", "processors", "exporters", "connectors", "extensions"];

/// A crate of this repository.
struct Package {
    name: String,
    /// Folder from the root; empty for the root's own crate.
    folder: String,
    /// Crates of this repository that it is built with; those of its tests are not among them.
    uses: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let list = metadata["packages"].as_array().expect("packages");
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    let names: BTreeSet<String> = list.iter().map(|p| text(&p["name"])).collect();
    let package = |p: &Json| {
        let manifest = text(&p["manifest_path"]);
        let folder =
            Path::new(&manifest).parent().expect("a folder").strip_prefix(root()).expect("below the root");
        let dependencies = p["dependencies"].as_array().expect("dependencies");
        let built = dependencies.iter().filter(|d| d["kind"] != "dev").map(|d| text(&d["name"]));
        Package {
            name: text(&p["name"]),
            folder: folder.to_string_lossy().into_owned(),
            uses: built.filter(|d| names.contains(d)).collect(),
        }
    };
    list.iter().map(package).collect()
}

/// The table of ARCHITECTURE.md: what stands in the columns "folder" and "may use".
fn law() -> BTreeMap<String, String> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows =
        page.lines().skip_while(|l| !l.starts_with("| folder |")).skip(2).take_while(|l| l.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), cells[2].to_owned())
    };
    rows.map(row).collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(|name| format!("weir-{name}")).collect()
}

fn is_component(package: &Package) -> bool {
    COMPONENTS.iter().any(|kind| package.folder.split('/').next() == Some(kind))
}

/// A view that excludes labels has to tell the SDK which others there are.
#[test]
fn views_know_every_label_of_the_agents_own_metrics() {
    let read = |path: &Path| fs::read_to_string(path).expect("a source file is read");
    let views = read(&root().join("telemetry/src/views.rs"));
    let keys = views.split("const KEYS").nth(1).and_then(|rest| rest.split("];").next()).expect("the list");
    let listed: BTreeSet<&str> = keys.split('"').skip(1).step_by(2).collect();
    let mut used = BTreeSet::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder is read").map(|e| e.expect("an entry").path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir()
                && !["target", "tests", "benches", "fuzz"].contains(&name.as_str())
                && !name.starts_with('.')
            {
                folders.push(entry);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = read(&entry);
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let labels = code.split("KeyValue::new(\"").skip(1).filter_map(|rest| rest.split('"').next());
                used.extend(labels.map(str::to_owned));
            }
        }
    }
    // Of spans, not of metrics.
    let of_spans = ["items.sent", "items.failed"];
    let unknown: Vec<&String> = used
        .iter()
        .filter(|key| !listed.contains(key.as_str()) && !of_spans.contains(&key.as_str()))
        .collect();
    assert!(
        used.contains("exporter") && unknown.is_empty(),
        "not in KEYS of telemetry/src/views.rs: {unknown:?}"
    );
}

#[test]
fn each_crate_uses_only_what_the_architecture_allows() {
    let law = law();
    for package in packages() {
        if package.folder.is_empty() || is_component(&package) || package.folder == "benches" {
            continue;
        }
        let row = law.get(&format!("{}/", package.folder));
        let row = row.unwrap_or_else(|| panic!("{}/ is not in the table of ARCHITECTURE.md", package.folder));
        let allowed = quoted(row);
        assert!(
            !allowed.is_empty() || row == "nothing of ours",
            "{}/: {row:?} is not understood",
            package.folder
        );
        let beyond: Vec<&String> = package.uses.difference(&allowed).collect();
        assert!(beyond.is_empty(), "{} uses {beyond:?}; it may use {row}", package.name);
    }
}

#[test]
fn the_crates_at_the_bottom_use_nothing_of_ours() {
    let packages = packages();
    let uses = |name: &str| -> Vec<&str> {
        let package = packages.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no crate {name}"));
        package.uses.iter().map(String::as_str).collect()
    };
    for bottom in ["weir-pdata", "weir-config", "weir-kernel", "weir-profile", "weir-disk-queue", "weir-sys"]
    {
        assert!(uses(bottom).is_empty(), "{bottom} uses {:?}", uses(bottom));
    }
    assert_eq!(uses("weir-connection"), ["weir-pdata"]);
    assert_eq!(uses("weir-component"), ["weir-config", "weir-pdata"]);
}

#[test]
fn components_never_use_each_other_the_engine_or_the_delivery() {
    let packages = packages();
    let components: BTreeSet<&str> =
        packages.iter().filter(|p| is_component(p)).map(|p| p.name.as_str()).collect();
    assert!(components.len() > 10, "{components:?}");
    for package in packages.iter().filter(|p| !p.folder.is_empty()) {
        for used in &package.uses {
            assert!(!components.contains(used.as_str()), "{} uses the component {used}", package.name);
            let running = ["weir-engine", "weir-delivery", "weir-testkit", "weir"].contains(&used.as_str());
            let may = package.name == "weir-engine" && used == "weir-delivery";
            assert!(!running || may, "{} uses {used}", package.name);
        }
    }
    let whole = packages.iter().find(|p| p.folder.is_empty()).expect("the root's crate");
    for component in components {
        assert!(whole.uses.contains(component), "the program is built without {component}");
    }
}

/// Rust files of the repository.
fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry")) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere_but_in_one_small_file() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let manifest = manifest.split("[workspace.lints.rust]").nth(1).expect("lints of the workspace");
    assert!(manifest.lines().any(|l| l == "unsafe_code = \"forbid\""));
    for package in packages() {
        let path = root().join(&package.folder).join("Cargo.toml");
        let text = fs::read_to_string(&path).expect("a manifest");
        let is_exception = package.name == "weir-sys" && text.contains("unsafe_code = \"deny\"");
        assert!(
            is_exception || text.contains("[lints]\nworkspace = true"),
            "{} does not take the lints of the workspace",
            path.display()
        );
    }
    let mut files = Vec::new();
    sources(root(), &mut files);
    assert!(files.len() > 100);
    // Written apart, so that this file does not find itself.
    let exceptions = ["allow", "expect"].map(|level| format!("{level}({}", "unsafe_code"));
    let makes_one = |file: &Path| {
        let text = fs::read_to_string(file).expect("a source file");
        exceptions.iter().map(|e| text.matches(e).count()).sum::<usize>()
    };
    let found: Vec<(&Path, usize)> =
        files.iter().map(|file| (&**file, makes_one(file))).filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, [(&*root().join("sys/src/lib.rs"), 1)], "exceptions");
}

#[test]
fn clippy_bans_clocks_sleeps_spawns_and_unbounded_channels() {
    let bans = fs::read_to_string(root().join("clippy.toml")).expect("clippy.toml");
    for banned in [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "tokio::time::Instant::now",
        "tokio::time::sleep",
        "tokio::spawn",
        "tokio::sync::mpsc::unbounded_channel",
        "std::sync::mpsc::channel",
    ] {
        let entry = bans.lines().find(|l| l.contains(&format!("path = \"{banned}\"")));
        let entry = entry.unwrap_or_else(|| panic!("clippy.toml does not ban {banned}"));
        assert!(entry.contains("reason = "), "{banned}: no reason");
    }
}

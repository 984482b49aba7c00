//! Which frames stand between the opening of a connection and the line that asked for it.

use crate::census::LIBRARIES;
use crate::profile::{Frame, Profile};
use crate::symbol::{is_standard, is_within, unescape_all, unvendored};

/// Frames that are never a site. The rule is that of docs/connection-events.md, "Sites": the companion module, gRPC
/// and dial helpers are passed over; without another frame, a dial helper is the site after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRules {
    /// Package paths that are never a site, with all below them. Default: the companion module and gRPC.
    pub modules: Vec<String>,
    /// Last elements of package paths whose functions are dial helpers. Default: `grpcutil`, `grpcx`, `grpcclient`,
    /// `rpcutil`.
    pub helper_packages: Vec<String>,
    /// Dial helpers by name: a full function name, closures included, or a prefix that ends in `.` or `/`. Default: none.
    /// What a service gives to `IgnoreFunctions` of the companion module belongs here too.
    pub ignored_functions: Vec<String>,
}

impl Default for SiteRules {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            modules: owned(&["github.com/weir-agent/weir/go", "google.golang.org/grpc"]),
            helper_packages: owned(&["grpcutil", "grpcx", "grpcclient", "rpcutil"]),
            ignored_functions: Vec::new(),
        }
    }
}

/// How much stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What the companion module itself passes over, so that its profile gives the sites that its events give.
    Companion,
    /// In addition the standard library and client libraries: what opens connections deep inside of them.
    Program,
}

impl SiteRules {
    /// Judges every frame of a profile; one without a file is no site.
    pub(super) fn roles(&self, profile: &Profile, scope: Scope) -> Roles {
        let rules = Self {
            ignored_functions: self.ignored_functions.iter().map(|name| unescape_all(name)).collect(),
            ..self.clone()
        };
        let mut roles = profile.by_name(|frame| rules.role(&frame, scope));
        for (id, role) in (0..).zip(&mut roles) {
            if profile.frame(id).file.is_empty() {
                *role = Role::PassedOver;
            }
        }
        Roles(roles)
    }

    /// What its name says of a frame.
    fn role(&self, frame: &Frame<'_>, scope: Scope) -> Role {
        let package = unvendored(frame.package);
        let between = match scope {
            Scope::Companion => frame.package == "runtime",
            Scope::Program => {
                is_standard(frame.package) || LIBRARIES.iter().any(|(_, path)| is_within(package, path))
            }
        };
        if between || self.modules.iter().any(|path| is_within(package, path)) {
            Role::PassedOver
        } else if self.is_helper(frame) {
            Role::Helper
        } else {
            Role::Program
        }
    }

    fn is_helper(&self, frame: &Frame<'_>) -> bool {
        let package = frame.package.rsplit('/').next().unwrap_or("");
        self.helper_packages.iter().any(|helper| helper == package)
            || self.ignored_functions.iter().any(|name| is_ignored(frame.function, name))
    }
}

/// A name means its closures and, when it is generic, its instances too.
fn is_ignored(function: &str, name: &str) -> bool {
    let Some(rest) = function.strip_prefix(name) else {
        return false;
    };
    name.ends_with(['.', '/'])
        || !name.is_empty() && (rest.is_empty() || rest.starts_with(".func") || rest.starts_with('['))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    PassedOver,
    Helper,
    Program,
}

/// What the frames of a profile are under the rules.
pub(super) struct Roles(Vec<Role>);

impl Roles {
    /// The site among `frames`, which run from the one that opened something towards the goroutine's start.
    pub(super) fn site<'a>(&self, frames: impl Iterator<Item = &'a u32>) -> Option<u32> {
        let mut helper = None;
        for &id in frames {
            match self.0.get(id as usize) {
                Some(Role::Program) => return Some(id),
                Some(Role::Helper) => helper = helper.or(Some(id)),
                Some(Role::PassedOver) | None => {}
            }
        }
        helper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site_in(scope: Scope, rules: &SiteRules, functions: &[&'static str]) -> Option<u32> {
        let role = |&function: &&'static str| {
            let package = function.rsplit_once('.').map_or("", |(package, _)| package);
            rules.role(&Frame { function, package, file: "f.go", line: 1 }, scope)
        };
        let ids: Vec<u32> = (0..functions.len() as u32).collect();
        Roles(functions.iter().map(role).collect()).site(ids.iter())
    }

    fn site(rules: &SiteRules, functions: &[&'static str]) -> Option<u32> {
        site_in(Scope::Program, rules, functions)
    }

    #[test]
    fn modules_helpers_libraries_and_the_standard_library_are_passed_over() {
        let rules = SiteRules::default();
        let stack =
            ["github.com/weir-agent/weir/go.NewClient", "runtime/pprof.Do", "shop/internal/grpcutil.Dial"];
        assert_eq!(site(&rules, &[&stack[..], &["shop.dialOrders", "main.main"]].concat()), Some(3));
        assert_eq!(
            site(&rules, &["google.golang.org/grpc.NewClient", "go.etcd.io/etcd/client/v3.New", "main.f"]),
            Some(2)
        );
        assert_eq!(site(&rules, &["github.com/weir-agent/weir/gopher.F"]), Some(0));
    }

    #[test]
    fn the_companion_passes_over_no_library() {
        let stack = ["runtime.mapassign", "shop/grpcx.Dial", "go.etcd.io/etcd/client/v3.New", "main.f"];
        assert_eq!(site_in(Scope::Companion, &SiteRules::default(), &stack), Some(2));
        assert_eq!(site_in(Scope::Companion, &SiteRules::default(), &["sync.OnceFunc", "main.f"]), Some(0));
    }

    #[test]
    fn a_helper_without_another_caller_is_the_site() {
        let rules = SiteRules::default();
        assert_eq!(
            site(&rules, &["google.golang.org/grpc.NewClient", "shop/grpcx.Dial", "runtime.goexit"]),
            Some(1)
        );
        assert_eq!(site(&rules, &["google.golang.org/grpc.NewClient"]), None);
    }

    #[test]
    fn functions_are_ignored_by_name_or_by_prefix() {
        let rules = SiteRules {
            ignored_functions: vec![
                "shop.connect".into(),
                "shop/base/".into(),
                "shop/db.".into(),
                "shop/f".into(),
            ],
            ..SiteRules::default()
        };
        let stack = ["shop.connect", "shop/base/x.New", "shop/db.Open", "shop.connectAll"];
        assert_eq!(site(&rules, &stack), Some(3));
        assert_eq!(site(&rules, &["shop/f.F", "main.f"]), Some(0));
        assert!(
            is_ignored("shop.connect.func1", "shop.connect")
                && is_ignored("shop.connect[...]", "shop.connect")
        );
        assert!(!is_ignored("shop.connect.Close", "shop.connect") && !is_ignored("shop.connect", ""));
    }
}

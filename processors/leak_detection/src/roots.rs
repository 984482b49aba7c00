//! File names of sites as people of a repository know them: what is in front of the repository is cut off.
//!
//! A compiler writes absolute paths of the machine that built (`/builds/shop/client/orders.go`), or with `-trimpath` the
//! path of the module (`example.com/shop/client/orders.go`). Neither is where a reader looks.

/// Folders, or paths of modules, below which sources are named by the rest of their path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SourceRoots(Vec<String>);

impl SourceRoots {
    /// Roots with or without a slash at their end; empty ones mean nothing.
    pub(crate) fn new(roots: &[String]) -> SourceRoots {
        let plain = |root: &String| root.trim().trim_end_matches('/').to_owned();
        let mut roots: Vec<String> = roots.iter().map(plain).filter(|root| !root.is_empty()).collect();
        // The deepest that fits wins.
        roots.sort_by_key(|root| std::cmp::Reverse(root.len()));
        SourceRoots(roots)
    }

    /// The file without its root; as it is when it lies below none.
    pub(crate) fn relative<'a>(&self, file: &'a str) -> &'a str {
        let below = |root: &String| file.strip_prefix(root.as_str())?.strip_prefix('/');
        self.0.iter().find_map(below).filter(|rest| !rest.is_empty()).unwrap_or(file)
    }

    /// Shortens a file in place.
    pub(crate) fn shorten(&self, file: &mut String) {
        let short = self.relative(file).len();
        if short < file.len() {
            file.drain(..file.len() - short);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(roots: &[&str]) -> SourceRoots {
        SourceRoots::new(&roots.iter().map(|root| (*root).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_file_is_named_from_the_deepest_root_above_it() {
        let roots = roots(&["/builds", "/builds/shop/", "example.com/shop"]);
        assert_eq!(roots.relative("/builds/shop/client/orders.go"), "client/orders.go");
        assert_eq!(roots.relative("/builds/bank/main.go"), "bank/main.go");
        assert_eq!(roots.relative("example.com/shop/client/orders.go"), "client/orders.go");
        let mut file = "/builds/shop/client/orders.go:41".to_owned();
        roots.shorten(&mut file);
        assert_eq!(file, "client/orders.go:41");
    }

    #[test]
    fn a_file_below_no_root_stays_as_it_was_compiled() {
        let roots = roots(&["/builds/shop", "", "/"]);
        for file in
            ["/builds/shopping/main.go", "/root/go/pkg/mod/x/y.go", "builds/shop/a.go", "/builds/shop", ""]
        {
            assert_eq!(roots.relative(file), file);
        }
    }
}

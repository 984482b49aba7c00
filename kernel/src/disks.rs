//! How large file systems are.

use std::io;
use std::path::Path;

/// Bytes that the file system of a directory could hold if it were empty (statvfs(3)); 0 where it does not say.
///
/// # Errors
/// As the system says, such as that there is no such directory.
pub fn size_of(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_blocks.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_holds_more_than_nothing_and_one_that_is_not_there_is_an_error() {
        let size = size_of(&std::env::temp_dir()).expect("a file system");
        assert!(size > 1 << 20, "{size}");
        assert_eq!(size_of(Path::new("/no/such/folder")).map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
    }
}

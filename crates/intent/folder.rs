//! The files of a folder that people edit.

use std::io;
use std::path::{Path, PathBuf};

/// The files in a folder whose names end in `.` and this, by name; none if the folder is not there.
///
/// # Errors
/// The folder cannot be listed, or not whole: a file that silently fell out would be missed only when it is needed.
pub fn files_in(folder: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = listing.map(|entry| entry.map(|entry| entry.path()));
    let mut files = paths.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default();
        // What begins with a dot is an editor's.
        !name.as_encoded_bytes().starts_with(b".")
            && file.extension().is_some_and(|extension| extension == ending)
    });
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_folder_come_by_name_and_a_folder_that_is_not_there_has_none() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", "c.txt", "toml", ".#a.toml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files_in(folder.path(), "toml").unwrap();
        assert_eq!(found, ["a.toml", "b.toml"].map(|name| folder.path().join(name)));
        assert!(files_in(&folder.path().join("absent"), "toml").unwrap().is_empty());
        assert!(files_in(&folder.path().join("a.toml"), "toml").is_err());
    }
}

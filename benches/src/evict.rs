//! Taking files out of the page cache, so that what reads them next reads from the disk, as after a power cut.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::Result;

/// Syncs every file below `directory` and asks the kernel to forget its pages.
pub fn evict(directory: &Path) -> Result<()> {
    for_each_file(directory, &mut |path| {
        let file = File::open(path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(())
    })
}

/// Bytes of all files below `directory`, as the disk counts them.
pub fn disk_size(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for_each_file(directory, &mut |path| {
        // A block that is being rewritten may be gone between the listing and now.
        bytes += path.metadata().map(|metadata| metadata.blocks() * 512).unwrap_or_default();
        Ok(())
    })?;
    Ok(bytes)
}

fn for_each_file(directory: &Path, act: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            for_each_file(&path, act)?;
        } else {
            act(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_all_levels_are_added() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("below")).unwrap();
        std::fs::write(directory.path().join("one"), vec![1; 4096]).unwrap();
        std::fs::write(directory.path().join("below/two"), vec![1; 8192]).unwrap();
        evict(directory.path()).unwrap();
        assert!(disk_size(directory.path()).unwrap() >= 12_288);
        assert_eq!(std::fs::read(directory.path().join("below/two")).unwrap().len(), 8192);
    }
}

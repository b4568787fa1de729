//! What is in a folder, so that a path that is for none of its files is known without a look for each.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// A folder with more names is not remembered.
const MOST: usize = 4096;

/// What changes a folder sooner after another change may leave its times as they are: file systems round them, to two
/// seconds at worst.
const SETTLED: Duration = Duration::from_secs(3);

/// The names in one folder, of which those that begin with a dot do not count.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: RwLock<Option<Listing>>,
}

#[derive(Debug)]
struct Listing {
    as_of: Times,
    /// Folded; `None` when there are too many, or they may not be read.
    names: Option<HashSet<Vec<u8>>>,
}

/// When a folder was last changed. One of the two may be set by anybody, the other one by nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Times {
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Times {
    fn of(folder: &File) -> Option<Self> {
        let found = folder.metadata().ok()?;
        let modified = (found.mtime(), found.mtime_nsec());
        Some(Self { modified, changed: (found.ctime(), found.ctime_nsec()) })
    }

    /// Whether a change from `now` on will be seen by them.
    fn are_settled(self, now: SystemTime) -> bool {
        let last = u64::try_from(self.modified.0.max(self.changed.0)).unwrap_or(0);
        now.duration_since(UNIX_EPOCH + Duration::from_secs(last)).is_ok_and(|ago| ago >= SETTLED)
    }
}

impl Names {
    /// Whether `folder` certainly has no file of the name `name`, nor what is looked for in its place. It asks for the times
    /// of a folder that is open, which waits for no local disk, and knows nothing before [`Names::learn`].
    pub(super) fn rule_out(&self, folder: &File, name: &[u8]) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Listing { as_of, names: Some(names) }) = known.as_ref() else { return false };
        let has = |name: &[u8]| fold(name).is_none_or(|name| names.contains(&name));
        let may_have = match name.iter().position(|&octet| octet == b'/') {
            Some(slash) => has(&name[..slash]),
            None if name.is_empty() => has(b"index.html"),
            None => has(name) || has(&[name, b".html"].concat()),
        };
        !may_have && Times::of(folder) == Some(*as_of)
    }

    /// Reads what is in `folder`, unless that is known or it has just been changed.
    pub(super) fn learn(&self, folder: &File, now: SystemTime) {
        let Some(as_of) = Times::of(folder).filter(|times| times.are_settled(now)) else { return };
        let is_known = |listing: &Listing| listing.as_of == as_of;
        if self.known.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_known) {
            return;
        }
        let names = read(folder);
        if Times::of(folder) == Some(as_of) {
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Listing { as_of, names });
        }
    }
}

fn read(folder: &File) -> Option<HashSet<Vec<u8>>> {
    let mut entries = Dir::openat(folder, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let mut names = HashSet::new();
    for entry in entries.iter() {
        let entry = entry.ok()?;
        names.insert(fold(entry.file_name().to_bytes()).unwrap_or_default());
        if names.len() > MOST {
            return None;
        }
    }
    Some(names)
}

/// A name as those compare it that do not tell letters of one case from those of the other. `None` of one that nobody can
/// tell that of.
fn fold(name: &[u8]) -> Option<Vec<u8>> {
    name.is_ascii().then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[&str]) -> Self {
            let path = std::env::temp_dir().join(format!("rserve-names-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("docs")).unwrap();
            for file in files {
                fs::write(path.join(file), file).unwrap();
            }
            Self(path)
        }

        fn open(&self) -> File {
            File::open(&self.0).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn later() -> SystemTime {
        SystemTime::now() + SETTLED
    }

    #[test]
    fn what_is_in_no_folder_is_ruled_out() {
        let files =
            ["about.html", "app.css", "Robots.TXT", "Ärger.txt", ".htaccess", "plain", "docs/index.html"];
        let folder = Folder::new("ruled", &files);
        let (names, root) = (Names::default(), folder.open());
        assert!(!names.rule_out(&root, b"users"), "before anything is known");
        names.learn(&root, later());
        for name in ["", "users", "users/1", "about/1", "app", "app.css.html", "htaccess", "plain.css"] {
            assert!(names.rule_out(&root, name.as_bytes()), "{name}");
        }
        for name in [
            "about",
            "about.html",
            "app.css",
            "app.css/1",
            "robots.txt",
            "docs",
            "docs/1",
            "plain",
            "ä",
            "ä/1",
        ] {
            assert!(!names.rule_out(&root, name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_comes_later_is_not_ruled_out() {
        let folder = Folder::new("later", &[]);
        let (names, root) = (Names::default(), folder.open());
        names.learn(&root, later());
        assert!(names.rule_out(&root, b"new.html"));
        // The clock of the file system has to go on.
        let before = Times::of(&root);
        while Times::of(&root) == before {
            fs::write(folder.0.join("new.html"), "new").unwrap();
            fs::write(folder.0.join("other"), "other").unwrap();
            fs::remove_file(folder.0.join("other")).unwrap();
        }
        assert!(!names.rule_out(&root, b"new.html"));
        assert!(!names.rule_out(&root, b"users"), "nothing is known of what has changed");
        names.learn(&root, later());
        assert!(!names.rule_out(&root, b"new.html"));
        assert!(names.rule_out(&root, b"users"));
    }

    #[test]
    fn a_folder_that_has_just_changed_or_has_too_much_in_it_is_not_known() {
        let folder = Folder::new("many", &[]);
        let (names, root) = (Names::default(), folder.open());
        names.learn(&root, SystemTime::now());
        assert!(!names.rule_out(&root, b"users"));
        for number in 0..MOST {
            File::create(folder.0.join(number.to_string())).unwrap();
        }
        names.learn(&root, later());
        assert!(!names.rule_out(&root, b"users"));
    }
}

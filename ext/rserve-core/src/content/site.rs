//! Folders whose files the server answers with, and which file a path is for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::fstatat;
use rserve_http1::content::codings::{Acceptance, Coding};
use rserve_http1::content::paths;

use super::answer::{Content, OWN_FIELDS};
use super::media::{MediaTypes, is_compressible};
use super::names::Names;
use crate::config::options::ContentOptions;
use crate::sys::open_beneath;

/// See the module.
#[derive(Debug)]
pub struct Site {
    folders: Vec<Folder>,
    types: MediaTypes,
}

#[derive(Debug)]
struct Folder {
    root: File,
    names: Names,
    at: Vec<u8>,
    fields: Vec<(String, String)>,
    immutable: bool,
}

/// What a path is for.
#[derive(Debug)]
pub enum Found<'a> {
    /// This file.
    File(Selected<'a>),
    /// Nothing here: the application is asked.
    Nothing,
    /// Perhaps a file; but no descriptor or memory is left to open it.
    Exhausted,
}

/// A file, open for reading.
#[derive(Debug)]
pub struct Selected<'a> {
    /// The file.
    pub file: File,
    /// What it is.
    pub content: Content<'a>,
}

/// Why a name gives no file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Absent {
    /// Nothing has it, so nothing is below it either.
    Name,
    /// What has it is no regular file, or none that may be read.
    File,
    /// Nobody knows: no descriptor or memory is left.
    Unknown,
}

/// What of a file changes with its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    pub(super) length: u64,
    pub(super) modified: u64,
}

impl Stamp {
    /// Of a regular file as it is now; `None` of anything else.
    pub(crate) fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
        let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
        let nanoseconds = u64::try_from(metadata.mtime_nsec()).unwrap_or(0);
        let modified = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        Some(Self { length: metadata.len(), modified })
    }
}

impl Site {
    /// Opens the folders of `options`; `None` when there are none.
    ///
    /// # Errors
    ///
    /// One cannot be opened.
    pub fn open(options: &ContentOptions) -> io::Result<Option<Self>> {
        let folders = options.folders.iter().map(|folder| {
            let path = &folder.folder;
            let root = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
            let root = root.map_err(|error| {
                io::Error::new(error.kind(), format!("static {}: {error}", path.display()))
            })?;
            let is_own = |name: &str| OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
            let fields = folder.fields.iter().filter(|(name, _)| !is_own(name)).cloned().collect();
            let at = folder.at.trim_end_matches('/').as_bytes().to_vec();
            Ok(Folder { root, names: Names::default(), at, fields, immutable: folder.immutable })
        });
        let folders = folders.collect::<io::Result<Vec<_>>>()?;
        let types = MediaTypes::new(&options.media_types);
        Ok((!folders.is_empty()).then_some(Self { folders, types }))
    }

    /// Whether `path`, as a client has sent it, is certainly for no file: told without waiting for a disk.
    pub fn rules_out(&self, path: &[u8]) -> bool {
        self.folders.iter().all(|folder| {
            let name = paths::below(path, &folder.at);
            name.is_none_or(|name| folder.names.rule_out(&folder.root, &name))
        })
    }

    /// The file that `path` is for, as a client has sent it, in a coding that it takes. What it has to look for in vain, as
    /// a look at the folders would have told, [`Site::rules_out`] knows from then on.
    ///
    /// As `ActionDispatch::Static` looks for it: as it is, and, where its name has no extension that is known, with
    /// `.html` and as a folder with an `index.html`.
    pub fn find(&self, path: &[u8], accepted: Acceptance, now: SystemTime) -> Found<'_> {
        for folder in &self.folders {
            let Some(name) = paths::below(path, &folder.at) else { continue };
            match self.find_in(folder, name, accepted) {
                Found::Nothing => folder.names.learn(&folder.root, now),
                found => return found,
            }
        }
        Found::Nothing
    }

    fn find_in<'a>(&'a self, folder: &'a Folder, name: Vec<u8>, accepted: Acceptance) -> Found<'a> {
        let html = self.types.of(b".html").unwrap_or("text/html");
        if name.is_empty() {
            return Self::select(folder, b"index.html", html, accepted).into();
        }
        let media = self.types.of(paths::extension(&name));
        let absent = match Self::select(folder, &name, media.unwrap_or("text/plain"), accepted) {
            Err(absent @ (Absent::Name | Absent::File)) if media.is_none() => absent,
            found => return found.into(),
        };
        match Self::select(folder, &[name.as_slice(), b".html"].concat(), html, accepted) {
            Err(Absent::Name | Absent::File) if absent == Absent::File => {}
            found => return found.into(),
        }
        Self::select(folder, &[name.as_slice(), b"/index.html"].concat(), html, accepted).into()
    }

    /// The file of this name, or one beside it that is coded as the client likes it.
    fn select<'a>(
        folder: &'a Folder,
        name: &[u8],
        media: &'a str,
        accepted: Acceptance,
    ) -> Result<Selected<'a>, Absent> {
        let (file, stamp) = folder.open(name)?;
        let varies = is_compressible(media.as_bytes());
        let offered: &[Coding] = if varies { &Coding::ALL } else { &[] };
        let mut coded = accepted.ranked(offered).filter_map(|coding| {
            // One that cannot be opened now is only a larger response.
            let (file, stamp) = folder.open(&[name, coding.suffix().as_bytes()].concat()).ok()?;
            Some((file, stamp, Some(coding)))
        });
        let (file, Stamp { length, modified }, coding) = coded.next().unwrap_or((file, stamp, None));
        let immutable = folder.immutable && paths::is_digested(name);
        let fields = &folder.fields;
        Ok(Selected { file, content: Content { length, modified, media, coding, varies, immutable, fields } })
    }
}

impl<'a> From<Result<Selected<'a>, Absent>> for Found<'a> {
    fn from(selected: Result<Selected<'a>, Absent>) -> Self {
        match selected {
            Ok(selected) => Self::File(selected),
            Err(Absent::Name | Absent::File) => Self::Nothing,
            Err(Absent::Unknown) => Self::Exhausted,
        }
    }
}

impl Selected<'_> {
    /// By which it is seen whether the file is still what it was.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { length: self.content.length, modified: self.content.modified }
    }
}

impl Folder {
    /// A regular file that may be read.
    fn open(&self, name: &[u8]) -> Result<(File, Stamp), Absent> {
        match open_beneath(self.root.as_fd(), name) {
            Ok(file) => Stamp::of(&file).map(|stamp| (file, stamp)).ok_or(Absent::File),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Err(Absent::Name),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) if self.may_have(name) => Err(Absent::Unknown),
            Err(_) => Err(Absent::File),
        }
    }

    /// Whether there is a file of this name, perhaps by a way that leads out of the folder: asked without a descriptor.
    fn may_have(&self, name: &[u8]) -> bool {
        let found = fstatat(&self.root, name, AtFlags::empty());
        found.is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFREG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::StaticFolder;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rserve-site-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            for folder in ["public/docs", "public/.well-known", "public/.git", "public/a.css.d", "more"] {
                std::fs::create_dir_all(path.join(folder)).unwrap();
            }
            for file in [
                "public/index.html",
                "public/about.html",
                "public/about.html.br",
                "public/docs/index.html",
                "public/docs.html",
                "public/app.css",
                "public/app.css.gz",
                "public/app.css.br",
                "public/logo.png",
                "public/logo.png.gz",
                "public/plain",
                "public/only.js.br",
                "public/.htaccess",
                "public/.git/config",
                "public/.well-known/security.txt",
                "public/unreadable.txt",
                "public/assets-1a2b3c4d.css",
                "more/extra.js",
                "secret",
            ] {
                std::fs::write(path.join(file), file).unwrap();
            }
            symlink("../secret", path.join("public/escape.txt")).unwrap();
            symlink("app.css", path.join("public/link.css")).unwrap();
            nix::unistd::mkfifo(&path.join("public/fifo.txt"), nix::sys::stat::Mode::S_IRUSR).unwrap();
            Self(path)
        }

        fn site(&self) -> Site {
            let folder = |folder: &str, at: &str, immutable| StaticFolder {
                folder: self.0.join(folder),
                at: at.into(),
                fields: vec![("X-A".into(), "b".into()), ("Content-Length".into(), "7".into())],
                immutable,
            };
            let folders = vec![folder("public", "/", true), folder("more", "/assets/", false)];
            Site::open(&ContentOptions { folders, ..ContentOptions::default() }).unwrap().unwrap()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_path_is_for_a_file_or_for_the_application() {
        let files = Files::new("paths");
        let site = files.site();
        let (none, all) = (Acceptance::default(), Acceptance::of([&b"gzip, br, zstd"[..]]));
        let gzip = Acceptance::of([&b"gzip"[..]]);
        for (path, accepted, want) in [
            ("/", none, Some("public/index.html text/html")),
            ("/index.html", none, Some("public/index.html text/html")),
            ("/index", none, Some("public/index.html text/html")),
            ("/about", none, Some("public/about.html text/html")),
            ("/about", all, Some("public/about.html.br text/html")),
            ("/about", gzip, Some("public/about.html text/html")),
            ("/about/", none, Some("public/about.html text/html")),
            // The file comes before the folder, as in Rails.
            ("/docs", none, Some("public/docs.html text/html")),
            ("/docs/", none, Some("public/docs.html text/html")),
            ("/docs/index", none, Some("public/docs/index.html text/html")),
            ("/app.css", none, Some("public/app.css text/css")),
            ("/app.css", all, Some("public/app.css.br text/css")),
            ("/app.css", gzip, Some("public/app.css.gz text/css")),
            ("/app.css.gz", none, Some("public/app.css.gz application/x-gzip")),
            ("/link.css", none, Some("public/app.css text/css")),
            ("/logo.png", gzip, Some("public/logo.png image/png")),
            ("/plain", none, Some("public/plain text/plain")),
            ("/assets/extra.js", none, Some("more/extra.js text/javascript")),
            ("/assets-1a2b3c4d.css", none, Some("public/assets-1a2b3c4d.css text/css")),
            ("/.well-known/security.txt", none, Some("public/.well-known/security.txt text/plain")),
            ("/only.js", all, None),
            ("/escape.txt", none, None),
            ("/fifo.txt", none, None),
            ("/a.css.d", none, None),
            ("/app", none, None),
            ("/app.css.html", none, None),
            ("/.htaccess", none, None),
            ("/.git/config", none, None),
            ("/../secret", none, None),
            ("/%2e%2e/secret", none, None),
            ("/assets/../secret", none, None),
            ("/assets", none, None),
            ("/extra.js", none, None),
            ("/missing", none, None),
            ("/app.css/index.html", none, None),
        ] {
            let found = match site.find(path.as_bytes(), accepted, SystemTime::now()) {
                Found::File(Selected { mut file, content }) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    assert_eq!(text.len() as u64, content.length, "{path}");
                    assert_eq!(content.fields, [("X-A".to_owned(), "b".to_owned())]);
                    assert_eq!(content.immutable, path.contains("1a2b3c4d"), "{path}");
                    assert_eq!(
                        content.varies,
                        !content.media.contains("png") && !content.media.contains("gzip")
                    );
                    Some(format!("{text} {}", content.media))
                }
                Found::Nothing => None,
                Found::Exhausted => panic!("{path}: no descriptor is left"),
            };
            assert_eq!(found.as_deref(), want, "{path} {accepted:?}");
        }
    }

    #[test]
    fn a_file_that_was_written_to_has_another_stamp() {
        let files = Files::new("stamps");
        let path = files.0.join("public/plain");
        let file = File::open(&path).unwrap();
        let before = Stamp::of(&file).unwrap();
        assert_eq!(Stamp::of(&file), Some(before));
        std::fs::write(&path, "public/plain, and more").unwrap();
        assert_ne!(Stamp::of(&file), Some(before));
        assert_eq!(Stamp::of(&File::open(&files.0).unwrap()), None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder =
            StaticFolder { folder: "/nowhere".into(), at: "/".into(), fields: Vec::new(), immutable: true };
        let options = ContentOptions { folders: vec![folder], ..ContentOptions::default() };
        assert!(Site::open(&options).unwrap_err().to_string().starts_with("static /nowhere: "));
        assert!(Site::open(&ContentOptions::default()).unwrap().is_none());
    }
}

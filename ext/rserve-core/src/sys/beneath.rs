//! Opening what a client has named, beneath a folder and nowhere else.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

/// The kernel has no openat2(2) (before Linux 5.6), or a filter of system calls hides it.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

/// How often it is tried again when something on the way was renamed meanwhile.
const TRIES: usize = 3;

/// Opens `path` for reading, which must lead to something beneath `folder` at every step: no `..` and no symbolic link
/// takes it elsewhere, and none of proc(5)'s links is followed. Neither waits for the other end of a FIFO nor takes a
/// terminal. What it opened may be anything.
///
/// Without openat2(2) no symbolic link is followed at all.
///
/// # Errors
///
/// As openat2(2); `EXDEV` when it would lead elsewhere.
pub(crate) fn open_beneath(folder: BorrowedFd<'_>, path: &[u8]) -> nix::Result<File> {
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        match resolve_beneath(folder, path) {
            Err(Errno::ENOSYS | Errno::EPERM) if !is_known(folder) => {
                WITHOUT_OPENAT2.store(true, Ordering::Relaxed);
            }
            outcome => return outcome,
        }
    }
    walk(folder, path)
}

fn how_to_read() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

fn resolve_beneath(folder: BorrowedFd<'_>, path: &[u8]) -> nix::Result<File> {
    let how = OpenHow::new()
        .flags(how_to_read())
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut tries = 0..TRIES;
    loop {
        match openat2(folder, path, how) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if tries.next().is_some() => {}
            outcome => return outcome.map(File::from),
        }
    }
}

/// Whether the kernel opens `folder` itself in this way.
fn is_known(folder: BorrowedFd<'_>) -> bool {
    resolve_beneath(folder, b".").is_ok()
}

/// Step by step, through folders only.
fn walk(folder: BorrowedFd<'_>, path: &[u8]) -> nix::Result<File> {
    let step = |from: BorrowedFd<'_>, name: &[u8], flags: OFlag| {
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::EXDEV);
        }
        openat(from, name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
    };
    let mut here: Option<OwnedFd> = None;
    let mut rest = path;
    while let Some(slash) = rest.iter().position(|&octet| octet == b'/') {
        let from = here.as_ref().map_or(folder, AsFd::as_fd);
        here = Some(step(from, &rest[..slash], OFlag::O_PATH | OFlag::O_DIRECTORY)?);
        rest = &rest[slash + 1..];
    }
    step(here.as_ref().map_or(folder, AsFd::as_fd), rest, how_to_read()).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    /// A folder of this test's own, gone after it.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rserve-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(path.join("root/inner")).unwrap();
            std::fs::write(path.join("secret"), "secret").unwrap();
            std::fs::write(path.join("root/file"), "file").unwrap();
            std::fs::write(path.join("root/inner/file"), "inner").unwrap();
            symlink("inner/file", path.join("root/link")).unwrap();
            symlink("../file", path.join("root/inner/up")).unwrap();
            symlink("inner", path.join("root/folder")).unwrap();
            symlink("../secret", path.join("root/out")).unwrap();
            symlink(path.join("secret"), path.join("root/absolute")).unwrap();
            symlink("..", path.join("root/parent")).unwrap();
            symlink("loop", path.join("root/loop")).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn nothing_is_opened_that_is_not_beneath_the_folder() {
        let folder = Folder::new("beneath");
        let root = File::open(folder.0.join("root")).unwrap();
        let read = |opened: nix::Result<File>| {
            let mut text = String::new();
            opened.map(|mut file| {
                file.read_to_string(&mut text).map(|_| text).unwrap_or_else(|_| "a folder".into())
            })
        };
        let secret = folder.0.join("secret");
        for (path, linked, walked) in [
            ("file", Some("file"), Some("file")),
            ("inner/file", Some("inner"), Some("inner")),
            ("inner", Some("a folder"), Some("a folder")),
            ("link", Some("inner"), None),
            ("inner/up", Some("file"), None),
            ("folder/file", Some("inner"), None),
            ("out", None, None),
            ("absolute", None, None),
            ("parent/secret", None, None),
            ("parent", None, None),
            ("../secret", None, None),
            ("inner/../../secret", None, None),
            ("loop", None, None),
            ("file/file", None, None),
            ("missing", None, None),
            (secret.to_str().unwrap(), None, None),
            ("/proc/self/root/etc/passwd", None, None),
            ("", None, None),
        ] {
            assert_eq!(
                read(resolve_beneath(root.as_fd(), path.as_bytes())).ok().as_deref(),
                linked,
                "{path}"
            );
            assert_eq!(
                read(walk(root.as_fd(), path.as_bytes())).ok().as_deref(),
                walked,
                "{path}, step by step"
            );
            assert_eq!(read(open_beneath(root.as_fd(), path.as_bytes())).ok().as_deref(), linked, "{path}");
        }
        assert_eq!(open_beneath(root.as_fd(), b"fi\0le").map(drop), Err(Errno::EINVAL));
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let folder = Folder::new("fifo");
        nix::unistd::mkfifo(&folder.0.join("root/fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let root = File::open(folder.0.join("root")).unwrap();
        assert!(open_beneath(root.as_fd(), b"fifo").is_ok_and(|file| !file.metadata().unwrap().is_file()));
        assert!(walk(root.as_fd(), b"fifo").is_ok());
    }
}

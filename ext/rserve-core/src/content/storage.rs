//! Files that the application has named for the server to send (`X-Sendfile`).

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use rserve_http1::content::conditions::Validators;
use rserve_http1::content::ranges::{self, Part};

use super::answer::{self, Question, Selection};
use super::site::Stamp;
use crate::sys::open_beneath;

/// Folders with such files.
#[derive(Debug)]
pub struct Storage {
    folders: Vec<(File, Vec<Vec<u8>>)>,
}

/// Why a file is not sent: the application's mistake.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StorageError {
    /// Nothing there is for clients.
    #[error("it is in none of the folders of x_sendfile")]
    Outside,
    /// It is no regular file that may be read.
    #[error("{0}")]
    Unreadable(Errno),
}

/// A file of the storage, open for reading.
#[derive(Debug)]
pub struct StoredFile {
    pub(crate) file: Arc<File>,
    pub(crate) stamp: Stamp,
}

/// How the application's response changes by its file.
#[derive(Debug)]
pub struct Sent {
    /// Its status.
    pub status: u16,
    /// Fields that come in place of the application's own of these names.
    pub replaced: Vec<(&'static str, Vec<u8>)>,
    /// Fields that come where the application has none of these names.
    pub added: Vec<(&'static str, Vec<u8>)>,
    /// What is sent.
    pub parts: Vec<Part>,
}

impl Storage {
    /// Opens the folders; `None` when there are none.
    ///
    /// # Errors
    ///
    /// One cannot be opened.
    pub fn open(folders: &[(PathBuf, Vec<String>)]) -> io::Result<Option<Self>> {
        let folders = folders.iter().map(|(path, names)| {
            let root = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
            let root = root.map_err(|error| {
                io::Error::new(error.kind(), format!("x_sendfile {}: {error}", path.display()))
            })?;
            let names = names.iter().map(|name| name.trim_end_matches('/').as_bytes().to_vec()).collect();
            Ok((root, names))
        });
        let folders = folders.collect::<io::Result<Vec<_>>>()?;
        Ok((!folders.is_empty()).then_some(Self { folders }))
    }

    /// Opens the file that the application calls `path`, from the root of the file system on.
    ///
    /// # Errors
    ///
    /// It is not there, or not in one of the folders.
    pub fn find(&self, path: &[u8]) -> Result<StoredFile, StorageError> {
        let mut failure = StorageError::Outside;
        for (root, names) in &self.folders {
            let inner = |name: &Vec<u8>| path.strip_prefix(name.as_slice())?.strip_prefix(b"/");
            let Some(inner) = names.iter().find_map(inner) else { continue };
            match open_beneath(root.as_fd(), inner) {
                Ok(file) => match Stamp::of(&file) {
                    Some(stamp) => return Ok(StoredFile { file: Arc::new(file), stamp }),
                    None => failure = StorageError::Unreadable(Errno::EISDIR),
                },
                Err(Errno::EXDEV) => {}
                Err(errno) => failure = StorageError::Unreadable(errno),
            }
        }
        Err(failure)
    }
}

/// How a response with `status` and the fields `own` is sent with `file` in answer to `question`, at `now`, in seconds since 1970.
/// The application's validators count, if it has any; parts and conditions are of a response that is whole.
pub fn sent(
    question: &Question<'_>,
    status: u16,
    own: &[(&[u8], &[u8])],
    file: &StoredFile,
    now: u64,
    salt: u64,
) -> Sent {
    let own = |name: &str| {
        own.iter().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
    };
    let Stamp { length, modified } = file.stamp;
    let mut sent = Sent { status, replaced: Vec::new(), added: Vec::new(), parts: answer::whole(length) };
    if status != 200 {
        return sent;
    }
    let (mut etag, mut time) = (own("etag").map(Cow::Borrowed), None);
    match own("last-modified") {
        Some(date) => time = rserve_http1::parse_date(date, now),
        None if etag.is_none() => {
            etag = answer::etag(modified, length, None).map(|etag| Cow::Owned(etag.into_bytes()));
            time = answer::last_modified(modified, now);
            sent.added.extend(etag.iter().map(|etag| ("ETag", etag.to_vec())));
            sent.added.extend(time.map(|time| ("Last-Modified", answer::date(time))));
        }
        None => {}
    }
    sent.added.push(("Accept-Ranges", b"bytes".to_vec()));
    let mut content_range = Vec::new();
    match question.select(Validators { etag: etag.as_deref(), modified: time }, length, now) {
        Selection::Whole => {}
        Selection::NotModified => (sent.status, sent.parts) = (304, Vec::new()),
        Selection::Failed => (sent.status, sent.parts) = (412, Vec::new()),
        Selection::Unsatisfiable => {
            ranges::unsatisfied_range(length, &mut content_range);
            (sent.status, sent.parts) = (416, Vec::new());
        }
        Selection::Parts(parts) => {
            sent.status = 206;
            sent.parts = match parts.as_slice() {
                [one] => {
                    ranges::content_range(one, length, &mut content_range);
                    vec![Part::File(one.clone())]
                }
                several => {
                    let boundary = answer::boundary(salt);
                    sent.replaced.push(("Content-Type", answer::byteranges(&boundary)));
                    ranges::multipart(several, own("content-type"), length, &boundary)
                }
            };
        }
    }
    if !content_range.is_empty() {
        sent.replaced.push(("Content-Range", content_range));
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn storage(name: &str) -> (PathBuf, Storage) {
        let path = std::env::temp_dir().join(format!("rserve-storage-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("storage/ab")).unwrap();
        std::fs::create_dir_all(path.join("more")).unwrap();
        for file in ["storage/ab/file", "storage/.hidden", "more/file", "secret"] {
            std::fs::write(path.join(file), "0123456789").unwrap();
        }
        symlink("../secret", path.join("storage/link")).unwrap();
        let folders = [
            (path.join("storage"), vec!["/app/storage".to_owned(), "/releases/1/storage/".to_owned()]),
            (path.join("more"), vec!["/app/storage/more".to_owned()]),
        ];
        let storage = Storage::open(&folders).unwrap().unwrap();
        (path, storage)
    }

    #[test]
    fn only_what_is_in_a_folder_is_sent() {
        let (path, storage) = storage("find");
        let unreadable = |errno| Err(StorageError::Unreadable(errno));
        for (name, want) in [
            ("/app/storage/ab/file", Ok(10)),
            ("/releases/1/storage/ab/file", Ok(10)),
            ("/app/storage/.hidden", Ok(10)),
            ("/app/storage/more/file", Ok(10)),
            ("/app/storage/ab", unreadable(Errno::EISDIR)),
            ("/app/storage/missing", unreadable(Errno::ENOENT)),
            ("/app/storage/", unreadable(Errno::ENOENT)),
            ("/app/storage", Err(StorageError::Outside)),
            ("/app/storage2/ab/file", Err(StorageError::Outside)),
            ("/app/storage/../secret", Err(StorageError::Outside)),
            ("/app/storage/link", Err(StorageError::Outside)),
            ("/etc/passwd", Err(StorageError::Outside)),
            ("ab/file", Err(StorageError::Outside)),
            ("", Err(StorageError::Outside)),
        ] {
            assert_eq!(storage.find(name.as_bytes()).map(|it| it.stamp.length), want, "{name}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_file_is_sent_as_its_request_asks_and_its_application_says() {
        let (path, storage) = storage("sent");
        let mut file = storage.find(b"/app/storage/ab/file").unwrap();
        file.stamp.modified = 784_111_777_000_000_000;
        let etag: (&[u8], &[u8]) = (b"etag", b"\"app\"");
        let media: (&[u8], &[u8]) = (b"content-type", b"image/png");
        for (asked, status, own, want) in [
            (&[][..], 200, &[][..], "200 +ETag +Last-Modified +Accept-Ranges 0..10"),
            (&[], 200, &[etag], "200 +Accept-Ranges 0..10"),
            (&[], 404, &[], "404 0..10"),
            (&[("Range", "bytes=2-3")], 404, &[], "404 0..10"),
            (
                &[("Range", "bytes=2-3")],
                200,
                &[],
                "206 +ETag +Last-Modified +Accept-Ranges =Content-Range: bytes 2-3/10 2..4",
            ),
            (
                &[("Range", "bytes=2-3"), ("If-Range", "\"app\"")],
                200,
                &[etag],
                "206 +Accept-Ranges =Content-Range: bytes 2-3/10 2..4",
            ),
            (&[("Range", "bytes=2-3"), ("If-Range", "\"old\"")], 200, &[etag], "200 +Accept-Ranges 0..10"),
            (&[("Range", "bytes=20-")], 200, &[etag], "416 +Accept-Ranges =Content-Range: bytes */10"),
            (
                &[("Range", "bytes=0-0,9-9")],
                200,
                &[etag, media],
                "206 +Accept-Ranges =Content-Type: multipart/byteranges; boundary=rserve-0000000000000001 83 0..1 85 9..10 31",
            ),
            (&[("If-None-Match", "\"app\"")], 200, &[etag], "304 +Accept-Ranges"),
            (&[("If-Match", "\"other\"")], 200, &[etag], "412 +Accept-Ranges"),
            (
                &[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")],
                200,
                &[],
                "304 +ETag +Last-Modified +Accept-Ranges",
            ),
        ] {
            let fields = asked.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let question = Question::of_fields(b"GET", fields);
            let sent = sent(&question, status, own, &file, 1_000_000_000, 1);
            let mut text = sent.status.to_string();
            sent.added.iter().for_each(|(name, _)| text += &format!(" +{name}"));
            for (name, value) in &sent.replaced {
                text += &format!(" ={name}: {}", String::from_utf8_lossy(value));
            }
            for part in &sent.parts {
                text += &match part {
                    Part::Octets(octets) => format!(" {}", octets.len()),
                    Part::File(range) => format!(" {}..{}", range.start, range.end),
                };
            }
            assert_eq!(text, want, "{asked:?} {own:?}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}

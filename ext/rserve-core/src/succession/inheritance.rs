//! The listeners that a keeper holds for the next generation.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::Number;
use super::message::{Kind, Listening};

/// See the module: each generation's own, as long as there may be use for them.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    held: Vec<Held>,
    /// Of the generation that led last.
    paths: Vec<String>,
}

#[derive(Debug)]
struct Held {
    by: Number,
    listening: Listening,
    file: OwnedFd,
}

impl Inheritance {
    /// A generation listens on these, and no others.
    pub(super) fn take(&mut self, by: Number, listening: Vec<Listening>, files: Vec<OwnedFd>) {
        self.held.retain(|held| held.by != by);
        let held = listening.into_iter().zip(files).map(|(listening, file)| Held { by, listening, file });
        self.held.extend(held);
    }

    /// The listeners of `number` are the server's.
    pub(super) fn keep(&mut self, number: Number) {
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.by == number);
        self.held = kept;
        self.forget(gone);
        self.paths = self.held.iter().filter_map(|held| held.listening.path.clone()).collect();
    }

    /// Whoever listened on these is gone.
    pub(super) fn drop_of(&mut self, number: Number) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.by == number);
        self.held = kept;
        self.forget(gone);
    }

    /// Nobody is to connect any more.
    pub(super) fn close(&mut self) {
        self.held.clear();
    }

    /// Unix sockets whose server has not removed them.
    pub(super) fn remove_paths(&mut self) {
        self.paths.drain(..).for_each(|path| remove(&path));
    }

    fn forget(&self, gone: Vec<Held>) {
        for held in gone {
            if let Some(path) = held.listening.path
                && !self.held.iter().any(|other| other.listening.path.as_ref() == Some(&path))
            {
                remove(&path);
            }
        }
    }

    /// The variables that tell the next generation what it inherits, as in a hot restart.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let at = |held: &Held| format!("{}:{}", held.file.as_raw_fd(), held.listening.url);
        let (tickets, listeners): (Vec<_>, Vec<_>) =
            self.latest().partition(|held| held.listening.kind == Kind::Tickets);
        let (control, own): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|held| held.listening.kind == Kind::Control);
        let mut variables: Vec<_> =
            own.iter().enumerate().map(|(n, held)| (format!("PUMA_INHERIT_{n}"), at(held))).collect();
        variables.extend(control.iter().map(|held| ("RSERVE_INHERIT_CONTROL".into(), at(held))));
        let tickets = tickets.first().map(|held| held.file.as_raw_fd().to_string());
        variables.extend(tickets.map(|fd| ("RSERVE_TICKETS".into(), fd)));
        let borrowed: Vec<_> = own
            .iter()
            .filter(|held| held.listening.kind == Kind::Borrowed)
            .map(|held| held.file.as_raw_fd().to_string())
            .collect();
        if !borrowed.is_empty() {
            variables.push(("RSERVE_BORROWED_FDS".into(), borrowed.join(",")));
        }
        let paths: Vec<_> = self.latest().filter_map(|held| held.listening.path.as_deref()).collect();
        if !paths.is_empty() {
            variables.push(("RSERVE_UNIX_PATHS".into(), paths.join(":")));
        }
        variables
    }

    /// Whether the next generation gets them, or whoever else is executed.
    ///
    /// # Errors
    ///
    /// As fcntl(2).
    pub(super) fn share(&self, shared: bool) -> io::Result<()> {
        self.latest().try_for_each(|held| share(held.file.as_fd(), shared))
    }

    /// Of the generation that led last; another one that has come so far may be there, too.
    fn latest(&self) -> impl Iterator<Item = &Held> {
        let by = self.held.iter().map(|held| held.by).min();
        self.held.iter().filter(move |held| Some(held.by) == by)
    }
}

/// Whether programs that are executed from here on have `fd`.
pub(super) fn share(fd: impl AsFd, shared: bool) -> io::Result<()> {
    let flags = if shared { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

fn remove(path: &str) {
    if fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket()) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn listening(url: &str, kind: Kind, path: Option<&str>) -> Listening {
        Listening { url: url.into(), kind, path: path.map(Into::into) }
    }

    fn file() -> OwnedFd {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn the_next_generation_is_told_what_it_inherits() {
        let mut held = Inheritance::default();
        assert_eq!(held.variables(), []);
        let (own, systemd, control, tickets) = (file(), file(), file(), file());
        let numbers = [&own, &systemd, &control, &tickets].map(AsRawFd::as_raw_fd);
        let listening = vec![
            listening("unix:///a", Kind::Own, Some("/a")),
            listening("tcp://0.0.0.0:80", Kind::Borrowed, None),
            listening("unix:///c", Kind::Control, Some("/c")),
            listening("", Kind::Tickets, None),
        ];
        held.take(Number(1), listening, vec![own, systemd, control, tickets]);
        let want = [
            ("PUMA_INHERIT_0", format!("{}:unix:///a", numbers[0])),
            ("PUMA_INHERIT_1", format!("{}:tcp://0.0.0.0:80", numbers[1])),
            ("RSERVE_INHERIT_CONTROL", format!("{}:unix:///c", numbers[2])),
            ("RSERVE_TICKETS", numbers[3].to_string()),
            ("RSERVE_BORROWED_FDS", numbers[1].to_string()),
            ("RSERVE_UNIX_PATHS", "/a:/c".into()),
        ];
        assert_eq!(held.variables(), want.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn what_the_next_one_does_not_listen_on_is_removed_when_it_leads() {
        let folder = std::env::temp_dir().join(format!("rserve-inheritance-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [old, both, new] =
            ["old", "both", "new"].map(|name| folder.join(name).to_str().unwrap().to_owned());
        let sockets = [&old, &both, &new].map(|path| UnixListener::bind(path).unwrap());
        let own = |path: &str| listening(&format!("unix://{path}"), Kind::Own, Some(path));
        let mut held = Inheritance::default();
        let there = || [&old, &both, &new].map(|path| fs::symlink_metadata(path).is_ok());

        held.take(Number(1), vec![own(&old), own(&both)], vec![file(), file()]);
        held.keep(Number(1));
        held.take(Number(2), vec![own(&both), own(&new)], vec![file(), file()]);
        assert_eq!(held.variables().len(), 3, "those of the one that serves");
        held.drop_of(Number(2));
        assert_eq!(there(), [true, true, false], "the second one failed");
        let _again = UnixListener::bind(&new).unwrap();
        held.take(Number(3), vec![own(&both), own(&new)], vec![file(), file()]);
        held.keep(Number(3));
        assert_eq!(there(), [false, true, true]);
        held.close();
        assert_eq!(held.variables(), []);
        held.remove_paths();
        assert_eq!(there(), [false; 3]);
        drop(sockets);
        fs::remove_dir(&folder).unwrap();
    }
}

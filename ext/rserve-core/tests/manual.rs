//! The manual page and the shells' completions of `rserve` are what the definition of its command line makes of them.
//!
//! `make manual` writes them: with `WRITE_MANUAL` in the environment this test writes what it would otherwise compare.

use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use rserve_core::config::cli::{self, Program};

const NAME: &str = "rserve";
const ABOUT: &str = "a Ruby application server that takes Puma's place";

fn definition() -> Command {
    cli::command(Program { name: NAME, version: "" }).about(ABOUT)
}

fn page() -> Vec<u8> {
    let command = definition();
    let description = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command);
    let mut page = Vec::new();
    control("TH", [NAME, "1"], [], &mut page);
    man.render_name_section(&mut page).expect("memory takes it");
    man.render_synopsis_section(&mut page).expect("memory takes it");
    control("SH", ["DESCRIPTION"], description.lines(), &mut page);
    man.render_options_section(&mut page).expect("memory takes it");
    control("SH", ["SEE ALSO"], ["rservectl(1)"], &mut page);
    let page = String::from_utf8(page).expect("text makes text");
    format!("{PREAMBLE}{}", page.replace(PREAMBLE, "")).into_bytes()
}

/// What each part begins with; once is enough.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn control<'a>(
    name: &str,
    args: impl IntoIterator<Item = &'a str>,
    lines: impl IntoIterator<Item = &'a str>,
    page: &mut Vec<u8>,
) {
    let mut roff = Roff::new();
    roff.control(name, args);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.to_writer(page).expect("memory takes it");
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), NAME, &mut script);
    script
}

#[test]
fn manual_page_and_completions_are_those_of_the_definition() {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, made) in [
        ("man/rserve.1", page()),
        ("completions/rserve.bash", completions(Shell::Bash)),
        ("completions/_rserve", completions(Shell::Zsh)),
        ("completions/rserve.fish", completions(Shell::Fish)),
    ] {
        let file = root.join(path);
        if std::env::var_os("WRITE_MANUAL").is_some() {
            std::fs::create_dir_all(file.parent().expect("it is in a folder")).unwrap();
            std::fs::write(&file, &made).unwrap();
        }
        let kept = std::fs::read(&file).unwrap_or_default();
        assert!(kept == made, "{path} is not what the command line's definition makes of it: make manual");
    }
}

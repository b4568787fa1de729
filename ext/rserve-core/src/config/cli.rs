//! The command line of `rserve`, with Puma's spelling.
//!
//! Words in, options out: nothing here prints, exits, reads the environment or touches a file. What an option *means*
//! (which word of the config file it is) is the caller's business.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

/// What the program is called, for `--help`, `--version` and errors.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Lower-case name, e.g. `rserve`; `puma` when it stands in for Puma.
    pub name: &'a str,
    /// Printed by `--version`.
    pub version: &'a str,
}

/// One option's value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// A switch that is on or off.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Several of a kind, in the order they were given.
    List(Vec<Value>),
    /// Text, a path or a URL; not always UTF-8.
    Text(OsString),
}

/// The options that were given, by name, each once; options that were not given are absent.
///
/// | name | value |
/// |---|---|
/// | `binds` | List of URLs, `--bind` and `--port` in their common order |
/// | `bind_to_activated_sockets` | Flag, or Text "only" |
/// | `config_files` | List of paths; "-" alone for none |
/// | `compat`, `idle_timeout` | Integer |
/// | `fork_worker` | Flag, or Integer |
/// | `workers` | Integer, or Text "auto" |
/// | `threads` | List of two Integers: min and max |
/// | `extra_runtime_dependencies`, `include`, `plugins` | List of Text |
/// | `check`, `debug`, `early_hints`, `log_requests`, `preload`, `prune_bundler`, `redirect_append`, `silent` | Flag |
/// | `control_token`, `control_url`, `dir`, `environment`, `log_format`, `pidfile`, `rackup`, `redirect_stderr`, `redirect_stdout`, `restart_command`, `state`, `tag` | Text |
pub type Options = Vec<(&'static str, Value)>;

/// The program is to end without having started: it was asked for its help or version, or wrongly used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct Exit {
    /// 0 for help and version, 1 for an error.
    pub status: i32,
    /// What to print, without a final line end: to the standard output at status 0, else to the standard error.
    pub text: String,
}

/// Reads a command line, without the program's own name in front.
///
/// Long options may be shortened as long as they stay unique; values may follow a blank, `=`, or a short option
/// directly (`-w2`); options may follow the rackup file.
///
/// # Errors
///
/// [`Exit`] with status 0 when help or the version was asked for; with status 1 and one line of text when an option
/// does not exist or its value makes no sense.
pub fn parse(program: Program<'_>, args: impl IntoIterator<Item = OsString>) -> Result<Options, Exit> {
    let mut matches = command(program)
        .try_get_matches_from(args.into_iter().map(attach_optional_value).fold(Vec::new(), join_only))
        .map_err(|error| exit(program, &error))?;

    if matches.get_flag("version") {
        return Err(Exit { status: 0, text: format!("{} version {}", program.name, program.version) });
    }
    Ok(options(&mut matches))
}

const APPLICATION: &str = "Application";
const BINDING: &str = "Binding";
const CLUSTER: &str = "Processes and threads";
const CONTROL: &str = "Control and state";
const LOGGING: &str = "Logging";
const OTHER: &str = "Other";

/// The definition of the command line: of what [`parse`] reads and `--help` prints, and of the manual page and the
/// shells' completions, too (`make manual`).
pub fn command(program: Program<'_>) -> Command {
    Command::new("rserve")
        .no_binary_name(true)
        .term_width(120)
        .infer_long_args(true)
        .args_override_self(true)
        .allow_negative_numbers(true)
        .disable_help_flag(true)
        .override_usage(format!("{} <options> <rackup file>", program.name))
        .next_help_heading(BINDING)
        .arg(
            value("bind", 'b', "URI")
                .action(ArgAction::Append)
                .help("tcp://host:port, unix://path, ssl://host:port?key=…; repeatable"),
        )
        .arg(
            value("port", 'p', "PORT")
                .action(ArgAction::Append)
                .value_parser(port)
                .help("Bind a TCP port of every IPv4 address"),
        )
        .arg(
            long("bind-to-activated-sockets", "only")
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(["only"])
                .hide_possible_values(true)
                .help("Bind the sockets that systemd opened, too, or only those"),
        )
        .arg(long("idle-timeout", "SECONDS").value_parser(count).help("Stop after so long without a request"))
        .next_help_heading(CLUSTER)
        .arg(
            value("workers", 'w', "COUNT")
                .value_parser(workers)
                .help("Worker processes; `auto` for one per processor"),
        )
        .arg(
            value("threads", 't', "INT")
                .value_parser(threads)
                .help("min:max threads per process [default: 0:5]"),
        )
        .arg(
            value("fork-worker", 'f', "REQUESTS")
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(count)
                .help("Fork workers from worker 0, anew after so many requests [default: 1000]"),
        )
        .arg(flag("preload").help("Load the application before forking the workers"))
        .arg(flag("prune-bundler").help("Keep the application's gems out of the master"))
        .arg(
            long("extra-runtime-dependencies", "GEM1,GEM2")
                .value_delimiter(',')
                .help("Gems that a pruned master keeps"),
        )
        .arg(flag("early-hints").help("Send 103 Early Hints"))
        .next_help_heading(APPLICATION)
        .arg(
            value("config", 'C', "PATH")
                .action(ArgAction::Append)
                .help("Load a config file; `-` for none; repeatable"),
        )
        .arg(flag("no-config").help("Load no config file"))
        .arg(value("environment", 'e', "ENV").help("The application's environment"))
        .arg(long("dir", "DIR").help("Change to this folder first"))
        .arg(
            value("include", 'I', "PATH")
                .action(ArgAction::Append)
                .value_delimiter(':')
                .help("Folders for $LOAD_PATH"),
        )
        .arg(long("plugin", "PLUGIN").action(ArgAction::Append).help("Load a plugin; repeatable"))
        .arg(
            long("compat", "LEVEL")
                .value_parser(count)
                .help("Follow Puma 6, 7 or 8 where they differ [default: 6]"),
        )
        .arg(
            Arg::new("rackup")
                .value_name("rackup file")
                .value_hint(hint("rackup file"))
                .help("The application [default: config.ru]"),
        )
        .next_help_heading(CONTROL)
        .arg(value("state", 'S', "PATH").help("Write a state file, for the control client"))
        .arg(long("pidfile", "PATH").help("Write the pid"))
        .arg(
            long("control-url", "URL")
                .help("Serve statistics and commands; `auto` for a socket in the temporary folder"),
        )
        .arg(
            long("control-token", "TOKEN")
                .help("What the control server wants to be told; empty for nothing"),
        )
        .arg(value("restart-cmd", 'R', "CMD").help("The command of a hot restart [default: this one]"))
        .arg(long("tag", "NAME").help("What process titles end with"))
        .next_help_heading(LOGGING)
        .arg(flag("log-requests").short('v').overrides_with("quiet").help("Write the access log"))
        .arg(flag("quiet").short('q').overrides_with("log-requests").help("Write no access log (default)"))
        .arg(flag("silent").short('s').help("Write nothing but errors"))
        .arg(
            long("log-format", "FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "json"]).map(OsString::from))
                .hide_possible_values(true)
                .help("How log lines are written: text, or json with one object a line"),
        )
        .arg(flag("debug").help("Log more about what the server does"))
        .arg(long("redirect-stdout", "FILE").help("Write the standard output there"))
        .arg(long("redirect-stderr", "FILE").help("Write the standard error there"))
        .arg(flag("redirect-append").overrides_with("no-redirect-append").help("Append to those files"))
        .arg(
            flag("no-redirect-append")
                .overrides_with("redirect-append")
                .help("Begin those files anew (default)"),
        )
        .next_help_heading(OTHER)
        .arg(flag("check").short('n').help("Load everything, say what would run, and end"))
        .arg(flag("version").short('V').help("Print the version"))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print this"))
        .after_help(format!(
            "Without -C, config/puma/ENV.rb or config/puma.rb is read; an option here beats the same word there.\n\
             A running server is told what to do by {}ctl, or by signals: INT and TERM stop it, USR1 and USR2 restart it.",
            program.name
        ))
}

fn long(name: &'static str, value_name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value_name)
        .value_hint(hint(value_name))
        .allow_hyphen_values(matches!(name, "control-token" | "tag"))
        .value_parser(value_parser!(OsString))
}

/// What a shell completes a value to.
fn hint(value_name: &str) -> ValueHint {
    match value_name {
        "DIR" => ValueHint::DirPath,
        "FILE" | "PATH" | "rackup file" => ValueHint::AnyPath,
        "CMD" => ValueHint::CommandString,
        _ => ValueHint::Other,
    }
}

fn value(name: &'static str, short: char, value_name: &'static str) -> Arg {
    long(name, value_name).short(short)
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

/// `-f20` is `--fork-worker=20`: clap would want a `=` after a short option whose value may be missing.
fn attach_optional_value(arg: OsString) -> OsString {
    match arg.as_bytes().strip_prefix(b"-f") {
        Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            OsString::from_vec([b"--fork-worker=", digits].concat())
        }
        _ => arg,
    }
}

/// `--bind-to-activated-sockets only` is one option, but any other word after it is the rackup file.
fn join_only(mut args: Vec<OsString>, arg: OsString) -> Vec<OsString> {
    match args.last_mut() {
        Some(last) if arg == "only" && last == "--bind-to-activated-sockets" => last.push("=only"),
        _ => args.push(arg),
    }
    args
}

fn count(text: &str) -> Result<i64, &'static str> {
    match text.trim().parse() {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err("it must be a whole number"),
    }
}

fn port(text: &str) -> Result<i64, &'static str> {
    let number: u16 = text.trim().parse().map_err(|_| "it must be a whole number up to 65535")?;
    Ok(i64::from(number))
}

fn workers(text: &str) -> Result<Value, &'static str> {
    match text.trim() {
        "auto" => Ok(Value::Text("auto".into())),
        number => count(number).map(Value::Integer).map_err(|_| "workers must be an Integer or auto"),
    }
}

/// `min:max`, `:max` (no minimum) or one number for both.
fn threads(text: &str) -> Result<(i64, i64), &'static str> {
    let (min, max) = match text.trim().split_once(':') {
        Some(("", max)) => (0, count(max)?),
        Some((min, max)) => (count(min)?, count(max)?),
        None => (count(text)?, count(text)?),
    };
    match (min, max) {
        (_, 0) => Err("the maximum must be above 0"),
        _ if min > max => Err("the minimum is above the maximum"),
        both => Ok(both),
    }
}

fn options(matches: &mut ArgMatches) -> Options {
    let mut options: Options = Vec::new();
    let mut give = |name, value: Option<Value>| options.extend(value.map(|value| (name, value)));

    give("binds", binds(matches));
    give(
        "bind_to_activated_sockets",
        optional_value(matches, "bind-to-activated-sockets", |only: String| Value::Text(only.into())),
    );
    give("config_files", config_files(matches));
    give("fork_worker", optional_value(matches, "fork-worker", Value::Integer));
    give("workers", matches.remove_one("workers"));
    let threads: Option<(i64, i64)> = matches.remove_one("threads");
    give("threads", threads.map(|(min, max)| Value::List(vec![Value::Integer(min), Value::Integer(max)])));
    for (name, id) in [("compat", "compat"), ("idle_timeout", "idle-timeout")] {
        give(name, matches.remove_one(id).map(Value::Integer));
    }
    for (name, id) in [
        ("extra_runtime_dependencies", "extra-runtime-dependencies"),
        ("include", "include"),
        ("plugins", "plugin"),
    ] {
        give(name, matches.remove_many(id).map(|texts| Value::List(texts.map(Value::Text).collect())));
    }
    for (name, id) in [
        ("control_token", "control-token"),
        ("control_url", "control-url"),
        ("dir", "dir"),
        ("environment", "environment"),
        ("log_format", "log-format"),
        ("pidfile", "pidfile"),
        ("redirect_stderr", "redirect-stderr"),
        ("redirect_stdout", "redirect-stdout"),
        ("restart_command", "restart-cmd"),
        ("state", "state"),
        ("tag", "tag"),
    ] {
        give(name, matches.remove_one(id).map(Value::Text));
    }
    give("rackup", matches.remove_one("rackup").map(|file: String| Value::Text(file.into())));
    for (name, on, off) in [
        ("log_requests", "log-requests", "quiet"),
        ("redirect_append", "redirect-append", "no-redirect-append"),
    ] {
        let given = matches.get_flag(on) || matches.get_flag(off);
        give(name, given.then(|| Value::Flag(matches.get_flag(on))));
    }
    for (name, id) in [
        ("check", "check"),
        ("debug", "debug"),
        ("early_hints", "early-hints"),
        ("preload", "preload"),
        ("prune_bundler", "prune-bundler"),
        ("silent", "silent"),
    ] {
        give(name, matches.get_flag(id).then_some(Value::Flag(true)));
    }
    options
}

/// `--bind` and `--port` both add a bind, so their order among each other counts.
fn binds(matches: &mut ArgMatches) -> Option<Value> {
    let places = |id| matches.indices_of(id).into_iter().flatten().collect::<Vec<usize>>();
    let (uri_places, port_places) = (places("bind"), places("port"));
    let uris = matches.remove_many("bind").into_iter().flatten().map(Value::Text);
    let ports = matches.remove_many("port").into_iter().flatten().map(Value::Integer);

    let mut binds: Vec<(usize, Value)> =
        uri_places.into_iter().zip(uris).chain(port_places.into_iter().zip(ports)).collect();
    binds.sort_by_key(|(place, _)| *place);
    (!binds.is_empty()).then(|| Value::List(binds.into_iter().map(|(_, bind)| bind).collect()))
}

fn config_files(matches: &mut ArgMatches) -> Option<Value> {
    if matches.get_flag("no-config") {
        return Some(Value::List(vec![Value::Text("-".into())]));
    }
    matches.remove_many("config").map(|paths| Value::List(paths.map(Value::Text).collect()))
}

/// An option that may stand without its value, and is then a switch.
fn optional_value<T: Clone + Send + Sync + 'static>(
    matches: &mut ArgMatches,
    id: &str,
    of: impl Fn(T) -> Value,
) -> Option<Value> {
    if !matches.contains_id(id) {
        return None;
    }
    Some(matches.remove_one(id).map_or(Value::Flag(true), of))
}

fn exit(program: Program<'_>, error: &clap::Error) -> Exit {
    if error.kind() == ErrorKind::DisplayHelp {
        return Exit { status: 0, text: error.render().to_string().trim_end().to_owned() };
    }
    Exit { status: 1, text: format!("{}: {}", program.name, complaint(error)) }
}

/// What is wrong, in one line.
fn complaint(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let arg = text(ContextKind::InvalidArg).unwrap_or_default();
    let suggestion =
        text(ContextKind::SuggestedArg).map_or(String::new(), |near| format!(", did you mean {near}?"));
    let reason = std::error::Error::source(error).map_or(String::new(), |reason| format!(": {reason}"));
    match (error.kind(), text(ContextKind::InvalidValue)) {
        (ErrorKind::UnknownArgument, _) if arg.starts_with('-') => {
            format!("unknown option {arg}{suggestion}")
        }
        (ErrorKind::UnknownArgument, _) => format!("{arg}: there is a rackup file already"),
        (ErrorKind::InvalidValue, Some(value)) if value.is_empty() => format!("{arg} needs a value"),
        (_, Some(value)) => format!("{value:?} makes no sense for {arg}{reason}"),
        (ErrorKind::InvalidUtf8, None) => "an argument is not UTF-8".to_owned(),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSERVE: Program<'static> = Program { name: "rserve", version: "1.2.3" };

    fn given(args: &[&str]) -> Options {
        parse(RSERVE, args.iter().map(OsString::from)).unwrap()
    }

    fn refused(args: &[&str]) -> String {
        let exit = parse(RSERVE, args.iter().map(OsString::from)).unwrap_err();
        assert_eq!(exit.status, 1, "{args:?}");
        assert!(!exit.text.contains('\n'), "{args:?}: {}", exit.text);
        exit.text
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn list<T>(values: &[T], of: impl Fn(&T) -> Value) -> Value {
        Value::List(values.iter().map(of).collect())
    }

    fn texts(values: &[&str]) -> Value {
        list(values, |value| text(value))
    }

    fn pair(min: i64, max: i64) -> Value {
        list(&[min, max], |number| Value::Integer(*number))
    }

    #[test]
    fn each_option_has_its_name_and_value() {
        let on = Value::Flag(true);
        for (args, name, want) in [
            (&["-b", "tcp://[::]:1"][..], "binds", texts(&["tcp://[::]:1"])),
            (&["-C", "a.rb", "--config", "b.rb"], "config_files", texts(&["a.rb", "b.rb"])),
            (&["-C", "-"], "config_files", texts(&["-"])),
            (&["--no-config", "-C", "a.rb"], "config_files", texts(&["-"])),
            (&["--bind-to-activated-sockets"], "bind_to_activated_sockets", on.clone()),
            (&["--bind-to-activated-sockets", "only"], "bind_to_activated_sockets", text("only")),
            (&["--control-token", ""], "control_token", text("")),
            (&["--control-token", "-x"], "control_token", text("-x")),
            (&["-f"], "fork_worker", on.clone()),
            (&["-f20"], "fork_worker", Value::Integer(20)),
            (&["--fork-worker"], "fork_worker", on.clone()),
            (&["--fork-worker=0"], "fork_worker", Value::Integer(0)),
            (&["-I", "a:b", "-I", "c"], "include", texts(&["a", "b", "c"])),
            (&["--plugin", "a", "--plugin", "b"], "plugins", texts(&["a", "b"])),
            (&["--extra-runtime-dependencies", "a,b"], "extra_runtime_dependencies", texts(&["a", "b"])),
            (&["-v"], "log_requests", on.clone()),
            (&["-v", "-q"], "log_requests", Value::Flag(false)),
            (&["--no-redirect-append", "--redirect-append"], "redirect_append", on.clone()),
            (&["-s"], "silent", on.clone()),
            (&["-n"], "check", on.clone()),
            (&["-t", "1:5"], "threads", pair(1, 5)),
            (&["-t5"], "threads", pair(5, 5)),
            (&["-t", ":5"], "threads", pair(0, 5)),
            (&["-w2"], "workers", Value::Integer(2)),
            (&["-w", "2"], "workers", Value::Integer(2)),
            (&["-w 2"], "workers", Value::Integer(2)),
            (&["--workers=auto"], "workers", text("auto")),
            (&["--work", "3"], "workers", Value::Integer(3)),
            (&["-R", "a b"], "restart_command", text("a b")),
            (&["--tag", ""], "tag", text("")),
            (&["app.ru"], "rackup", text("app.ru")),
        ] {
            assert_eq!(given(args), [(name, want)], "{args:?}");
        }
    }

    #[test]
    fn binds_and_ports_keep_their_common_order() {
        let want = Value::List(vec![Value::Integer(1), text("unix:///x"), Value::Integer(2)]);
        assert_eq!(given(&["-p", "1", "-b", "unix:///x", "--port=2"]), [("binds", want)]);
    }

    #[test]
    fn options_may_follow_the_rackup_file() {
        assert_eq!(
            given(&["--fork-worker", "app.ru", "-e", "test"]),
            [("fork_worker", Value::Flag(true)), ("environment", text("test")), ("rackup", text("app.ru")),]
        );
        assert_eq!(
            given(&["--bind-to-activated-sockets", "app.ru"]).len(),
            2,
            "the file is not the option's value"
        );
    }

    #[test]
    fn a_later_option_replaces_an_earlier_one() {
        assert_eq!(given(&["-w", "1", "-w", "2"]), [("workers", Value::Integer(2))]);
    }

    #[test]
    fn wrong_use_is_told_in_one_line() {
        for (args, want) in [
            (&["--nosuch"][..], "unknown option --nosuch"),
            (&["--threds", "1"], "did you mean --threads?"),
            (&["-w", "x"], "workers must be an Integer or auto"),
            (&["-w", "-1"], "--workers"),
            (&["-t", "5:1"], "the minimum is above the maximum"),
            (&["-t", "0"], "the maximum must be above 0"),
            (&["-t", "1:x"], "--threads"),
            (&["-p", "65536"], "--port"),
            (&["-p"], "--port <PORT> needs a value"),
            (&["a.ru", "b.ru"], "b.ru"),
        ] {
            let text = refused(args);
            assert!(text.starts_with("rserve: ") && text.contains(want), "{args:?}: {text}");
        }
    }

    #[test]
    fn help_and_version_end_well() {
        let exit = |args: &[&str]| parse(RSERVE, args.iter().map(OsString::from)).unwrap_err();
        assert_eq!(exit(&["-V"]), Exit { status: 0, text: "rserve version 1.2.3".into() });
        let help = exit(&["--help"]);
        assert_eq!(help.status, 0);
        for want in ["rserve <options> <rackup file>", "--log-requests", CLUSTER] {
            assert!(help.text.contains(want), "{want} in {}", help.text);
        }
    }
}

//! A keeper's life as a table of events: each row is what happens, and what is done about it.

use super::*;
use crate::succession::Ready;
use crate::succession::message::Listening;

const SECOND: Duration = Duration::from_secs(1);

/// A server of `workers` workers whose first generation serves.
struct Table {
    takeover: Takeover,
    now: Instant,
}

fn pid(raw: i32) -> Pid {
    Pid::new(raw).unwrap()
}

fn number(raw: u32) -> Number {
    Number(raw)
}

fn settings(workers: u32) -> Settings {
    Settings { workers, ..Settings::default() }
}

fn asks_for_up() -> Settings {
    let ready = Ready { path: "/up".into(), timeout: 10 * SECOND, interval: SECOND };
    Settings { ready: Some(ready), ..settings(2) }
}

/// Effects in few words; what is published is no matter of order.
fn words(effects: &[Effect]) -> String {
    let words = effects.iter().filter_map(|effect| {
        Some(match effect {
            Effect::Spawn { number, alone: true } => format!("start {number} alone"),
            Effect::Spawn { number, alone: false } => format!("start {number}"),
            Effect::Tell(number, order) => format!("{number}: {}", order.encode().replace('\n', " ")),
            Effect::Probe(number) => format!("probe {number}"),
            Effect::Kill(pid) => format!("kill {pid}"),
            Effect::KillGroup(pid) => format!("kill the rest of {pid}"),
            Effect::KeepListeners(number) => format!("keep {number}"),
            Effect::DropListeners(number) => format!("drop {number}"),
            Effect::CloseListeners => "close".into(),
            Effect::Log(line) => line.to_string(),
            Effect::Notify(Notification::Ready(None)) => "READY".into(),
            Effect::Notify(Notification::Ready(Some(_))) => "READY with a line".into(),
            Effect::Notify(Notification::Reloading) => "RELOADING".into(),
            Effect::Notify(Notification::Stopping) => "STOPPING".into(),
            Effect::Publish => return None,
            Effect::Exit(status) => format!("end: {status}"),
        })
    });
    words.collect::<Vec<_>>().join(", ")
}

impl Table {
    fn starting() -> Self {
        let mut table = Self { takeover: Takeover::new(), now: Instant::now() };
        table.row(Event::Begun(pid(101)), "");
        table
    }

    fn serving(settings: Settings) -> Self {
        let mut table = Self::starting();
        let workers = settings.workers;
        table.hear(1, Report::Settings(settings), "");
        table.hear(1, Report::Listening(vec![]), "keep 1");
        table.hear(1, Report::Staff { workers, booted: workers }, "");
        table.hear(1, Report::Booted, "READY");
        table.pass(60 * SECOND, "");
        table
    }

    /// … and a second one was asked for.
    fn restarting(first: Settings, second: Settings) -> Self {
        let mut table = Self::serving(first);
        table.ask(
            Request::Restart,
            "* Restarting: generation 2 boots, generation 1 serves, RELOADING, start 2",
        );
        table.row(Event::Spawned { number: number(2), pid: pid(102) }, "");
        table.hear(2, Report::Settings(second), "");
        table
    }

    /// … and serves beside the first.
    fn relieving(workers: u32, step: u32) -> Self {
        let second = Settings { step, ..settings(workers) };
        let mut table = Self::restarting(settings(workers), second.clone());
        let first_step = second.first_step();
        table.hear(2, Report::Listening(vec![]), "");
        table.hear(2, Report::Staff { workers: first_step, booted: first_step }, "");
        table.hear(2, Report::Booted, "");
        table
    }

    #[track_caller]
    fn row(&mut self, event: Event, want: &str) {
        let told = format!("{event:?}");
        assert_eq!(words(&self.takeover.handle(event, self.now)), want, "after {told}");
    }

    #[track_caller]
    fn hear(&mut self, from: u32, report: Report, want: &str) {
        self.row(Event::Heard(number(from), report), want);
    }

    #[track_caller]
    fn staff(&mut self, of: u32, workers: u32, booted: u32, want: &str) {
        self.hear(of, Report::Staff { workers, booted }, want);
    }

    #[track_caller]
    fn ask(&mut self, request: Request, want: &str) {
        self.row(Event::Operator(request), want);
    }

    #[track_caller]
    fn exit(&mut self, of: u32, status: ExitStatus, want: &str) {
        self.row(Event::Exited { pid: pid(100 + i32::try_from(of).unwrap()), status }, want);
    }

    #[track_caller]
    fn pass(&mut self, time: Duration, want: &str) {
        self.now += time;
        self.row(Event::Tick, want);
    }
}

const KILLED: ExitStatus = ExitStatus::Signal(9);
const OK: ExitStatus = ExitStatus::Code(0);

fn failed(phase: &str, message: &str) -> Report {
    Report::Failed { phase: phase.into(), message: message.into() }
}

// ---- the first generation ---------------------------------------------------------------------------------------

#[test]
fn a_first_generation_that_does_not_boot_ends_the_server_as_it_ends() {
    for status in [ExitStatus::Code(1), ExitStatus::Signal(SIGTERM), ExitStatus::Code(130)] {
        let mut table = Table::starting();
        table.hear(1, failed("at boot", "config.ru:1: no (X)"), "");
        let rest = if status == ExitStatus::Code(1) || status == ExitStatus::Code(130) {
            format!("drop 1, kill the rest of 101, end: {status}")
        } else {
            format!("drop 1, end: {status}")
        };
        table.exit(1, status, &rest);
        table.pass(SECOND, "");
    }
}

#[test]
fn a_restart_that_is_asked_for_during_the_first_boot_waits_for_its_end() {
    let mut table = Table::starting();
    table.ask(Request::Restart, "");
    table.hear(
        1,
        Report::Listening(vec![Listening {
            url: "tcp://a:1".into(),
            kind: crate::succession::message::Kind::Own,
            path: None,
        }]),
        "keep 1, * Restarting: generation 2 boots, generation 1 serves, RELOADING, start 2",
    );
}

#[test]
fn stopping_is_the_generations_affair_and_its_status_the_servers() {
    for (request, order, status) in [
        (Request::Interrupt, "interrupt", OK),
        (Request::Terminate, "terminate", ExitStatus::Signal(SIGTERM)),
        (Request::Terminate, "terminate", OK),
        (Request::Halt, "halt", OK),
    ] {
        let mut table = Table::serving(settings(2));
        table.ask(request, &format!("STOPPING, close, 1: {order}"));
        table.ask(Request::Restart, "");
        table.exit(1, status, &format!("end: {status}"));
    }
    let mut table = Table::serving(settings(2));
    table.ask(Request::Interrupt, "STOPPING, close, 1: interrupt");
    table.ask(Request::Interrupt, "1: interrupt");
    table.hear(1, Report::Asks(Asked::Stop), "1: interrupt");
}

#[test]
fn a_generation_that_ends_of_its_own_accord_ends_the_server() {
    let mut table = Table::serving(settings(2));
    table.hear(1, Report::Leaving, "");
    table.exit(1, OK, "STOPPING, close, end: exit 0");
}

#[test]
fn signals_are_passed_on_to_the_one_that_serves() {
    let mut table = Table::restarting(settings(2), settings(2));
    for (signal, want) in [
        (Forwarded::Ttin, "1: signal TTIN"),
        (Forwarded::Urg, "1: signal URG"),
        (Forwarded::Hup, "1: signal HUP, 2: signal HUP"),
    ] {
        table.ask(Request::Forward(signal), want);
    }
}

// ---- a restart --------------------------------------------------------------------------------------------------

#[test]
fn the_next_one_proves_itself_before_the_last_one_goes() {
    let mut table = Table::restarting(settings(2), asks_for_up());
    table.hear(2, Report::Listening(vec![]), "");
    table.staff(2, 1, 1, "");
    table.hear(2, Report::Booted, "probe 2");
    table.row(Event::Probed(number(2), Err("status 503".into())), "");
    table.pass(SECOND, "probe 2");
    table.row(Event::Probed(number(2), Ok(())), "");
    table.pass(4 * SECOND, "");
    table.pass(SECOND, "2: serve, 1: shrink 1");
    table.staff(1, 2, 2, "");
    table.staff(1, 1, 1, "2: grow 1");
    table.staff(2, 2, 1, "");
    table.staff(2, 2, 2, "1: drain");
    table.hear(
        1,
        Report::Resigned,
        "2: lead, keep 2, * Generation 2 serves, after 6.0s; generation 1 finishes its requests, READY",
    );
    table.exit(1, OK, "");
    assert!(table.takeover.next_deadline().is_none());
}

#[test]
fn workers_are_replaced_as_many_at_a_time_as_is_said() {
    let mut table = Table::relieving(5, 2);
    table.pass(5 * SECOND, "2: serve, 1: shrink 2");
    table.staff(1, 3, 3, "2: grow 2");
    table.staff(2, 4, 4, "1: shrink 1");
    table.staff(1, 2, 2, "2: grow 1");
    table.staff(2, 5, 5, "1: drain");

    let mut table = Table::relieving(5, u32::MAX);
    table.pass(5 * SECOND, "2: serve, 1: drain");
}

#[test]
fn a_generation_with_more_workers_than_the_last_one_gets_them() {
    let mut table = Table::restarting(settings(1), settings(3));
    table.staff(2, 1, 1, "");
    table.hear(2, Report::Booted, "");
    table.pass(5 * SECOND, "2: serve, 2: grow 1");
    table.staff(2, 2, 2, "2: grow 1");
    table.staff(2, 3, 3, "1: drain");
}

#[test]
fn a_worker_more_or_fewer_is_the_next_ones_affair_as_it_takes_over() {
    let mut table = Table::relieving(2, 1);
    table.pass(5 * SECOND, "2: serve, 1: shrink 1");
    table.ask(Request::Forward(Forwarded::Ttin), "");
    table.staff(1, 1, 1, "2: grow 1");
    table.staff(2, 2, 2, "2: grow 1");
    table.ask(Request::Forward(Forwarded::Ttou), "");
    table.staff(2, 3, 3, "1: drain");
}

#[test]
fn who_does_not_go_in_time_is_killed() {
    let mut table = Table::relieving(1, 1);
    table.pass(5 * SECOND, "2: serve, 1: drain");
    table.pass(
        30 * SECOND,
        "! Generation 1 (PID: 101) did not end in time: killed, kill 101, 2: lead, keep 2, \
         * Generation 2 serves, after 35.0s; generation 1 finishes its requests, READY",
    );
    table.exit(1, KILLED, "");
    table.pass(30 * SECOND, "kill the rest of 101");
}

// ---- failures ---------------------------------------------------------------------------------------------------

/// The one restart that was asked for has failed, and counts as this.
#[track_caller]
fn assert_counts_as(table: &Table, result: &str) {
    let standing = table.takeover.standing();
    assert!(standing.contains(r#""restarts":{"succeeded":0,"failed":1}"#), "{standing}");
    assert!(standing.contains(&format!(r#""{result}":1"#)), "{standing}");
}

const SERVES_ON: &str = "; generation 1 serves on, READY with a line";

#[test]
fn a_generation_that_does_not_boot_is_told_with_its_reason_and_the_last_one_serves_on() {
    let mut table = Table::restarting(settings(2), settings(2));
    table.hear(2, failed("at boot", "config.ru:3: no such file -- rails (LoadError)"), "2: give_up");
    table.hear(2, failed("at", "exe/rserve:15"), "");
    let line = "! Generation 2 failed at boot: config.ru:3: no such file -- rails (LoadError)";
    table.exit(2, ExitStatus::Code(1), &format!("drop 2, {line}{SERVES_ON}"));
    assert!(table.takeover.standing().contains(r#""asked":1,"answered":1,"#));
    assert_counts_as(&table, "failed_boot");

    let mut table = Table::restarting(settings(2), settings(2));
    table.exit(2, ExitStatus::Code(3), &format!("drop 2, ! Generation 2 failed at boot: exit 3{SERVES_ON}"));

    let mut table = Table::serving(settings(2));
    table.ask(Request::Restart, "* Restarting: generation 2 boots, generation 1 serves, RELOADING, start 2");
    let reason = "No such file".into();
    table.row(
        Event::SpawnFailed { number: number(2), reason },
        &format!("! Generation 2 failed at its start: No such file{SERVES_ON}"),
    );
    assert_counts_as(&table, "failed_boot");
}

#[test]
fn a_generation_that_hangs_at_boot_says_where_it_is() {
    let second = Settings { boot_timeout: 2 * SECOND, ..settings(2) };
    let mut table = Table::restarting(settings(2), second);
    table.pass(SECOND, "");
    table.pass(SECOND, "2: give_up");
    table.hear(2, failed("at", "config.ru:7"), "");
    let line = "! Generation 2 failed at boot: not booted within 2s (worker_boot_timeout), at: config.ru:7";
    table.exit(2, ExitStatus::Code(1), &format!("drop 2, {line}{SERVES_ON}"));
}

#[test]
fn one_that_does_not_hear_is_killed() {
    let mut table = Table::restarting(settings(2), settings(2));
    table.pass(60 * SECOND, "2: give_up");
    table.pass(5 * SECOND, "! Generation 2 (PID: 102) did not end in time: killed, kill 102");
    let line = "! Generation 2 failed at boot: not booted within 60s (worker_boot_timeout)";
    table.exit(2, KILLED, &format!("drop 2, {line}{SERVES_ON}"));
}

#[test]
fn one_that_is_not_ready_in_time_is_of_no_use() {
    let mut table = Table::restarting(settings(2), asks_for_up());
    table.hear(2, Report::Booted, "probe 2");
    table.now += 10 * SECOND;
    table.row(Event::Probed(number(2), Err("status 503".into())), "2: drain");
    let line = "! Generation 2 failed before it was ready: status 503 for /up";
    table.exit(2, OK, &format!("drop 2, {line}{SERVES_ON}"));
    assert_counts_as(&table, "failed_ready");
}

#[test]
fn one_that_crashes_as_soon_as_it_is_ready_has_served_nobody() {
    let mut table = Table::relieving(2, 1);
    table.hear(2, Report::WorkerDied("Worker 0 died: exit 1".into()), "2: drain");
    let line = "! Generation 2 failed as soon as it was ready: Worker 0 died: exit 1";
    table.exit(2, OK, &format!("drop 2, {line}{SERVES_ON}"));
    assert_counts_as(&table, "failed_settle");

    let mut table = Table::relieving(2, 1);
    let line = "! Generation 2 failed as soon as it was ready: SIGKILL (signal 9)";
    table.exit(2, KILLED, &format!("drop 2, {line}{SERVES_ON}"));
    assert_counts_as(&table, "failed_settle");
}

#[test]
fn one_that_crashes_as_it_takes_over_gives_the_workers_back() {
    let mut table = Table::relieving(3, 1);
    table.pass(5 * SECOND, "2: serve, 1: shrink 1");
    table.staff(1, 2, 2, "2: grow 1");
    table.staff(2, 2, 2, "1: shrink 1");
    table.hear(
        2,
        Report::WorkerDied("Worker 1 died: exit 1".into()),
        "2: drain, 1: grow 2, ! Generation 2 failed as it took over: Worker 1 died: exit 1; generation 1 serves on, \
         READY with a line",
    );
    assert_counts_as(&table, "failed_takeover");
    table.exit(2, OK, "drop 2");
    table.ask(Request::Restart, "* Restarting: generation 3 boots, generation 1 serves, RELOADING, start 3");
}

// ---- the old one ends by itself ---------------------------------------------------------------------------------

const DIED: &str = "! Generation 1 (PID: 101) died: SIGKILL (signal 9)";

#[test]
fn a_server_without_a_generation_starts_one_at_once_and_then_more_and_more_slowly() {
    let mut table = Table::serving(settings(2));
    table.exit(1, KILLED, &format!("{DIED}, * Starting generation 2, start 2 alone"));
    table.row(Event::Spawned { number: number(2), pid: pid(102) }, "");
    table.exit(2, ExitStatus::Code(1), "drop 2, ! Generation 2 failed at boot: exit 1; next attempt in 1s");
    table.pass(SECOND, "* Starting generation 3, start 3 alone");
    table.row(Event::Spawned { number: number(3), pid: pid(103) }, "");
    table.exit(3, ExitStatus::Code(1), "drop 3, ! Generation 3 failed at boot: exit 1; next attempt in 2s");
    // A deployment has mended it.
    table.ask(Request::Restart, "* Starting generation 4, start 4 alone");
    table.row(Event::Spawned { number: number(4), pid: pid(104) }, "");
    table.hear(4, Report::Listening(vec![]), "keep 4");
    table.hear(4, Report::Booted, "READY");
}

#[test]
fn the_next_one_serves_as_soon_as_it_can_if_the_last_one_dies() {
    let mut table = Table::restarting(settings(2), settings(2));
    table.exit(1, KILLED, &format!("{DIED}, 2: serve"));
    table.staff(2, 1, 1, "");
    table.hear(2, Report::Booted, "2: lead, 2: grow 1, keep 2, READY");

    let mut table = Table::relieving(2, 1);
    let serves = "2: lead, 2: grow 1, keep 2, * Generation 2 serves, after 0.0s, READY";
    table.exit(1, KILLED, &format!("{DIED}, 2: serve, {serves}"));

    let mut table = Table::relieving(2, 1);
    table.pass(5 * SECOND, "2: serve, 1: shrink 1");
    let serves = "2: lead, 2: grow 1, keep 2, * Generation 2 serves, after 5.0s, READY";
    table.exit(1, KILLED, &format!("{DIED}, {serves}"));
}

#[test]
fn both_may_die() {
    let mut table = Table::restarting(settings(2), settings(2));
    table.exit(1, KILLED, &format!("{DIED}, 2: serve"));
    table.exit(
        2,
        KILLED,
        "drop 2, ! Generation 2 failed at boot: SIGKILL (signal 9); next attempt in 0s, * Starting generation 3, \
         start 3 alone",
    );
}

#[test]
fn one_that_dies_after_the_last_one_was_told_to_go_is_replaced() {
    let mut table = Table::relieving(1, 1);
    table.pass(5 * SECOND, "2: serve, 1: drain");
    let died = "! Generation 2 (PID: 102) died: SIGKILL (signal 9)";
    table.exit(2, KILLED, &format!("{died}, * Starting generation 3, start 3 alone"));
    table.row(Event::Spawned { number: number(3), pid: pid(103) }, "");
    table.hear(1, Report::Resigned, "");
    table.exit(1, OK, "");
    table.hear(3, Report::Listening(vec![]), "keep 3");
}

// ---- another restart meanwhile ----------------------------------------------------------------------------------

#[test]
fn a_newer_restart_supersedes_one_that_serves_nobody() {
    let mut table = Table::restarting(settings(2), settings(2));
    let ends = "* Generation 2 ends: a newer restart was asked for";
    table.ask(Request::Restart, &format!("{ends}, 2: give_up"));
    table.ask(Request::Restart, "");
    let begins = "* Restarting: generation 3 boots, generation 1 serves, RELOADING, start 3";
    table.exit(2, ExitStatus::Code(1), &format!("drop 2, {begins}"));
    assert!(table.takeover.standing().contains(r#""asked":3,"answered":0,"#));
    table.row(Event::Spawned { number: number(3), pid: pid(103) }, "");
    table.exit(
        3,
        ExitStatus::Code(1),
        "drop 3, ! Generation 3 failed at boot: exit 1; generation 1 serves on, READY with a line",
    );
    assert!(
        table.takeover.standing().contains(r#""asked":3,"answered":3,"restarts":{"succeeded":0,"failed":1}"#)
    );
}

#[test]
fn a_newer_restart_waits_for_one_that_takes_over() {
    let mut table = Table::relieving(1, 1);
    table.pass(5 * SECOND, "2: serve, 1: drain");
    table.ask(Request::Restart, "");
    table.hear(
        1,
        Report::Resigned,
        "2: lead, keep 2, * Generation 2 serves, after 5.0s; generation 1 finishes its requests",
    );
    table.ask(Request::Restart, "");
    table.exit(1, OK, "* Restarting: generation 3 boots, generation 2 serves, RELOADING, start 3");
}

#[test]
fn a_stop_ends_all_and_starts_nothing() {
    let mut table = Table::restarting(settings(2), settings(2));
    table.ask(Request::Terminate, "STOPPING, close, 1: terminate, 2: terminate");
    table.hear(2, Report::Booted, "");
    table.pass(5 * SECOND, "! Generation 2 (PID: 102) did not end in time: killed, kill 102");
    table.exit(2, KILLED, "drop 2");
    table.exit(1, ExitStatus::Signal(SIGTERM), "kill the rest of 102, end: SIGTERM (signal 15)");

    let mut table = Table::serving(settings(2));
    table.exit(1, KILLED, &format!("{DIED}, * Starting generation 2, start 2 alone"));
    table.row(
        Event::SpawnFailed { number: number(2), reason: "no memory".into() },
        "! Generation 2 failed at its start: no memory; next attempt in 1s",
    );
    table.ask(Request::Interrupt, "STOPPING, close, kill the rest of 101, end: exit 0");
}

#[test]
fn who_asks_may_only_ask_what_is_its_affair() {
    let mut table = Table::restarting(settings(2), settings(2));
    table.hear(2, Report::Asks(Asked::Restart), "");
    table.hear(2, Report::Asks(Asked::Stop), "2: give_up");
    let line = "! Generation 2 failed at boot: it was told to stop";
    table.exit(2, OK, &format!("drop 2, {line}{SERVES_ON}"));
    table.hear(
        1,
        Report::Asks(Asked::Restart),
        "* Restarting: generation 3 boots, generation 1 serves, RELOADING, start 3",
    );
    table.row(Event::Spawned { number: number(3), pid: pid(103) }, "");
    table.hear(1, Report::Asks(Asked::Stop), "STOPPING, close, 1: interrupt, 3: interrupt");
}

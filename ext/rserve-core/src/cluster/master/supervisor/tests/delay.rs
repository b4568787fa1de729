//! `shutdown_delay`: after TERM everything goes on for a while.

use super::*;

fn delayed() -> Cluster {
    Cluster::booted(Options { shutdown_delay: 3 * SECOND, ..options(1) })
}

#[test]
fn term_is_told_and_carried_out_after_the_delay() {
    let mut cluster = delayed();
    let effects = cluster.handle(operator(Command::Terminate));
    assert_eq!(log(&effects), ["- Serving for 3s more, then shutting down"]);
    assert_eq!(deeds(effects), [Effect::Retire]);
    assert_eq!(cluster.supervisor.next_deadline(cluster.now), cluster.now + 3 * SECOND);
    assert_eq!(cluster.after(2 * SECOND), []);
    assert_eq!(cluster.after(SECOND), [Effect::CloseListeners, Effect::AnnounceWorkersStop, term(pid(100))]);
    assert_eq!(cluster.do_(exit(pid(100))).last(), Some(&Effect::Exit(ExitReason::Terminate)));
}

#[test]
fn workers_are_replaced_meanwhile_and_restarts_do_not_begin() {
    let mut cluster = delayed();
    cluster.handle(operator(Command::Terminate));
    for command in [Command::Restart, Command::PhasedRestart, Command::Refork] {
        assert_eq!(cluster.handle(operator(command)), [], "{command:?}");
    }
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0), spawn(0, 0)]);
}

#[test]
fn second_signal_ends_the_delay_and_others_know_none() {
    for second in [Command::Terminate, Command::Stop] {
        let mut cluster = delayed();
        cluster.handle(operator(Command::Terminate));
        let effects = cluster.do_(operator(second));
        assert_eq!(effects.last(), Some(&term(pid(100))), "{second:?}");
        assert_eq!(cluster.do_(exit(pid(100))).last(), Some(&Effect::Exit(ExitReason::Terminate)));
    }
    for (command, last) in [
        (Command::Stop, term(pid(100))),
        (Command::ReopenLogs, term(pid(100))),
        (Command::Restart, term(pid(100))),
        (Command::Halt, Effect::Exit(ExitReason::Halt)),
    ] {
        assert_eq!(delayed().do_(operator(command)).last(), Some(&last), "{command:?}");
    }
    let mut cluster = delayed();
    cluster.handle(operator(Command::Restart));
    assert_eq!(cluster.do_(operator(Command::Terminate)), [Effect::CloseListeners], "it has stopped serving");
}

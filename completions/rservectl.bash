_rservectl() {
    local words="status top stats metrics threads start stop halt restart generations phased-restart refork reload-worker-directory reopen-log worker-count-up worker-count-down thread-backtraces gc gc-stats info -S --state -P --pidfile -p --pid -C --control-url -T --control-token -F --config-file -e --environment --check --wait --json --timeout -Q --quiet -H --help -V --version"
    COMPREPLY=()
    case "${COMP_WORDS[COMP_CWORD-1]}" in
        -S|--state|-P|--pidfile|-p|--pid|-C|--control-url|-T|--control-token|-F|--config-file|-e|--environment|--timeout) ;; # names of files
        *) COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
    esac
}

complete -o bashdefault -o default -F _rservectl rservectl

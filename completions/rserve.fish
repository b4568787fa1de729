complete -c rserve -s b -l bind -d 'tcp://host:port, unix://path, ssl://host:port?key=…; repeatable' -r -f
complete -c rserve -s p -l port -d 'Bind a TCP port of every IPv4 address' -r -f
complete -c rserve -l bind-to-activated-sockets -d 'Bind the sockets that systemd opened, too, or only those' -r -f -a "only\t''"
complete -c rserve -l idle-timeout -d 'Stop after so long without a request' -r -f
complete -c rserve -s w -l workers -d 'Worker processes; `auto` for one per processor' -r -f
complete -c rserve -s t -l threads -d 'min:max threads per process [default: 0:5]' -r -f
complete -c rserve -s f -l fork-worker -d 'Fork workers from worker 0, anew after so many requests [default: 1000]' -r -f
complete -c rserve -l extra-runtime-dependencies -d 'Gems that a pruned master keeps' -r -f
complete -c rserve -s C -l config -d 'Load a config file; `-` for none; repeatable' -r -F
complete -c rserve -s e -l environment -d 'The application\'s environment' -r -f
complete -c rserve -l dir -d 'Change to this folder first' -r -f -a "(__fish_complete_directories)"
complete -c rserve -s I -l include -d 'Folders for $LOAD_PATH' -r -F
complete -c rserve -l plugin -d 'Load a plugin; repeatable' -r -f
complete -c rserve -l compat -d 'Follow Puma 6, 7 or 8 where they differ [default: 6]' -r -f
complete -c rserve -s S -l state -d 'Write a state file, for the control client' -r -F
complete -c rserve -l pidfile -d 'Write the pid' -r -F
complete -c rserve -l control-url -d 'Serve statistics and commands; `auto` for a socket in the temporary folder' -r -f
complete -c rserve -l control-token -d 'What the control server wants to be told; empty for nothing' -r -f
complete -c rserve -s R -l restart-cmd -d 'The command of a hot restart [default: this one]' -r -f -a "(__fish_complete_command)"
complete -c rserve -l tag -d 'What process titles end with' -r -f
complete -c rserve -l log-format -d 'How log lines are written: text, or json with one object a line' -r -f -a "text\t''
json\t''"
complete -c rserve -l redirect-stdout -d 'Write the standard output there' -r -F
complete -c rserve -l redirect-stderr -d 'Write the standard error there' -r -F
complete -c rserve -l preload -d 'Load the application before forking the workers'
complete -c rserve -l prune-bundler -d 'Keep the application\'s gems out of the master'
complete -c rserve -l early-hints -d 'Send 103 Early Hints'
complete -c rserve -l no-config -d 'Load no config file'
complete -c rserve -s v -l log-requests -d 'Write the access log'
complete -c rserve -s q -l quiet -d 'Write no access log (default)'
complete -c rserve -s s -l silent -d 'Write nothing but errors'
complete -c rserve -l debug -d 'Log more about what the server does'
complete -c rserve -l redirect-append -d 'Append to those files'
complete -c rserve -l no-redirect-append -d 'Begin those files anew (default)'
complete -c rserve -s n -l check -d 'Load everything, say what would run, and end'
complete -c rserve -s V -l version -d 'Print the version'
complete -c rserve -s h -l help -d 'Print this'

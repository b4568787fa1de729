# frozen_string_literal: true

require "fileutils"
require "optparse"

# The manual page and the shells' completions of `rservectl`, made of the definition that its `--help` is made of. Those
# of `rserve`, whose command line is the core's, are made by ext/rserve-core/tests/manual.rs.
module Manual
  ROOT = File.expand_path("../..", __dir__)
  NAME = "rservectl"
  # One flag.
  Flag = Struct.new(:short, :long, :value, :optional, :text) do
    def file? = value == "PATH"
    def names = [short, long].compact
  end

  module_function

  # @return [Hash] texts of files, by path
  def files
    {
      "man/#{NAME}.1" => page, "completions/#{NAME}.bash" => bash, "completions/_#{NAME}" => zsh,
      "completions/#{NAME}.fish" => fish
    }
  end

  def write
    files.each do |path, text|
      path = File.join(ROOT, path)
      FileUtils.mkdir_p(File.dirname(path))
      File.write(path, text)
    end
  end

  def parser
    $LOAD_PATH.unshift(File.join(ROOT, "lib")) unless $LOAD_PATH.include?(File.join(ROOT, "lib"))
    require "rserve/control/cli"
    @parser ||= OptionParser.new { |parser| Rserve::ControlCLI.allocate.send(:define_options, parser) }
  end

  # @return [Hash] the flags under each heading of the help
  def flags
    headings = { "" => [] }
    (parser.top.list + parser.base.list).each do |line|
      next headings[headings.keys.last] << flag(line) if line.is_a?(OptionParser::Switch)

      headings[line.strip.delete_suffix(":")] = [] if line.start_with?("\n")
    end
    headings.reject { |_, found| found.empty? }
  end

  def flag(switch)
    value = switch.arg.to_s.strip.delete_prefix("=")
    optional = value.start_with?("[")
    value = value.delete("[]")
    Flag.new(switch.short.first&.then { |name| dashed("-", name) }, dashed("--", switch.long.first),
             (value unless value.empty?), optional, switch.desc.join(" "))
  end

  def dashed(dashes, name) = "#{dashes}#{name.delete_prefix(dashes)}"

  def commands = Rserve::ControlCLI.const_get(:MEANINGS)

  # What `rservectl COMMAND --help` says, without how it begins and ends.
  def lines(command)
    require "rserve/control/command_help"
    signal = Rserve::ControlCLI::CMD_PATH_SIG_MAP.fetch(command)
    Rserve::Control::CommandHelp.new(command, commands.fetch(command), signal)
                                .text.lines(chomp: true)[2..-2].reject(&:empty?).map { |line| line.squeeze(" ") }
  end

  def page
    [
      ".TH #{NAME} 1 \"\" rserve \"\"", ".SH NAME", "#{NAME} \\- tells a running rserve what to do",
      ".SH SYNOPSIS", ".B #{NAME}", roff(parser.banner.sub(/\A\S+ \S+ /, "")), ".SH COMMANDS",
      commands.keys.map { |name| [".TP", bold(name), lines(name).map { |line| roff(line) }.join("\n.br\n")] },
      flags.map { |heading, found| [".SH \"#{roff(heading[/\A[^,;]+/].upcase)}\"", found.map { |flag| entry(flag) }] },
      ".SH SEE ALSO", "rserve(1)"
    ].flatten.push("").join("\n")
  end

  def entry(flag)
    value = flag.value && (flag.optional ? " [#{flag.value}]" : " #{flag.value}")
    [".TP", "#{flag.names.map { |name| "\\fB#{roff(name)}\\fR" }.join(", ")}#{roff(value.to_s)}", roff(flag.text)]
  end

  def bold(text) = "\\fB#{roff(text)}\\fR"

  def roff(text) = text.gsub("\\", "\\e").gsub("-", "\\-").sub(/\A(?=[.'])/, "\\\\&")

  def all_flags = flags.values.flatten

  def bash
    with_value = all_flags.select { |it| it.value && !it.optional }.flat_map(&:names)
    <<~BASH
      _#{NAME}() {
          local words="#{[*commands.keys, *all_flags.flat_map(&:names)].join(" ")}"
          COMPREPLY=()
          case "${COMP_WORDS[COMP_CWORD-1]}" in
              #{with_value.join("|")}) ;; # names of files
              *) COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
          esac
      }

      complete -o bashdefault -o default -F _#{NAME} #{NAME}
    BASH
  end

  def zsh
    described = commands.map { |command, meaning| "    #{quote("#{command}:#{meaning.gsub(":", "\\:")}")}" }
    <<~ZSH
      #compdef #{NAME}

      local -a commands=(
      #{described.join("\n")}
      )

      _arguments -S \\
      #{all_flags.map { |flag| "    #{zsh_flag(flag)} \\" }.join("\n")}
          '1:command:{_describe command commands}'
    ZSH
  end

  def zsh_flag(flag)
    text = "[#{flag.text.gsub(/[\[\]:]/) { |sign| "\\#{sign}" }}]"
    value = flag.value && "#{":" if flag.optional}:#{flag.value}:#{"_files" if flag.file?}"
    # An optional value stands in the same word, another in the same or the next.
    short, long = { nil => ["", ""], true => ["", "=-"], false => ["+", "="] }.fetch(flag.value && flag.optional)
    names = flag.names.map { |name| name + (name.start_with?("--") ? long : short) }
    return quote("#{names.first}#{text}#{value}") if names.one?

    "#{quote("(#{flag.names.join(" ")})")}{#{names.join(",")}}#{quote("#{text}#{value}")}"
  end

  def fish
    lines = [
      "function __#{NAME}_wants_command", "    not __fish_seen_subcommand_from #{commands.keys.join(" ")}", "end",
      "", "complete -c #{NAME} -f"
    ]
    lines += commands.map do |command, meaning|
      "complete -c #{NAME} -n __#{NAME}_wants_command -a #{command} -d #{quote_fish(meaning)}"
    end
    lines += all_flags.map do |flag|
      words = ["complete -c #{NAME}"]
      words << "-s #{flag.short.delete_prefix("-")}" if flag.short
      words << "-l #{flag.long.delete_prefix("--")}"
      words << "-r" if flag.value && !flag.optional
      words << "-F" if flag.file?
      [*words, "-d #{quote_fish(flag.text)}"].join(" ")
    end
    lines.push("").join("\n")
  end

  def quote(text) = "'#{text.gsub("'", "'\\\\''")}'"

  def quote_fish(text) = "'#{text.gsub(/['\\]/) { |sign| "\\#{sign}" }}'"
end

desc "Write the manual page and the shells' completions of rservectl"
task(:manual) { Manual.write }

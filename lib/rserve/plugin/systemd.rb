# frozen_string_literal: true

require "rserve/plugin"
require "rserve/process/sd_notify"

# Tells systemd what the server is doing: ready, reloading, stopping, one line of status, and that it lives. Loaded by
# itself where systemd asks for messages.
Rserve::Plugin.create do
  def start(launcher)
    @log_writer = launcher.log_writer
    @log_writer.log "* Enabling systemd notification integration"

    launcher.events.after_booted { send_message { Rserve::SdNotify.ready } }
    launcher.events.before_restart { send_message { Rserve::SdNotify.reloading } }
    launcher.events.after_stopped { send_message { Rserve::SdNotify.stopping } }

    keep_watchdog_calm(launcher) if Rserve::SdNotify.watchdog?
    report_status(launcher)
  end

  # One line for `systemctl status`.
  #
  # @param stats [Hash] of the launcher
  # @return [String]
  def status(stats)
    "#{Rserve.product.name} #{Rserve.product.version}: #{stats.key?(:workers) ? cluster(stats) : single(stats)}"
  end

  private

  # systemd expects a ping within its time, so half of that leaves room for a late one. To systemd a hot restart is no
  # start: the watchdog runs while the application is loaded, for which there is a thread of its own. At a start it
  # waits for READY, as the reader of the messages does.
  def keep_watchdog_calm(launcher)
    interval = Rserve::SdNotify.watchdog_usec / 2 / 1_000_000
    @log_writer.log "Pinging systemd watchdog every #{interval.round(1)} sec"
    restarted = launcher.binder.inherited_fds.any?
    loading = Rserve.new_thread { ping_watchdog(interval) } if restarted
    in_background do
      loading&.kill
      sleep interval unless restarted
      ping_watchdog(interval)
    end
  end

  def ping_watchdog(interval)
    loop do
      send_message { Rserve::SdNotify.watchdog }
      sleep interval
    end
  end

  def report_status(launcher)
    interval = 1.0
    @log_writer.log "Sending status to systemd every #{interval} sec"
    every(interval) { Rserve::SdNotify.status(status(launcher.stats)) }
  end

  def every(interval, &)
    in_background do
      loop do
        sleep interval
        send_message(&)
      end
    end
  end

  # That systemd cannot be reached must not stop the server.
  def send_message
    yield
  rescue Rserve::SdNotify::NotifyError => e
    @log_writer.debug "systemd: #{e.message}"
  end

  def cluster(stats)
    workers = stats[:worker_status].map { |worker| figures(worker[:last_status]) }
    "cluster: #{stats[:booted_workers]}/#{stats[:workers]}, worker_status: [#{workers.join(",")}]"
  end

  def single(stats)
    "worker: #{figures(stats)}"
  end

  def figures(stats)
    running, max, free, backlog = stats.values_at(:running, :max_threads, :pool_capacity, :backlog).map(&:to_i)
    "{ #{running}/#{max} threads, #{free} available, #{backlog} backlog }"
  end
end

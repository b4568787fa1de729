# frozen_string_literal: true

on_booted { Process.kill(:TERM, Process.pid) }

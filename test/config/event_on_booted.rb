# frozen_string_literal: true

on_booted { puts "on_booted called" }

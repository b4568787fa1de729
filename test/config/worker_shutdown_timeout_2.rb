# frozen_string_literal: true

worker_shutdown_timeout 2

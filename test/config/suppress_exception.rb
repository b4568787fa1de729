# frozen_string_literal: true

raise_exception_on_sigterm false

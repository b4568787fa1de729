# frozen_string_literal: true

# rserve's configuration for bench/pages --with: no full collection of garbage in a request.
rserve { gc :out_of_band }

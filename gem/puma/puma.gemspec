# frozen_string_literal: true

# rserve under the name of puma, for Puma's own test suite and for trying an application without changing its Gemfile.
# Never published. `lib` is links into rserve's own.
Gem::Specification.new do |spec|
  spec.name = "puma"
  spec.version = "6.6.0"
  spec.summary = "rserve answering to the name of puma"
  spec.authors = ["The rserve authors"]
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.1"
  spec.bindir = "bin"
  spec.executables = %w[puma pumactl]
  spec.files = Dir.chdir(__dir__) { Dir["{bin,lib}/**/*"] }
end

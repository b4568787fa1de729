# rserve's commands. `make serve` and `make test` install what is missing (Debian packages by name, crates by cargo),
# say what, and can be repeated.

# Packages to build and serve; a "?" marks one that not every Debian has.
BUILD_PACKAGES = build-essential ruby ruby-dev bundler rake libclang-dev libssl-dev pkg-config ruby-rack ruby-rackup? ruby-minitest ruby-nio4r
# Real apps: Rails with a browser for its system tests, and other frameworks.
RAILS_PACKAGES = ruby-rails ruby-sqlite3 ruby-capybara? ruby-selenium-webdriver? chromium? chromium-driver? \
  ruby-sinatra? ruby-faye-websocket? ruby-rack-timeout? ruby-async?
# What fibers serve, and what waits in them.
FIBER_PACKAGES = ruby-async ruby-async-http? ruby-sqlite3 ruby-websocket-driver ruby-sinatra? ruby-pg postgresql
FIBER_TESTS = fiber_lane fiber_clients fiber_refusal fiber_streams fiber_postgresql stream_uploads
TEST_PACKAGES = rubocop puma curl procps nginx? haproxy? nghttp2-client? $(RAILS_PACKAGES)
DOCS_PACKAGES = yard
BENCH_PACKAGES = wrk puma unicorn? ruby-rails util-linux procps

RUBY ?= ruby
BUNDLE = $(RUBY) -S bundle
PORT ?= 9292
APP ?= test/rackup/hello.ru
# Beside the project: the mission's test file, and the Debian roots with newer Rubies.
MISSION ?= ../shared/mission/test_integration_cluster.rb
# What runs Puma's own tests unedited, and which files of them: all of them, or a comma list.
PUMA_SUITE ?= ../shared/tools/puma-suite
UPSTREAM ?=
DEBIAN_ROOT ?= ../shared/tools/debian-root
FUZZ_SECONDS ?=

# The Gemfile names no server, on purpose, and CI is root: Bundler need not mention either.
export BUNDLE_SILENCE_DEPRECATIONS = true
export BUNDLE_SILENCE_ROOT_WARNING = true

.PHONY: help serve test mission upstream bench arena matrix package compile clean setup bundle lint borders test-rust test-ruby unit integration system smoke rails rails-trixie fuzz

help:
	@echo 'make serve    build, and serve $(APP) on port $(PORT)'
	@echo 'make test     build, and run every test and lint'
	@echo 'make mission  run the mission'"'"'s cluster tests (MISSION=FILE)'
	@echo 'make upstream run Puma'"'"'s own suite (UPSTREAM=NAME,… for some of its files)'
	@echo 'make bench    compare with Puma and Unicorn, half an hour (BENCH="--rounds 1 …")'
	@echo 'make arena    the workloads of public comparisons, in apps of Sinatra, Roda and Rails (BENCH="--servers rserve,puma …")'
	@echo 'make pages    whole pages of Redmine beside Puma, on Debian 13 (BENCH="--starts 5 --preload LIBRARY …")'
	@echo 'make manual   write man/ and completions/ anew, after a change of a command line'
	@echo 'make models   try what threads tell each other in every order, by loom'
	@echo 'make fuzz-long  a quarter of an hour of hostile requests (FUZZ_SEEDS=1,2,…)'
	@echo 'make sanitize  run the app tables with an address sanitizer (TESTS="FILE …" for others)'
	@echo 'make starvation  measure what greedy and hostile clients cost'
	@echo 'make package  build the gems into pkg/, and try both (SUITES="trixie sid": the native one for their Rubies; HOMEPAGE=URL)'
	@echo 'make reproducible  build the gems twice from the last commit, and compare them'
	@echo 'make sbom     write the software bill of materials into pkg/;  make docs builds the site in pkg/docs'
	@echo 'make systemd  reload under a real systemd, in namespaces of its own'
	@echo 'make rails    test with Rails and other frameworks; make rails-trixie on Debian 13 (DEBIAN_ROOT=TOOL)'
	@echo 'make fibers   test what fibers serve, on this Ruby or a newer one (DEBIAN_ROOT=TOOL)'
	@echo 'make matrix   build, and run every Ruby test on other Rubies (DEBIAN_ROOT=TOOL, or RUBY="/path/to/ruby …")'
	@echo 'make compile  build the extension for this Ruby;  make clean removes what was built'

serve: compile
	@echo 'Serving $(APP) on port $(PORT)'
	@exec $(BUNDLE) exec rserve -p $(PORT) $(APP)

setup:
	@gem/tasks/packages $(BUILD_PACKAGES)
	@command -v $${CARGO:-cargo} >/dev/null || { echo 'No cargo on PATH: install Rust 1.88 or newer.' >&2; exit 1; }

# A lock file of another Ruby's gems is of no use here, so it is made anew; nothing is downloaded. `bundle exec rserve`
# also wants the command that the installation writes.
bundle: setup
	@{ $(BUNDLE) check && $(BUNDLE) exec sh -c 'command -v rserve'; } >/dev/null 2>&1 || \
	  { rm -f Gemfile.lock; $(BUNDLE) install --local --quiet; }

compile: bundle
	@$(BUNDLE) exec $(RUBY) -S rake --quiet compile

test: setup-test lint test-rust compile test-ruby test-mission test-upstream fuzz
	@echo 'make test: everything passed'

# A real systemd in namespaces of its own (root), or a line that says why not.
.PHONY: systemd
systemd: compile
	@test/systemd/run || [ $$? -eq 77 ]

.PHONY: setup-test
setup-test: setup
	@gem/tasks/packages $(TEST_PACKAGES)

lint: borders signatures crates
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
	rubocop --format quiet

# sig/ says what the code is, where this Ruby has the rbs gem from 2.7 on.
.PHONY: signatures
signatures: compile
	@$(RUBY) gem/tasks/signatures

# Licences of all crates, and what is known against them.
.PHONY: crates
crates: bundle
	@$(BUNDLE) exec $(RUBY) -S rake --quiet crates:check

# What Cargo.toml forbids stays forbidden: no Ruby below the bridge, no operating system below the core.
borders:
	@gem/tasks/borders

test-rust: models
	cargo test --locked

# Manual pages and the shells' completions, from what `--help` is made of; tests compare.
.PHONY: manual
manual:
	WRITE_MANUAL=1 cargo test --quiet --locked -p rserve-core --test manual
	$(RUBY) -S rake manual

# What threads tell each other without a lock, in every order (ext/rserve-core/src/models).
.PHONY: models
models:
	cargo test --quiet --locked -p rserve-core --features loom --lib models::

test-ruby: compile
	$(BUNDLE) exec $(RUBY) -S rake test

unit integration system smoke rails: compile
	$(BUNDLE) exec $(RUBY) -S rake test:$@
	@$(if $(filter rails,$@),RUBY='$(RUBY)' test/rails_image)

mission: $(if $(filter puma,$(TEST_SERVER)),bundle,compile)
	@test -f '$(MISSION)' || { echo 'No mission file at $(MISSION); say where it is: make mission MISSION=FILE' >&2; exit 1; }
	@cp -f '$(MISSION)' test/test_integration_cluster.rb
	$(BUNDLE) exec $(RUBY) -Ilib -Itest test/test_integration_cluster.rb $(TESTOPTS)

# In `make test` it is no mistake that the file is elsewhere.
.PHONY: test-mission
test-mission: compile
	@if test -f '$(MISSION)'; then $(MAKE) mission; else echo 'No mission file at $(MISSION): its tests are left out'; fi

upstream: compile
	@$(RUBY) gem/tasks/upstream '$(PUMA_SUITE)' '$(UPSTREAM)'

.PHONY: test-upstream
test-upstream: compile
	@IF_THERE=1 $(RUBY) gem/tasks/upstream '$(PUMA_SUITE)' '$(UPSTREAM)'

fuzz:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) gem/tasks/fuzz

# Five minutes for each target, and 20,000 connections by each of five seeds to one process and to a cluster.
.PHONY: fuzz-long
fuzz-long: compile
	@FUZZ_SECONDS=300 gem/tasks/fuzz
	for workers in 0 2; do \
	  FUZZ_WORKERS=$$workers FUZZ_REQUESTS=20000 FUZZ_SEEDS=$${FUZZ_SEEDS:-1,2,3,4,5} \
	    $(BUNDLE) exec $(RUBY) -Ilib -Itest test/http/fuzz_test.rb || exit 1; \
	done

# Reads of freed memory and the like, by whatever an application may do. See CONTRIBUTING.md.
.PHONY: sanitize
sanitize: bundle
	@gem/tasks/sanitize $(TESTS)

.PHONY: starvation
starvation: compile
	bench/starvation $(STARVATION)

bench: compile
	@gem/tasks/packages $(BENCH_PACKAGES)
	bench/run --svg docs/benchmark.svg $(BENCH)

arena: compile
	@gem/tasks/packages $(BENCH_PACKAGES) ruby-sinatra ruby-roda? postgresql ruby-pg ruby-websocket-driver
	bench/run --table arena --pictures docs $(BENCH)

# Redmine's pages, with Debian 13's Ruby 3.3 and Rails 7.2.
.PHONY: pages
pages:
	@[ -x '$(DEBIAN_ROOT)' ] || { echo 'No tool for Debian roots: make pages DEBIAN_ROOT=TOOL' >&2; exit 1; }
	'$(DEBIAN_ROOT)' trixie -p '$(subst ?,,$(BUILD_PACKAGES)) wrk puma ruby-rails util-linux procps redmine redmine-sqlite libjemalloc2' -- \
	  sh -c '$(MAKE) -C "$(CURDIR)" BUILD_PACKAGES= compile && "$(CURDIR)/bench/pages" $(BENCH)'

matrix:
	@DEBIAN_ROOT='$(DEBIAN_ROOT)' BUILD_PACKAGES='$(BUILD_PACKAGES)' gem/tasks/matrix $(filter-out ruby,$(RUBY))

# Every Ruby test on this Ruby, file by file, with figures; TESTS="unit test/http/faults_test.rb" for some.
.PHONY: suites
suites: compile
	@gem/tasks/packages $(filter-out rubocop,$(TEST_PACKAGES))
	@MISSION='$(MISSION)' PUMA_SUITE='$(PUMA_SUITE)' $(RUBY) gem/tasks/suites $(TESTS)

# What fibers serve (docs/waiting.md): by this Ruby if it can (3.3, with the gem async), else in a root of Debian sid, where
# PostgreSQL begins no cluster of its own.
.PHONY: fibers test-fibers
fibers:
	@if $(RUBY) -e 'exit RUBY_VERSION >= "3.3" && Gem::Specification.any? { |it| it.name == "async" }'; then \
	  $(MAKE) test-fibers; \
	elif [ -x '$(DEBIAN_ROOT)' ]; then \
	  '$(DEBIAN_ROOT)' sid -- sh -c 'd=/etc/postgresql-common/createcluster.d; mkdir -p $$d; echo "create_main_cluster = false" >$$d/none.conf'; \
	  '$(DEBIAN_ROOT)' sid -p '$(subst ?,,$(BUILD_PACKAGES) $(FIBER_PACKAGES)) curl procps' -- \
	    $(MAKE) -C '$(CURDIR)' BUILD_PACKAGES= test-fibers; \
	else \
	  echo 'This Ruby is older than 3.3, or has no gem async, and there is no tool for Debian roots: make fibers DEBIAN_ROOT=TOOL' >&2; exit 1; \
	fi

test-fibers: compile
	@for name in $(FIBER_TESTS); do $(BUNDLE) exec $(RUBY) -Ilib -Itest test/integration/$${name}_test.rb || exit 1; done

# With Debian 13's Ruby 3.3 and Rails 7.2.
rails-trixie:
	@DEBIAN_ROOT='$(DEBIAN_ROOT)' BUILD_PACKAGES='$(BUILD_PACKAGES) $(RAILS_PACKAGES)' TARGETS=rails gem/tasks/matrix trixie

# The native gem brings a library for this Ruby, and for those of the Debian suites that SUITES names.
package: compile
	SUITES='$(SUITES)' HOMEPAGE='$(HOMEPAGE)' DEBIAN_ROOT='$(DEBIAN_ROOT)' $(RUBY) -S rake --quiet package
	@$(MAKE) smoke

# The parts of `package`, for where each is built by itself (.github/workflows/release.yml): GEM=FILE, PLATFORM=NAME.
.PHONY: source-gem native-gem pack try-gem
source-gem: bundle
	@HOMEPAGE='$(HOMEPAGE)' $(BUNDLE) exec $(RUBY) -S rake --quiet package:source
native-gem: compile
	@HOMEPAGE='$(HOMEPAGE)' $(BUNDLE) exec $(RUBY) -S rake --quiet package:native
pack: bundle
	@HOMEPAGE='$(HOMEPAGE)' PLATFORM='$(PLATFORM)' $(BUNDLE) exec $(RUBY) -S rake --quiet package:pack
try-gem:
	@$(RUBY) gem/tasks/try_gem $(GEM)

# The same commit makes the same gems.
.PHONY: reproducible
reproducible: bundle
	@RUBY='$(RUBY)' gem/tasks/reproducible

.PHONY: sbom
sbom: bundle
	@$(BUNDLE) exec $(RUBY) -S rake --quiet crates:sbom

.PHONY: docs
docs: bundle
	@gem/tasks/packages $(DOCS_PACKAGES)
	@$(BUNDLE) exec $(RUBY) -S rake --quiet docs

clean:
	rm -rf target lib/rserve/[0-9]* pkg tmp Gemfile.lock

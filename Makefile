# make demo | test | bench | bench-recovery | bench-failover | bench-intercept | bench-redundant | lint | build | install | uninstall | clean
# Each target first installs what is missing on a Debian host (scripts/deps); with nothing missing it touches nothing but this folder.

PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all demo test bench bench-recovery bench-failover bench-intercept bench-redundant lint lint-types lint-rules lint-format build install uninstall clean deps-build deps-demo deps-test deps-bench
.DELETE_ON_ERROR:

all: build

demo: deps-demo build
	scripts/demo

test: deps-test build
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	node scripts/test-all.mjs || status=1; \
	exit $$status

bench: deps-bench build
	bench/all

bench-recovery: deps-bench build
	node bench/recovery.mjs

bench-intercept: deps-bench build
	node bench/classify.mjs
	node bench/resend.mjs
	node bench/intercept.mjs

bench-redundant: deps-bench build
	node bench/redundant.mjs

bench-failover: deps-bench build
	node bench/failover.mjs

# Each takes one core for a while; what one says comes in one piece.
lint: node_modules/.package-lock.json
	@$(MAKE) --no-print-directory --keep-going --output-sync=target --jobs=2 lint-types lint-rules lint-format

lint-types lint-rules lint-format: node_modules/.package-lock.json

lint-types:
	npx --no-install tsc --noEmit -p tsconfig.json

lint-rules:
	npx --no-install eslint .

lint-format:
	npx --no-install prettier --check .

build: deps-build node_modules/.package-lock.json build/Release/causeway.node dist/.built

install: build
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install install

uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install uninstall

clean:
	rm -rf dist build build-asan coverage node_modules

deps-build deps-demo deps-test deps-bench: deps-%:
	@scripts/deps $*

# Order-only: the node and npm that these need come with the dependencies, which are no file.
node_modules/.package-lock.json: package.json package-lock.json | deps-build
	npm ci --no-fund --no-audit
	@touch $@

# A host that can't build it gets one line that says why, and goes on without.
build/Release/causeway.node: $(wildcard native/*.cc native/*.hh) binding.gyp native/install.mjs | node_modules/.package-lock.json
	node native/install.mjs

dist/.built: $(shell find src -name '*.ts') tsconfig.json tsconfig.build.json scripts/bundle.mjs | node_modules/.package-lock.json
	rm -rf dist
	npx --no-install tsc -p tsconfig.build.json
	node scripts/bundle.mjs
	@touch $@

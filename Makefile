# The front door; each target is one line over a CMake preset. `make help` lists them.
PRESET ?= dev

all: ## build everything (PRESET=dev|release|asan|tsan)
	cmake --preset $(PRESET) && cmake --build --preset $(PRESET)

test: all ## build and run every test
	ctest --preset $(PRESET)

quickstart: ## build, start Redis, a broker and two workers, embed and classify, stop again
	scripts/quickstart

format: ## lay out the C sources
	scripts/format

tidy: ## layers, banned functions, long lines
	python3 tests/tidy/tidy.py

bench: ## the benchmarks behind docs/PERFORMANCE.md
	scripts/bench

fuzz: ## run every fuzz target for a minute (clang)
	scripts/fuzz

clean: ## remove all builds
	rm -rf build

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

.PHONY: all test quickstart format tidy bench fuzz clean help

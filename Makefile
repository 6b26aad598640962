# make help lists the targets.
GO ?= go
FUZZTIME ?= 10s
BENCHTIME ?= 1s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/quash
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/quash ./cmd/quash

.PHONY: test
test: ## run the tests
	$(GO) test ./...

.PHONY: race
race: ## run the tests with the race detector
	$(GO) test -race ./...

.PHONY: bench
bench: ## run the benchmarks (BENCHTIME=1s)
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...
	if [ -f bench/go.mod ]; then cd bench && $(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...; fi

.PHONY: compare
compare: ## measure quash against what people use instead (needs redis-server and postgresql)
	cd bench && $(GO) run ./compare $(COMPARE)

# go test takes one fuzz target at a time.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME=10s
	@set -e; for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for target in $$(cat /dev/null "$$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
			echo "fuzz $$target in $$dir"; \
			(cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) .); \
		done; \
	done

.PHONY: faults
faults: ## break everything, alone and in pairs, and write docs/faults-run.md
	$(GO) run ./internal/faults -out docs/faults-run.md

.PHONY: attackers
attackers: SHELL := bash -o pipefail
attackers: ## try other people's vectors, hostile senders and each role of the bus, and print the counts: docs/attackers.md
	cd internal/vectors && $(GO) test -count=1 -v -run TestM9_ . | grep -E 'accepted|refused|^(---|FAIL|ok|panic)'
	$(GO) test -count=1 -v -run 'TestDeploy_' ./cmd/quash | grep -E 'tried|refused|^ *(---|FAIL|ok|panic)'
	$(GO) test -count=1 -run 'Hostile|Flood|Slow|ManyKeys|Full' ./verifier ./cache ./events ./issuer

.PHONY: scale
scale: ## measure many followers, statements and revocations: docs/scale.md
	$(GO) run ./internal/scale all

.PHONY: lint
lint: ## gofmt, vet, and staticcheck if it is installed
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); if [ -n "$$bad" ]; then echo "gofmt these:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	@if command -v staticcheck >/dev/null; then staticcheck ./...; else echo "staticcheck is not installed: skipped"; fi

.PHONY: deps
deps: ## write verifier/deps.txt anew: the modules that embedding verifier brings
	$(GO) list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}' ./verifier | LC_ALL=C sort -u | sed '/^$$/d' > verifier/deps.txt

.PHONY: demo
demo: ## show and measure the whole story
	$(GO) run ./cmd/quash demo

.PHONY: up
up: ## run everything on this machine
	$(GO) run ./cmd/quash up

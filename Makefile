.PHONY: run test bench faults fuzz fmt

# ONCE=1 ends after the first verdict, FIXED=1 runs the mended program, BACKENDS=1 starts real backends too.
run:
	@ONCE=$(ONCE) FIXED=$(FIXED) BACKENDS=$(BACKENDS) scripts/run.sh

test:
	@scripts/test.sh

# CHECK=1 fails under the bars, ONLY=gzip,http runs some, OTHER=rotel compares with Rotel, CURVES=1 and COUNT=1 are Weir alone: scripts/bench.sh.
bench:
	@CHECK=$(CHECK) OTHER=$(OTHER) ONLY=$(ONLY) CURVES=$(CURVES) COUNT=$(COUNT) scripts/bench.sh

# CASE=21,22 drives only those, ROUNDS=1200 a longer soak: scripts/faults.sh.
faults:
	@CASE=$(CASE) ROUNDS=$(ROUNDS) scripts/faults.sh

# TARGET=http2,yaml runs those, SECONDS=3600 longer, KEEP=1 and TESTS=1: scripts/fuzz.sh.
fuzz:
	@TARGET=$(TARGET) TIME=$(SECONDS) KEEP=$(KEEP) TESTS=$(TESTS) scripts/fuzz.sh

fmt:
	cargo fmt --all

.PHONY: run test bench faults fmt

# ONCE=1 ends after the first verdict, FIXED=1 runs the mended program, BACKENDS=1 starts real backends too.
run:
	@ONCE=$(ONCE) FIXED=$(FIXED) BACKENDS=$(BACKENDS) scripts/run.sh

test:
	@scripts/test.sh

bench:
	@scripts/bench.sh

# CASE=21 drives one case only.
faults:
	@CASE=$(CASE) scripts/faults.sh

fmt:
	cargo fmt --all

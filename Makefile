# A thin front of Meson: see README.md. All work is done by scripts/ and in build directories named build*.

PREFIX ?= /usr/local
export PREFIX

.PHONY: all demo check sim-test crash-test stress install clean

all:
	@scripts/build.sh

demo: all
	@scripts/demo.sh

check:
	@scripts/check.sh

sim-test:
	@SEEDS='$(SEEDS)' FIRST='$(FIRST)' scripts/sim.sh

crash-test:
	@CRASHES='$(CRASHES)' CRASH_SEED='$(CRASH_SEED)' FILES='$(FILES)' ENGINES='$(ENGINES)' scripts/crash.sh

stress:
	@SECONDS_EACH='$(SECONDS_EACH)' SEEDS='$(SEEDS)' FIRST='$(FIRST)' scripts/stress.sh

install: all
	@scripts/install.sh

clean:
	rm -rf build build-sim build-crash build-stress build-check-*

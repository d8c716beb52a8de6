# A thin front of Meson: see README.md. All work is done by scripts/ and in build directories named build*.

PREFIX ?= /usr/local
export PREFIX

.PHONY: all demo check sim-test install clean

all:
	@scripts/build.sh

demo: all
	@scripts/demo.sh

check:
	@scripts/check.sh

sim-test:
	@SEEDS='$(SEEDS)' FIRST='$(FIRST)' scripts/sim.sh

install: all
	@scripts/install.sh

clean:
	rm -rf build build-sim build-check-*

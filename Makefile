# Every recipe is one `python -m tools ...` line, which can be typed as it stands where there is no make.
PYTHON ?= python3
NB ?=
P ?=
ARGS ?=
unexport MPLBACKEND

force := $(if $(findstring B,$(firstword -$(MAKEFLAGS))), --force)
quoted = '$(subst ','\'',$(1))'

.DEFAULT_GOAL := help
.PHONY: help env figures quick batch check test verify fuzz lab bench mutants torch readers \
	book browser clean

help:
	@$(PYTHON) -m tools help

env:
	@$(PYTHON) -m tools env

figures:
	@$(PYTHON) -m tools figures --notebook $(call quoted,$(NB)) --parameters $(call quoted,$(P))$(force)

quick:
	@$(PYTHON) -m tools quick --notebook $(call quoted,$(NB))

batch:
	@$(PYTHON) -m tools batch --notebook $(call quoted,$(NB))

check:
	@$(PYTHON) -m tools check

test:
	@$(PYTHON) -m tools test $(ARGS)

fuzz: export HYPOTHESIS_PROFILE = explore
fuzz:
	@$(PYTHON) -m tools test tests/contract/test_fuzz.py $(ARGS)

verify:
	@$(PYTHON) -m tools verify

lab:
	@$(PYTHON) -m tools lab

bench:
	@$(PYTHON) -m tools bench $(ARGS)

mutants:
	@$(PYTHON) -m tools mutants $(ARGS)

torch:
	@$(PYTHON) -m tools torch

readers:
	@$(PYTHON) -m tools readers

book:
	@$(PYTHON) -m tools book

browser:
	@$(PYTHON) -m tools browser $(ARGS)

clean:
	@$(PYTHON) -m tools clean $(ARGS)

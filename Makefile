# make demo   watch a language model learn a text game (6 minutes on two cores, after installation)
# make test   everything that must hold (8 to 20 minutes on two cores, after installation)
# make attack   escapes from the sandboxes and cheats on the grading
# make test-slow   the long differential and learning runs
# make test-kernels   the learning tests with every kernel of torch, one and two threads, three seeds (25 minutes)
# make test-lowest   tests of environments and trainers with the oldest versions that pyproject.toml allows
# make gpu   what needs a GPU, in stages of at most 8 minutes: call it until all is done (MODEL=folder, PYTHON=interpreter)
# make interop   the tests of every library that this plugs into, and docs/compatibility.md
# make verify-results   play every entry of the leaderboards again
# make verify-tasks   validate all indexed tasks of SWEGym, resumable (EVERY=20 for every 20th; hours for all)
# make audit   look up known vulnerabilities of the installed packages (asks the network)
# make docs   render the pages that are made from the code
# make site   build the documentation site into build/site

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test suite test-slow attack test-kernels gpu interop verify-results verify-tasks lint audit docs site clean

demo: $(INSTALLED)
	$(BIN)/python -m benchmarks demo $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT))

# mypy has one core, and the first tests the other.
test: $(INSTALLED)
	$(MAKE) --jobs 2 lint suite

suite: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow"

attack: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "attack and not slow" $$(grep -rlF mark.attack tests)

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

test-kernels: $(INSTALLED)
	$(BIN)/python tests/support/kernels.py

# An interpreter that is named has torch and the other dependencies already.
GPU_PYTHON := $(if $(filter command,$(origin PYTHON)),$(PYTHON),$(BIN)/python)
gpu: $(if $(filter command,$(origin PYTHON)),,$(INSTALLED))
	$(GPU_PYTHON) -m benchmarks gpu $(if $(MODEL),--model $(MODEL)) $(if $(OUT),--out $(OUT)) $(if $(DEVICE),--device $(DEVICE)) \
	    $(if $(MINUTES),--minutes $(MINUTES)) $(if $(TRL),--trl $(TRL))

# Newer dependencies of the old versions warn of what these use.
test-lowest: .venv-lowest/installed
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 -m "not slow" -W ignore::DeprecationWarning -W ignore::FutureWarning \
	    -W ignore::UserWarning $(addprefix tests/baselines/test_,chat.py policy.py rollout.py listed.py lora.py update.py) \
	    $(addprefix tests/test_,contract.py core.py vector.py)

interop: $(INSTALLED) .venv-interop/installed .venv-rllib/installed .venv-openenv/installed
	$(BIN)/python -m benchmarks interop

verify-results: $(INSTALLED)
	$(BIN)/python -m benchmarks leaderboard --check

verify-tasks: $(INSTALLED)
	$(BIN)/python -m textagent_gym.envs.swe.synthesis.verify --out build/verified$(EVERY).jsonl $(if $(EVERY),--every $(EVERY))

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/render.py --check

audit: $(INSTALLED) .venv-audit/installed
	.venv-audit/bin/pip-audit --skip-editable --path "$$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

docs: $(INSTALLED)
	$(BIN)/python docs/render.py

site: .venv-site/installed
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable ".[dev]"
	# On all cores, where pip has one; some packages hold files for other Pythons.
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	touch $(INSTALLED)

.venv-lowest/installed: EXTRAS := baselines,swe
.venv-lowest/installed: TESTERS := hypothesis pytest-xdist
.venv-interop/installed: EXTRAS := dev,interop
# OpenEnv and verifiers want different versions of mcp.
.venv-openenv/installed: EXTRAS := serve
# RLlib wants an older Gymnasium than all the others.
.venv-rllib/installed: EXTRAS := rllib

# The generator of the site, which reads the code without importing it.
.venv-site/installed: EXTRAS := docs
# The auditor is not among the packages that it audits.
.venv-audit/installed:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install pip-audit
	touch $@

.venv-%/installed: pyproject.toml constraints.txt constraints-rllib.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --constraint $(or $(wildcard constraints-$*.txt),constraints.txt) --editable ".[$(EXTRAS)]" pytest $(TESTERS)
	touch $@

clean:
	rm -rf .venv .venv-lowest .venv-interop .venv-rllib .venv-openenv .venv-audit .venv-site build dist *.egg-info

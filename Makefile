# Everything runs in .venv, which `make env` creates; every other target makes it when it is missing.
#   make demo                the node on a recorded bag: pictures, points and answers in demo_output/
#   make test                the checks
#   make env PYTHON=...      with another Python (3.11 or 3.12)
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PY := $(VENV)/bin/python
ENV_STAMP := $(VENV)/.env-made
INTERFACES_STAMP := $(VENV)/.interfaces-made
INTERFACES := $(wildcard ros2_ws/src/uniugg_interfaces/* ros2_ws/src/uniugg_interfaces/*/* tools/tf2_msgs_standin/*)

.DEFAULT_GOAL := help
.PHONY: help env interfaces demo view test test-slow lint bench pins clean

# torch's threads otherwise spin while they wait and starve whatever else runs on the cores.
export OMP_WAIT_POLICY ?= PASSIVE

help:                  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

env: $(INTERFACES_STAMP)   ## the environment: pinned packages, torch without CUDA where there is no GPU, messages

$(ENV_STAMP): setup.py package.xml requirements/constraints.txt requirements/robot.txt tools/make_env.py
	$(PYTHON) tools/make_env.py --venv $(VENV) --only packages
	@touch $@

$(INTERFACES_STAMP): $(INTERFACES) requirements/constraints.txt | $(ENV_STAMP)
	$(PYTHON) tools/make_env.py --venv $(VENV) --only interfaces
	@touch $@

interfaces: $(ENV_STAMP)   ## compile the message packages, even when nothing changed
	$(PYTHON) tools/make_env.py --venv $(VENV) --only interfaces
	@touch $(INTERFACES_STAMP)

demo: env              ## the node as its own process on a real bag; results in demo_output/
	$(PY) -m uniugg_core.cli demo $(ARGS)

view: env              ## scenes in a browser, with sliders for the pose and a field for questions
	$(PY) -m uniugg_core.cli view $(ARGS)

test: env              ## the checks (minutes)
	tools/test_env $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: env         ## the checks that need gigabytes or long
	tools/test_env $(PY) -m pytest -m slow $(ARGS)

lint: env              ## style and mistakes
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: env             ## milliseconds of every stage; writes benchmarks/results/
	$(PY) -m benchmarks $(ARGS)

pins: env              ## write requirements/constraints.txt from the environment
	$(PY) tools/pins.py

clean:                 ## what builds and runs leave behind; not the environment
	rm -rf build dist demo_output *.egg-info .pytest_cache .ruff_cache .hypothesis ros2_ws/build ros2_ws/install ros2_ws/log
	find uniugg_core uniugg_ros training tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

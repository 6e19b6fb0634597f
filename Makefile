# One line for each target; every target sets up first what is missing, in the clone and in the cache.
STACK ?= local
PYTHON := $(or $(shell command -v python3 2>/dev/null),python3)
CACHE := $(or $(AZUREML_ENDPOINTS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/azureml-endpoints)
VENV := .venv/bin
# Each `up` starts Python several times: without compiled modules that takes twice as long (images often set it).
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(VENV):$(CACHE)/bin:$(PATH)

.PHONY: up preview policy summary down test test-all check bench schema coverage-page setup

up: setup ; @$(VENV)/python -m tools.up up $(STACK)
preview: setup ; @$(VENV)/python -m tools.up preview $(STACK)
policy: setup ; @$(VENV)/python -m tools.policy $(STACK)
summary: setup ; @$(VENV)/python -m tools.preview_report $(STACK) --summary-only
down: setup ; @$(VENV)/python -m tools.up down $(STACK)
test: setup ; @$(VENV)/python -m pytest -n 2 --dist worksteal -m "not slow"
test-all: setup ; @$(VENV)/python -m pytest -n 2 --dist worksteal
check: setup ; @$(VENV)/ruff check . && $(VENV)/ruff format --check . && $(VENV)/pyright && $(VENV)/python -m tools.locks check && $(VENV)/python -m tools.schema check
bench: setup ; @$(VENV)/python -m bench
schema: setup ; @$(VENV)/python -m tools.schema write
coverage-page: setup ; @$(VENV)/python -m tools.coverage
setup: ; @$(PYTHON) -m tools.setup

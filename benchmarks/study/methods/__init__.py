"""The methods of the study: the product's policies, and the baselines beside them."""

from benchmarks.study.methods.port import Knob, Method, Scenario, Setup
from benchmarks.study.methods.registry import METHODS, parse_method

__all__ = ["METHODS", "Knob", "Method", "Scenario", "Setup", "parse_method"]

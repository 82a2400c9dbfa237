"""Writes the examples of docs/policies.md anew."""

from tests.examples.handbook import rewrite

rewrite()

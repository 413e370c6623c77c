"""The endpoint of tests/support/app.py, for `broadwing serve tests.support.ground:endpoint`."""

from tests.support.app import make_endpoint

endpoint = make_endpoint()

"""Asserts in the tests' own tools say what they compared, as those in tests do."""

import pytest

pytest.register_assert_rewrite("tests.support")

"""The test kit in a real Django project: TransactionTestCase, TestCase, and an end of the run that does not hang."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tests_of_a_django_project_pass_and_end(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "django", "test", "tests.testing.django_project.cases"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.testing.django_project.settings",
            "DATABASE_DIRECTORY": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert "Ran 6 tests" in run.stderr
    # Whatever was left open would have been told of at the end.
    assert "Warning" not in run.stderr

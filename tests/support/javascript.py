"""Node, for tests of the JavaScript client against a real server."""

import os
import shutil
import sys
from pathlib import Path

from tests.support.process import ROOT

JS = ROOT / "js"


def node() -> str:
    """Node, which has to be there: a test that cannot run for want of it is a failure, never a skip."""
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("node", path=scripts)
    assert found is not None, "there is no Node here; `make setup` installs one"
    for package in ("phoenix", "ws"):
        assert (JS / "node_modules" / package).is_dir(), (
            f"the npm package {package} is not here; `make setup` installs it"
        )
    return found

"""deploy-runpod.sh sends its reader to the real way of deploying."""

import re
import subprocess
from pathlib import Path

from higgs_worker.cli.main import main

ROOT = Path(__file__).parents[1]


def test_the_script_refuses_and_names_the_way() -> None:
    """It prints the guide and the command on stderr and exits with 2, which is wrong use."""
    done = subprocess.run([ROOT / "deploy-runpod.sh"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    named = re.findall(r"[\w./-]+\.(?:md|yml)", done.stderr)
    assert "docs/runpod-serverless-guide.md" in named
    assert all((ROOT / each).exists() for each in named), named


def test_the_command_it_names_exists() -> None:
    """The command line accepts the command that the script shows, options included."""
    shown = subprocess.run([ROOT / "deploy-runpod.sh"], capture_output=True, text=True).stderr
    [command] = re.findall(r"higgs-worker (deploy .*)", shown)
    options = ["--dry-run", "--config", str(ROOT / "runpod-serverless-config.json")]
    assert main([*command.split(), *options]) == 0

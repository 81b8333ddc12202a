"""Repositories of git, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def git(where: Path, *words: str) -> str:
    """Run git, with nobody's configuration; what it prints."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(where), "GIT_CONFIG_NOSYSTEM": "1", "GIT_ALLOW_PROTOCOL": "file",
        **{f"GIT_{who}_{what}": f"{who}@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }  # fmt: skip
    ran = subprocess.run(["git", *words], cwd=where, env=environment, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def commit(where: Path, **files: str) -> str:
    """Commit files; the id."""
    for name, content in files.items():
        (where / name).write_text(content)
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--message", "x")
    return git(where, "rev-parse", "HEAD")


def repository(where: Path, **files: str) -> Path:
    """A repository with one commit on branch "main"."""
    if shutil.which("git") is None:
        pytest.skip("git is missing")
    where.mkdir()
    git(where, "init", "--quiet", "--initial-branch", "main")
    commit(where, **files)
    return where

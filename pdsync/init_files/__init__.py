"""What `init` writes beside the catalog: the workflow, and a folder for the state that git ignores."""

from importlib.resources import files

FILES = {
    ".github/workflows/pdsync.yml": "workflows/pdsync.yml",
    "state/README.md": "state/README.md",
    "state/.gitignore": "state/gitignore",
}
"""Path in the user's repository -> path in this package."""


def init_files() -> dict[str, bytes]:
    """The files by their path in the user's repository."""
    return {target: files(__name__).joinpath(source).read_bytes() for target, source in FILES.items()}

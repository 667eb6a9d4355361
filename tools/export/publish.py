"""Upload the exports: `make publish TO=place`

    python -m tools.export.publish TO [--folder DIR]

TO is hf://user/name (a model on the Hugging Face Hub, which is created if it is missing), a folder, or an address that
fsspec knows, such as s3://bucket/folder. The Hub's token is that of `hf auth login` or of HF_TOKEN. Files of the same
names are replaced; others stay.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from stages import artifacts, shell
from stages.errors import StageError
from tools.export.facts import FILE

_HUB = "hf://"
# Addresses whose libraries are in an extra of pyproject.toml.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "sftp": "ssh", "ssh": "ssh", "webdav": "webdav"}


def publish(folder: Path, to: str, models: Path) -> str:
    """Upload a folder of exports. Returns where it can be seen.

    Raises StageError if there are no exports or those of another model than the one in the folder `models`, and if the
    upload fails.
    """
    if not to:
        raise StageError("TO: name a place: make publish TO=hf://user/name, a folder, or an address such as s3://…")
    if not (folder / FILE).exists():
        raise StageError(f"{folder / FILE}: missing; run `make export`")
    facts = artifacts.read_json(folder / FILE, "title", "generator_sha256")
    generator = models / "generator.keras"
    if generator.exists() and artifacts.sha256(generator) != facts["generator_sha256"]:
        raise StageError(f"{folder}: made from another model than {generator}; run `make export`")
    upload = _to_hub if to.startswith(_HUB) else _to_store
    return _explained(to, lambda: upload(folder, to, facts["title"]))


def _explained(to: str, upload: Callable[[], str]) -> str:
    """Upload. Each store's library has exceptions of its own; they become a StageError with a remedy."""
    try:
        return upload()
    except StageError:
        raise
    except ImportError as error:
        extra = "export" if to.startswith(_HUB) else _EXTRAS.get(to.split("://")[0])
        remedy = f"; .venv/bin/pip install -e '.[{extra}]'" if extra else ""
        raise StageError(f"TO: {to}: {error}{remedy}") from error
    except Exception as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = (
            "run `hf auth login` with a token that may write"
            if to.startswith(_HUB)
            else "check the address and your rights"
        )
        raise StageError(f"TO: {to}: {first_line}; {remedy}") from error


def _to_hub(folder: Path, to: str, title: str) -> str:
    """Upload all files in one commit to a model on the Hugging Face Hub."""
    name = to.removeprefix(_HUB).strip("/")
    if name.count("/") != 1 or name.startswith(("datasets/", "spaces/")):
        raise StageError(f"TO: {to}: expected a model on the Hub: hf://user/name")
    from huggingface_hub import HfApi

    # Read now: the library reads its environment only when it is imported.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="dcgan-pipeline")
    url = api.create_repo(name, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=folder, commit_message=title)
    return str(url)


def _to_store(folder: Path, to: str, title: str) -> str:
    """Copy the files to a folder or an address, the facts last: without them the copy is not complete."""
    import fsspec

    store, root = fsspec.core.url_to_fs(str(Path(to).expanduser()) if "://" not in to else to)
    for path in _files(folder):
        target = f"{root.rstrip('/')}/{path.relative_to(folder).as_posix()}"
        store.makedirs(target.rpartition("/")[0], exist_ok=True)
        store.put_file(str(path), target)
        shell.say(f"uploaded {path.relative_to(folder)}")
    return to


def _files(folder: Path) -> Iterator[Path]:
    """The files of the exports, the facts last."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / FILE)
    yield folder / FILE


def main() -> None:
    """Parse the arguments and upload."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.export.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("to", help="hf://user/name, a folder or an address")
    parser.add_argument("--folder", type=Path, default=Path("exports"), help="the exports")
    arguments = parser.parse_args()
    shell.say(f"published: {publish(arguments.folder, arguments.to, Path('models'))}")


if __name__ == "__main__":
    shell.run_command(main)

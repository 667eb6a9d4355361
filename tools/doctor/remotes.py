"""The check of DVC's remotes."""

import concurrent.futures
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fsspec.asyn import sync

from tools import dvc_files
from tools.doctor.finding import Finding, Project, reason, without_passwords

TIMEOUT = 20.0  # seconds
_MAKE = "make repro   (makes them on this machine)"


def remotes(project: Project) -> Iterator[Finding]:
    """Whether each remote can be reached, and whether the default one has the results that this clone lacks."""
    repo = project.repo
    missing = [out.hash_info.value for out in dvc_files.missing_outputs(repo)]
    names = list(repo.config["remote"])
    default = repo.config["core"].get("remote")
    if not names:
        text = "remotes: none, and DVC's cache lacks results of this commit" if missing else "remotes: none"
        add = "dvc remote add -d shared s3://bucket/folder   (docs/sharing.md)"
        yield Finding("note", text, f"{_MAKE}, or {add}" if missing else add)
    answers = {name: _start(repo, name, missing if name == default else []) for name in names}
    concurrent.futures.wait(answers.values(), TIMEOUT)
    for name, answer in answers.items():
        url = without_passwords(repo.config["remote"][name]["url"])
        remote = f"remote {name}{' (the default)' if name == default else ''}, {url}"
        try:
            finding = answer.result(timeout=0)
        except Exception as error:  # each kind of remote has its own errors
            why = f"no answer within {TIMEOUT:.0f} s" if isinstance(error, TimeoutError) else reason(error)
            remedy = f"dvc remote modify {shlex.quote(name)} ...   (docs/sharing.md: addresses and credentials)"
            finding = Finding("wrong", why, remedy)
        yield Finding(finding.state, f"{remote}: {finding.text}", finding.remedy)


def _start(repo: Any, name: str, missing: Sequence[str]) -> concurrent.futures.Future[Finding]:
    """Check a remote in a daemon thread: a remote that never answers must not keep the process alive."""
    answer: concurrent.futures.Future[Finding] = concurrent.futures.Future()

    def check() -> None:
        try:
            answer.set_result(_check(repo, name, missing))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=check, daemon=True).start()
    return answer


def _check(repo: Any, name: str, missing: Sequence[str]) -> Finding:
    """The finding of a remote; `missing` are the hashes of the results that DVC's cache lacks.

    Raises the errors of the remote's library.
    """
    config, quoted = repo.config["remote"][name], shlex.quote(name)
    if config.get("ask_password") and config.get("password") is None:
        return Finding("note", "not checked, because DVC would ask you for a password", _list(quoted))
    remote = repo.cloud.get_remote(name)
    finding = _state(remote, config, quoted)
    if finding.state == "wrong" or not missing:
        return finding
    lacking = [value for value in missing if not remote.odb.exists(value)]
    if lacking:
        text = f"lacks {len(lacking)} of the {len(missing)} results that DVC's cache lacks: nobody has published them"
        return Finding("note", text, f"{_MAKE}, or use a remote that has them (docs/sharing.md)")
    return Finding("note", f"has the {len(missing)} results that DVC's cache lacks", "dvc pull")


def _state(remote: Any, config: Mapping[str, Any], quoted: str) -> Finding:
    """Whether a remote can be reached and verifies downloads. Raises the errors of the remote's library."""
    # HTTP has no folders, and DVC's library mistakes a server that does not answer for an empty remote.
    if remote.fs.protocol in ("http", "https"):
        finding = _check_status(sync(remote.fs.fs.loop, _status, remote.fs.fs, remote.path), quoted)
        if finding is not None:
            return finding
    elif not (remote.fs.exists(remote.odb.path) or remote.fs.exists(remote.path)):
        return Finding("note", "empty so far", "dvc push")
    if not config.get("verify"):
        text = "reachable, but downloads are not verified"
        return Finding("note", text, f"dvc remote modify {quoted} verify true")
    return Finding("ok", "reachable")


def _list(quoted: str) -> str:
    """The command that lists which objects a remote has."""
    return f"dvc status --cloud -r {quoted}"


def _check_status(status: int, quoted: str) -> Finding | None:
    """The finding of an HTTP status; None for a status below 400."""
    if status == 404:  # the answer of a server that does not list folders
        return Finding("note", "reachable, but lists nothing (404)", f"{_list(quoted)}   (shows which objects it has)")
    if status in (401, 403):
        remedy = f"dvc remote modify --local {quoted} auth basic, and user, and password   (docs/sharing.md)"
        return Finding("wrong", f"answers {status}: no permission with these credentials", remedy)
    if status >= 400:
        return Finding("wrong", f"answers {status}", f"check the server and its address, then {_list(quoted)}")
    return None


async def _status(fs: Any, url: str) -> int:
    """The HTTP status of the request that DVC itself would send, with its credentials."""
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), **fs.kwargs) as response:
        return int(response.status)

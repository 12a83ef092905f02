"""What hostile and damaged bundles come to: ``python -m lilliput.benchmarks.hostile.measure --out FILE.json``.

Every attack of this package is loaded, asked and verified in a process of its own, and refused where both calls raise a
`lilliput.errors.LilliputError` in less than 2 s and 1 GB, with the canary untouched. Attacks on files that the runtime
never opens are refused by ``lilliput verify``, and loading them does no harm. Then the honest bundle is changed at
random thousands of times, and each change must be refused.
"""

from __future__ import annotations

import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.hostile import mutations, trials, victim
from lilliput.benchmarks.pieces import Figure
from lilliput.errors import ConfigError


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
    changes: Annotated[int, typer.Option(help="Random changes to the honest bundle.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the random changes.")] = 0,
) -> None:
    """Try all attacks and all changes, and write the piece."""
    if changes < 1:
        raise ConfigError(f"--changes: expected a number above zero, got {changes}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        honest = folder / "honest"
        # Made elsewhere: this process forks, and one that has run a model must not.
        maker = get_context("spawn").Process(target=victim.make, args=(honest,))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise typer.Exit(maker.exitcode)
        tried = [trials.try_case(family, case, honest, folder / "scratch") for family, case in trials.cases()]
        tally = mutations.try_mutations(honest, changes, folder / "changed", seed)
    refused = sum(trial.is_refused for trial in tried)
    pieces.write(
        out,
        [
            Figure("export.hostile_refused", refused, "bundles", n=len(tried)),
            Figure("export.mutations_loaded", tally.failures, "changes", n=tally.n, seeds=(seed,)),
        ],
        limits={"seconds": trials.SECONDS, "megabytes": trials.MEGABYTES},
        slowest_seconds=max(max(trial.load.seconds, trial.verify.seconds) for trial in tried),
        largest_megabytes=max(max(trial.load.megabytes, trial.verify.megabytes) for trial in tried),
        attacks=[trial.plain() for trial in tried],
        mutations=tally.plain(),
    )
    for trial in tried:
        if not trial.is_refused:
            typer.echo(f"not refused: {trial.family}: {trial.name}: {trial.load}, {trial.verify}")
    typer.echo(f"{refused} of {len(tried)} attacks refused; {tally.failures} of {tally.n:,} changes not refused")


if __name__ == "__main__":
    typer.run(main)

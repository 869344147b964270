"""What `import ntkspec` costs beside `import jax`, and how long a person waits for `ntkspec --help`."""

from __future__ import annotations

from benchmarks.measure import Record, Spread, in_turn, show, time_python

ROUNDS = 9
CODES = {
    "jax": "import jax",
    "alone": "import ntkspec",
    "both": "import jax, ntkspec",
    # Lazy names cost nothing until they are used: this uses the numerics.
    "rooms": "import jax, ntkspec as ns; ns.kernel, ns.operator, ns.predict",
    "help": "import sys; from ntkspec.cli import main; sys.argv = ['ntkspec', '--help']; sys.exit(main())",
}


def main() -> list[Record]:
    """Measure and print."""
    for code in CODES.values():
        time_python(code)  # fills the caches of byte code and of the disk
    seconds = in_turn(ROUNDS, **{name: lambda code=code: time_python(code) for name, code in CODES.items()})

    def above_jax(name: str) -> Spread:
        return Spread.of([a - b for a, b in zip(seconds[name], seconds["jax"], strict=True)])

    jax = {"import jax (s)": Spread.of(seconds["jax"]).median}
    rooms = "… and touching `ns.kernel`, `ns.operator`, `ns.predict`"
    return show(
        [
            Record("`import ntkspec` over `import jax`", above_jax("both"), "s", at_most=0.3, detail=jax),
            Record(rooms, above_jax("rooms"), "s"),
            Record("Python with `import ntkspec` alone", Spread.of(seconds["alone"]), "s"),
            Record("`ntkspec --help`", Spread.of(seconds["help"]), "s", at_most=0.5),
        ]
    )


if __name__ == "__main__":
    main()

"""Write docs/benchmarks.md from the results that `benchmarks.run` has saved: nothing in it is typed by hand."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.run import CLAIMS, LARGE, RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
#: Drawn by a benchmark, and what they show.
PLOTS = {
    "cost_vs_size.png": "Seconds of a lattice product against the number of points",
    "width_law.png": "Distance of finite networks to theory against their width, single and mean, by step",
}
HEAD = """# Benchmarks

Written by `python -m benchmarks.page` from what `make bench` and `make bench-large` measured. A ratio is between two
things run in turn in one process: the median, with the smallest and the largest of several. Memory is the peak that the
operating system reports of a process of its own. A target that was missed says no.
"""


def section(content: dict[str, Any]) -> str:
    """One benchmark as a table, with the machine, the day and the versions."""
    machine, versions = content["machine"], content["versions"]
    where = f"{machine['machine']}, {machine['cores']} cores; {content['time'][:10]}; JAX {versions['jax']}"
    rows = [f"## {content['benchmark']}", "", f"*{where}.*", ""]
    rows += ["| claim | measured: median (min … max) | target | met |", "| --- | --- | --- | --- |"]
    for record in content["records"]:
        value, limits = record["value"], {"≥": record["at_least"], "≤": record["at_most"]}
        target = " ".join(f"{sign} {limit:g}" for sign, limit in limits.items() if limit is not None)
        spread = f"{value['median']:.3g} ({value['low']:.3g} … {value['high']:.3g}) {record['unit']}"
        met = {None: "", True: "yes", False: "no"}[record["met"]]
        details = ", ".join(
            f"{name} {number:.3g}" if isinstance(number, float) else f"{name} {number}"
            for name, number in record["detail"].items()
        )
        rows.append(f"| {record['claim']}{f'<br>*{details}*' if details else ''} | {spread} | {target} | {met} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Write the page; the exit status says whether there was anything to write."""
    saved = [RESULTS / f"{name}.json" for name in (*CLAIMS, *LARGE)]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in saved if path.exists()]
    if not found:
        print(f"no results in {RESULTS}: run `make bench` first", file=sys.stderr)
        return 1
    parts = [HEAD, *(section(content) for content in found)]
    for name, caption in PLOTS.items():
        if (RESULTS / name).exists():
            shutil.copyfile(RESULTS / name, PAGE.parent / name)
            parts.append(f"![{caption}]({name})\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())

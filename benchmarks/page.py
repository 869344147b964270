"""Write docs/benchmarks.md from the results that `benchmarks.run` has saved: nothing in it is typed by hand.

Sections of benchmarks that were not measured anew stay as they are, with their device and day.
"""

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
    "width_law.png": "Distance of finite networks to theory against their width, and what their bias is due to",
}
HEAD = """# Benchmarks

Written by `python -m benchmarks.page` from what `make bench`, `make bench-large` and `make bench-gpu` measured; each
section says when and on what. A ratio is between two
things run in turn in one process: the median, with the smallest and the largest of several. Memory is the peak that the
operating system reports of a process of its own. A target that was missed says no.
"""


def section(content: dict[str, Any]) -> str:
    """One benchmark as a table, with the device, the day and the versions."""
    where = f"{content['machine']['device']}; {content['time'][:10]}; JAX {content['versions']['jax']}"
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


def standing(page: Path) -> dict[str, str]:
    """Return the sections of the page as it is, by name: each says when and on what it was measured."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    found = {}
    for part in text.split("\n## ")[1:]:
        table = part.partition("\n![")[0].rstrip("\n")
        found[table.partition("\n")[0]] = f"## {table}\n"
    return found


def main() -> int:
    """Write the page; the exit status says whether there was anything to write."""
    names = (*CLAIMS, *LARGE, "gpu")
    saved = [path for path in (RESULTS / f"{name}.json" for name in names) if path.exists()]
    if not saved:
        print(f"no results in {RESULTS}: run `make bench` first", file=sys.stderr)
        return 1
    sections = standing(PAGE)
    sections |= {path.stem: section(json.loads(path.read_text(encoding="utf-8"))) for path in saved}
    parts = [HEAD, *(sections[name] for name in names if name in sections)]
    for name, caption in PLOTS.items():
        if (RESULTS / name).exists():
            shutil.copyfile(RESULTS / name, PAGE.parent / name)
        if (PAGE.parent / name).exists():
            parts.append(f"![{caption}]({name})\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())

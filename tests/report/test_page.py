import base64
from html.parser import HTMLParser

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from ntkspec import limits
from ntkspec.report import _page as page
from ntkspec.report._page import Figure, Section, Table, replacing, write_page


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.void = {"meta", "link", "img", "br"}
        self.feed(html)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data.strip())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def axes(points=2):
    ax = Canvas().add_subplot()
    ax.plot(np.arange(points), np.random.default_rng(0).normal(size=points))
    return ax


def full(directory, **changes):
    options = {
        "title": "Kernel <b>&</b> signal",
        "verdict": "It learns up to 12 cycles per unit & no more.",
        "tone": "good",
        "lead": "First paragraph.\n\nSecond paragraph.",
        "notices": ["The width is <small>."],
        "sections": [
            Section(
                "Spectrum",
                "What it is.",
                [Figure("spectrum", "A caption & more", axes(), alt='An "alt" text')],
            ),
            Section(
                "Numbers",
                items=[
                    Table(
                        "Bandwidth",
                        ["name", "rank"],
                        [["a<b", 1234567], [None, np.float64(0.123456)]],
                        ["", "modes"],
                    ),
                    Figure("row", "Two pictures", np.array(Canvas().subplots(1, 2))),
                ],
            ),
        ],
        "details": {"Configuration": {"depth": 3, "bias": False}, "Log": "a < b"},
    }
    return write_page(directory, **options | changes)


def test_page_asks_for_nothing_outside(tmp_path):
    html = full(tmp_path).read_text(encoding="utf-8")
    reader = Reader(html)
    references = [
        value for _, attrs in reader.tags for name, value in attrs.items() if name in ("src", "href", "srcset", "data")
    ]
    assert len(references) == 3
    assert all(value.startswith("data:") for value in references)
    assert "url(" not in html
    assert "@import" not in html
    assert reader.all("script") == []
    policies = [attrs["content"] for attrs in reader.all("meta") if "http-equiv" in attrs]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_embedded_pictures_are_the_files(tmp_path):
    reader = Reader(full(tmp_path).read_text(encoding="utf-8"))
    files = sorted(entry.name for entry in (tmp_path / "figures").iterdir())
    assert files == ["row.png", "row.svg", "spectrum.png", "spectrum.svg"]
    for attrs, name in zip(reader.all("img"), ("spectrum", "row"), strict=True):
        kind, content = attrs["src"].split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        assert base64.b64decode(content) == (tmp_path / "figures" / f"{name}.svg").read_bytes()
    assert [attrs["alt"] for attrs in reader.all("img")] == ['An "alt" text', "Two pictures"]
    assert plt.imread(tmp_path / "figures" / "spectrum.png").shape[1] > 600


def test_large_vector_pictures_are_embedded_as_pixels(tmp_path):
    with limits.limited(svg=100):
        built = full(tmp_path)
    (first, _) = Reader(built.read_text(encoding="utf-8")).all("img")
    content = base64.b64decode(first["src"].removeprefix("data:image/png;base64,"))
    assert content == (tmp_path / "figures" / "spectrum.png").read_bytes()


def test_text_is_escaped_and_complete(tmp_path):
    html = full(tmp_path).read_text(encoding="utf-8")
    reader = Reader(html)
    assert "Kernel &lt;b&gt;&amp;&lt;/b&gt; signal" in html
    assert reader.all("b") == reader.all("small") == []
    prose = ["Kernel <b>&</b> signal", "It learns up to 12 cycles per unit & no more.", "First paragraph."]
    prose += ["Second paragraph.", "The width is <small>.", "A caption & more"]
    cells = ["a<b", "1,234,567", "0.1235", "–", "modes", "no", "a < b"]
    assert [text for text in prose + cells if text not in reader.text] == []
    assert {"class": "verdict good"} in reader.all("div")
    assert len(reader.all("details")) == 2


def test_columns_of_numbers_are_flush_right_with_their_empty_cells(tmp_path):
    table = Table("T", ["n", "mixed", "text", "flag"], [[1, 1, "a", True], [None, "b", None, False]])
    section = Section("S", items=[table])
    reader = Reader(write_page(tmp_path, title="T", verdict="V", sections=[section]).read_text(encoding="utf-8"))
    assert reader.all("td") == [{"class": "number"}, {}, {}, {}] * 2
    assert reader.all("th") == [{"scope": "col", "class": "number"}, *[{"scope": "col"}] * 3]


def test_page_alone(tmp_path):
    reader = Reader(write_page(tmp_path, title="T", verdict="V").read_text(encoding="utf-8"))
    assert reader.all("section") == []
    assert "V" in reader.text


def test_same_content_is_the_same_files(tmp_path):
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        full(tmp_path / name)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()})
    assert len(contents[0]) == 5
    assert contents[0] == contents[1]


def test_a_written_figure_is_released_from_pyplot(tmp_path):
    _, ax = plt.subplots()
    before = set(plt.get_fignums())
    write_page(tmp_path, title="T", verdict="V", sections=[Section("S", items=[Figure("f", "c", ax)])])
    assert len(before - set(plt.get_fignums())) == 1


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([Figure("../up", "c", None)], r"name '\.\./up', expected letters"),
        ([Figure("a", "c", None), Figure("a", "c", None)], "two figures named 'a'"),
        ([Table("T", ["a", "b"], [[1]])], "got 1 cells in a row for 2 columns"),
        ([Table("T", ["a", "b"], [], ["s"])], "got 1 units for 2 columns"),
    ],
)
def test_bad_items(tmp_path, items, message):
    with pytest.raises(ValueError, match=message):
        write_page(tmp_path, title="T", verdict="V", sections=[Section("S", items=items)])
    assert list(tmp_path.iterdir()) == []


def write(fresh, verdict):
    return write_page(fresh, title="T", verdict=verdict)


def fail_after(path, error):
    assert path.is_file()
    raise error


def test_replacing_creates_and_replaces(tmp_path):
    target = tmp_path / "deep" / "report"
    for verdict in ("first", "second"):
        with replacing(target) as fresh:
            assert fresh.parent == target.parent
            write(fresh, verdict)
            (fresh / f"{verdict}.txt").touch()
        assert verdict in (target / "report.html").read_text(encoding="utf-8")
    assert sorted(p.name for p in target.iterdir()) == ["figures", "report.html", "second.txt"]
    assert [p.name for p in target.parent.iterdir()] == ["report"]


def test_report_is_readable_by_others(tmp_path):
    (tmp_path / "plain").mkdir()
    with replacing(tmp_path / "report") as fresh:
        write(fresh, "v")
    assert (tmp_path / "report").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_report(tmp_path, error):
    target = tmp_path / "report"
    with replacing(target) as fresh:
        write(fresh, "old")
    before = (target / "report.html").read_bytes()
    with pytest.raises(error), replacing(target) as fresh:
        fail_after(write(fresh, "new"), error)
    assert (target / "report.html").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_failed_rename_puts_the_old_report_back(tmp_path, monkeypatch):
    target = tmp_path / "report"
    with replacing(target) as fresh:
        write(fresh, "old")
    rename = page.Path.rename

    def fail_for_the_new(self, to):
        if "-new-" in self.name:
            raise OSError("disk")
        return rename(self, to)

    monkeypatch.setattr(page.Path, "rename", fail_for_the_new)
    with pytest.raises(OSError, match="disk"), replacing(target) as fresh:
        write(fresh, "new")
    assert "old" in (target / "report.html").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_empty_directory_is_taken(tmp_path):
    (tmp_path / "report").mkdir()
    with replacing(tmp_path / "report") as fresh:
        write(fresh, "v")
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize("name", ["thesis.txt", "report.html"])
def test_a_foreign_directory_is_refused(tmp_path, name):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / name).write_text("mine", encoding="utf-8")
    with (
        pytest.raises(ValueError, match="neither empty nor a report of ntkspec"),
        replacing(tmp_path / "home"),
    ):
        pytest.fail("the block ran")
    assert (tmp_path / "home" / name).read_text(encoding="utf-8") == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


def test_a_file_and_the_working_directory_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"), replacing(tmp_path / "file"):
        pytest.fail("the block ran")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ValueError, match="current working directory"), replacing("."):
        pytest.fail("the block ran")

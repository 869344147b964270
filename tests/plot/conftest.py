import matplotlib
import matplotlib.pyplot as plt
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _own_figures():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before, "a plot changed the user's rcParams"
    for number in plt.get_fignums():
        # Layout and log scales only warn when drawn.
        plt.figure(number).canvas.draw()
    plt.close("all")

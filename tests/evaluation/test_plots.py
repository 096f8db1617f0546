from __future__ import annotations

import io
import subprocess
import sys

import pytest
from PIL import Image

from orchestai.contracts import PlanExample, PlanPrediction, Subtask, WorkflowGraph
from orchestai.errors import InputError
from orchestai.evaluation import plots
from orchestai.evaluation.confusion import confusion

GOLD = PlanExample(
    id="g",
    instruction="i",
    task_types=("text_extraction", "reasoning", "generation"),
    dependencies=((), (0,), (0, 1)),
)
PREDICTED = PlanPrediction(task_types=("reasoning", "generation"), dependencies=((), (0,)))


def _opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert image.width >= 500
    assert image.height >= 250
    colours = image.convert("RGB").getcolors(1 << 20)
    assert colours is None or len(colours) > 20, "an empty plot"
    return image


def test_every_plot_is_a_filled_png() -> None:
    _opened(plots.loss_curves({"train": [2, 1.5, 1.1], "validation": [2.1, 1.8, 1.9]}, best_epoch=2))
    _opened(plots.confusion_plot(confusion([GOLD], [PREDICTED], GOLD.task_types)))
    _opened(plots.calibration_plot([0.1, 0.5, 0.9], [0, 1, 1]))
    _opened(plots.comparison_plot({"ours": {"node_f1": 0.8, "link_f1": 0.5, "exact": 0.4}, "rules": {"node_f1": 0.5}}))
    _opened(plots.plan_pair(GOLD, PREDICTED, title="A plan"))


def test_plans_of_every_form_can_be_drawn() -> None:
    graph = WorkflowGraph(nodes=(Subtask(task_type="a"),), dependencies=((),))
    _opened(plots.plan_pair(graph, PREDICTED))
    cyclic = PlanPrediction(task_types=("a", "b"), dependencies=((1,), (0,)))
    _opened(plots.plan_pair(GOLD, cyclic, title="x" * 300))


def test_a_large_matrix_is_summed_up() -> None:
    golds = [PlanExample(id=str(i), instruction="i", task_types=(f"t{i:03}",), dependencies=((),)) for i in range(260)]
    plans = [PlanPrediction(task_types=("t000",), dependencies=((),)) for _ in golds]
    matrix = confusion(golds, plans, [])
    image = _opened(plots.confusion_plot(matrix))
    assert image.width < 4000
    shrunk = plots._shrunk(matrix)
    assert shrunk.array().sum() == matrix.array().sum() == 260
    assert "(221 others)" in shrunk.labels


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(InputError):
        plots.loss_curves({"train": []})
    with pytest.raises(InputError):
        plots.comparison_plot({})
    with pytest.raises(InputError):
        plots.plan_pair(GOLD, PlanPrediction(task_types=(), dependencies=()))


def test_importing_plots_does_not_load_matplotlib() -> None:
    heavy = "('matplotlib', 'torch', 'sklearn', 'transformers')"
    code = f"import sys, orchestai.evaluation.plots; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

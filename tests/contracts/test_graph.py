"""Graphs: levels, edges and the transpose are right, and what cannot run is refused with a reason."""

from __future__ import annotations

import pickle

import pytest

from orchestai.contracts import MAX_SUBTASKS, Subtask, WorkflowGraph
from orchestai.errors import CycleError, DanglingDependencyError, PlanError


def graph(*dependencies: tuple[int, ...]) -> WorkflowGraph:
    nodes = tuple(Subtask(task_type=f"t{index}") for index in range(len(dependencies)))
    return WorkflowGraph(nodes=nodes, dependencies=dependencies)


def test_diamond() -> None:
    diamond = graph((), (0,), (0,), (1, 2))
    assert diamond.levels == ((0,), (1, 2), (3,))
    assert diamond.topological_order == (0, 1, 2, 3)
    assert diamond.edges == ((0, 1), (0, 2), (1, 3), (2, 3))
    assert diamond.sinks == (3,)
    assert not diamond.is_chain


def test_level_is_the_longest_path_not_the_shortest() -> None:
    assert graph((), (0,), (0, 1)).levels == ((0,), (1,), (2,))


def test_adjacency_is_the_transpose_of_dependencies() -> None:
    fan_in = graph((), (), (0, 1))
    assert fan_in.dependencies[2] == (0, 1)
    assert fan_in.adjacency() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_parents_may_stand_after_their_children() -> None:
    backwards = graph((1,), ())
    assert backwards.topological_order == (1, 0)
    assert backwards.sinks == (0,)


def test_chain_and_single() -> None:
    nodes = tuple(Subtask(task_type="t") for _ in range(3))
    assert WorkflowGraph.chain(nodes).dependencies == ((), (0,), (1,))
    assert WorkflowGraph.chain(nodes).is_chain
    assert graph(()).sinks == (0,)


def test_networkx_view() -> None:
    view = graph((), (0,)).to_networkx()
    assert list(view.edges) == [(0, 1)]
    assert view.nodes[1]["task_type"] == "t1"


def test_cycle_is_named_in_the_direction_of_its_edges() -> None:
    with pytest.raises(CycleError) as caught:
        graph((2,), (0,), (1,))
    cycle = caught.value.cycle
    dependencies = {0: {2}, 1: {0}, 2: {1}}
    pairs = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    assert all(parent in dependencies[child] for parent, child in pairs)
    assert sorted(cycle) == [0, 1, 2]


def test_self_dependency_is_a_cycle() -> None:
    with pytest.raises(CycleError):
        graph((0,))


def test_dangling_dependency_names_both_sides() -> None:
    with pytest.raises(DanglingDependencyError, match=r"Sub-task 1 depends on 7, .* 0\.\.1"):
        graph((), (7,))


@pytest.mark.parametrize(
    ("nodes", "dependencies", "message"),
    [
        (0, (), "no sub-task"),
        (MAX_SUBTASKS + 1, ((),) * (MAX_SUBTASKS + 1), "21 sub-tasks; 20 are allowed"),
        (2, ((),), "2 sub-tasks but 1 lists"),
        (2, ((), (0, 0)), "names a dependency twice"),
    ],
)
def test_refused(nodes: int, dependencies: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        WorkflowGraph(nodes=(Subtask(task_type="t"),) * nodes, dependencies=dependencies)


def test_errors_survive_pickling_with_their_fields() -> None:
    error = DanglingDependencyError(1, 7, 2)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is DanglingDependencyError
    assert (copy.node, copy.dependency, str(copy)) == (1, 7, str(error))

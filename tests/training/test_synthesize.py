"""Synthetic instructions: valid plans, no repetition, words that say what the plan does."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestai.config import load_project
from orchestai.contracts import PlanExample, Subtask, TaskCatalog, WorkflowGraph
from orchestai.errors import InputError
from orchestai.importers import read_starter
from orchestai.importers.splits import normalized
from orchestai.training.phrases import SLOT, PhraseBook, load_books
from orchestai.training.scenarios import TYPES, Need, Scenario, draw_scenario
from orchestai.training.synthesize import is_synthetic, synthesize, with_synthetic
from orchestai.training.wording import Wording

STARTER = Path(__file__).parents[2] / "examples" / "starter"


@pytest.fixture(scope="module")
def made() -> list[PlanExample]:
    return synthesize(rows=1500, seed=3)


@pytest.fixture(scope="module")
def tasks() -> TaskCatalog:
    return load_project().tasks


def test_plans_are_acyclic_and_of_known_types(made: list[PlanExample], tasks: TaskCatalog) -> None:
    for example in made:
        assert set(example.task_types) <= set(tasks.names)
        nodes = tuple(Subtask(task_type=name, description=name) for name in example.task_types)
        graph = WorkflowGraph(nodes=nodes, dependencies=example.dependencies)  # refuses cycles
        assert len(graph.nodes) == len(example.dependencies)
        assert all(parent < child for child, parents in enumerate(example.dependencies) for parent in parents)


def test_every_task_type_and_every_language_occurs(made: list[PlanExample], tasks: TaskCatalog) -> None:
    found = Counter(name for example in made for name in example.task_types)
    assert set(found) == set(tasks.names) == TYPES
    assert min(found.values()) > 100
    texts = " ".join(example.instruction for example in made).casefold()
    for word in ("summar", "zusammenfass", "résum", "resum"):
        assert word in texts


def test_nothing_is_made_twice_and_all_is_for_training(made: list[PlanExample]) -> None:
    assert len({normalized(example.instruction) for example in made}) == len(made)
    assert len({example.id for example in made}) == len(made)
    assert all(example.split == "train" and is_synthetic(example) for example in made)


def test_equal_seeds_make_equal_examples(made: list[PlanExample]) -> None:
    assert synthesize(rows=300, seed=3) == made[:300]
    assert synthesize(rows=300, seed=4) != made[:300]


def test_no_slot_stays_open(made: list[PlanExample]) -> None:
    assert not [e.instruction for e in made if "{x}" in e.instruction or "{refs}" in e.instruction]
    assert not [e.instruction for e in made if SLOT.search(e.instruction)]


@pytest.mark.parametrize("book", load_books(), ids=lambda book: book.language)
def test_every_phrase_compiles(book: PhraseBook) -> None:
    wording = Wording(book, random.Random(0))
    for place, phrase in book.phrases():
        filled = wording.fill(phrase, x="X", refs="R", do="D", thing="T", first="1", second="2")
        assert filled, place
        assert "{" not in filled, (place, phrase)


@pytest.mark.parametrize("book", load_books(), ids=lambda book: book.language)
def test_a_language_can_word_most_scenarios(book: PhraseBook) -> None:
    wording = Wording(book, random.Random(0))
    rng = random.Random(1)
    spoken = 0
    for _ in range(200):
        scenario = draw_scenario(rng)
        if wording.speaks(scenario):
            spoken += 1
            text, media = wording.instruction(scenario)
            assert text.strip() == text
            assert set(media) <= set(scenario.media)
    assert spoken > 190


def test_folds_of_a_book_share_no_phrase_and_together_are_the_book() -> None:
    book = next(book for book in load_books() if book.language == "en")
    halves = [book.fold(number, 2) for number in (0, 1)]
    for need, forms in book.asks.items():
        for form, lines in forms.items():
            first, second = (half.asks[need][form] for half in halves)
            assert set(first) | set(second) == set(lines)
            assert len(lines) < 2 or len(first) + len(second) == len(lines)
    assert {e.group for e in synthesize(rows=50, seed=1)} == {"synthetic-0", "synthetic-1"}


def _scenarios(count: int = 4000) -> list[Scenario]:
    rng = random.Random(5)
    return [draw_scenario(rng) for _ in range(count)]


def test_sums_over_a_text_or_a_recording_wait_for_the_facts() -> None:
    # A picture is described with its numbers; a text has to be searched for them first.
    seen: Counter[str] = Counter()
    for scenario in _scenarios():
        for block in scenario.blocks:
            for need in block:
                if need.phrases != "reason" or isinstance(need.about, int):
                    continue
                parents = {scenario.task_types[parent] for parent in scenario.dependencies[need.node]}
                assert parents == ({"image_analysis"} if need.about == "image" else {"text_extraction"})
                seen[str(need.about)] += 1
    assert min(seen[kind] for kind in ("text", "image", "audio")) > 20


def test_material_is_read_once_and_all_needs_about_it_wait_for_that() -> None:
    for scenario in _scenarios():
        for kind, reader in (("image", "image_analysis"), ("audio", "audio_transcription")):
            assert scenario.task_types.count(reader) == (kind in scenario.media)
            for block in scenario.blocks:
                for need in block:
                    if need.about == kind and scenario.task_types[need.node] != reader:
                        assert _reaches(scenario, need.node, scenario.task_types.index(reader))


def test_what_is_wanted_abroad_is_translated_after_it_is_made() -> None:
    suffixes = [
        (scenario, need)
        for scenario in _scenarios()
        for block in scenario.blocks
        for need in block
        if need.phrases in ("too", "too_both")
    ]
    assert len(suffixes) > 300
    for scenario, need in suffixes:
        assert scenario.task_types[need.node] == "translation"
        assert scenario.dependencies[need.node] == (need.about,)


def test_writing_waits_for_exactly_what_it_contains() -> None:
    joins = 0
    for scenario in _scenarios():
        for block in scenario.blocks:
            for need in block:
                if need.phrases == "write_with":
                    assert scenario.dependencies[need.node] == tuple(sorted(need.refs))
                    joins += len(need.refs) > 1
    assert joins > 100


def test_needs_that_stand_for_themselves_wait_for_nothing() -> None:
    for scenario in _scenarios(1000):
        for block in scenario.blocks:
            for need in block:
                if need.phrases.endswith("_self") or need.phrases in ("fact", "code", "code_fix", "write_free"):
                    assert scenario.dependencies[need.node] == ()


def test_wording_of_a_scenario_made_by_hand() -> None:
    # A recording: its gist, that in another language, and code that has nothing to do with it.
    book = PhraseBook.model_validate(
        {
            "language": "en",
            "sources": {"audio": "the tape"},
            "tags": {"audio": "Tape:"},
            "results": {"summarization": "the gist"},
            "slots": {"lang": "French", "fluff": "Hi.", "attached": "Attached.", "unrelated": "Also:"},
            "negations": {"any": "Nothing else."},
            "frames": {"do": "{do}.", "thing": "{thing}.", "then": ", then_", "and": "_and_", "thens": "Then_",
                       "first": "First,_", "before": "{second}, but before that {first}.", "list_head": "To do:"},
            "asks": {
                "summarize": {"do": "sum up {x}"},
                "translate": {"do": "put {x} into {lang}"},
                "code": {"do": "write a loop"},
            },
        }
    )  # fmt: skip
    scenario = Scenario(
        task_types=["audio_transcription", "summarization", "translation", "code_generation"],
        dependencies=[(), (0,), (1,), ()],
        blocks=[
            [Need("summarize", 1, "audio"), Need("translate", 2, 1, follows=True)],
            [Need("code", 3)],
        ],
        media=("audio",),
    )
    wording = Wording(book, random.Random(0))
    assert wording.phrase(scenario, scenario.blocks[0][0], "do") == "sum up the tape"
    assert wording.phrase(scenario, scenario.blocks[0][1], "do") == "put the gist into French"
    assert wording.phrase(scenario, scenario.blocks[1][0], "do") == "write a loop"
    assert wording.phrase(scenario, scenario.blocks[1][0], "thing") is None
    text, media = wording.instruction(scenario)
    assert media == ("audio",)
    for words in ("sum up the tape", "put the gist into french", "write a loop"):
        assert words in text.casefold()


def test_a_need_asked_before_what_it_waits_for_still_comes_after_it_in_the_plan() -> None:
    for scenario in _scenarios():
        order = [need.node for block in scenario.blocks for need in block]
        assert len(set(order)) == len(order)
        for node, parents in enumerate(scenario.dependencies):
            assert all(parent < node for parent in parents)


def test_nothing_close_to_a_held_out_instruction_is_made(made: list[PlanExample]) -> None:
    longer = next(example for example in made if len(example.instruction.split()) > 12)
    almost = longer.instruction.replace(longer.instruction.split()[0], "Well,", 1)
    again = synthesize(rows=1500, seed=3, avoid=[almost])
    assert longer.instruction not in {example.instruction for example in again}


def test_held_out_starter_instructions_are_kept_away(tasks: TaskCatalog) -> None:
    examples = [record.to_example() for record in read_starter(STARTER)]
    both = with_synthetic(examples, rows=400, seed=1, tasks=tasks, max_subtasks=10)
    assert both[: len(examples)] == examples
    added = both[len(examples) :]
    assert len(added) == 400
    held_out = {normalized(e.instruction) for e in examples if e.split != "train"}
    assert not held_out & {normalized(e.instruction) for e in added}


def test_a_catalog_of_other_types_gets_none(tasks: TaskCatalog) -> None:
    other = TaskCatalog(types=tasks.types[:5])
    assert with_synthetic([], rows=10, seed=1, tasks=other, max_subtasks=10) == []


def test_a_plan_is_never_longer_than_allowed() -> None:
    assert max(len(e.task_types) for e in synthesize(rows=300, seed=1, max_subtasks=3)) == 3


def test_too_few_phrases_are_an_error_not_an_endless_loop(made: list[PlanExample]) -> None:
    book = load_books()[0]
    only = book.model_copy(update={"asks": {"describe": {"say": ("What is this?",)}}})
    with pytest.raises(InputError, match="different instructions"):
        synthesize(rows=500, seed=1, books=[only])


def test_an_unknown_slot_is_refused() -> None:
    book = load_books()[0].model_dump()
    book["asks"]["describe"]["do"] = "describe {thing_that_is_nowhere}"
    with pytest.raises(ValidationError, match="unknown slot 'thing_that_is_nowhere'"):
        PhraseBook.model_validate(book)


def _reaches(scenario: Scenario, node: int, wanted: int) -> bool:
    return node == wanted or any(_reaches(scenario, parent, wanted) for parent in scenario.dependencies[node])

"""Labels: on disk before they are acknowledged, each once, the newest holds, torn lines are left out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestai.logs import ExecutionLogger, closed_segments
from orchestai.logs.feedback import FeedbackRecord, feedback_of, labels_of, read_feedback

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def label(success: bool | None = True, minute: int = 0, **fields: object) -> FeedbackRecord:
    given = {"execution_id": "e-1", "success": success, "timestamp": NOON + timedelta(minutes=minute), **fields}
    return FeedbackRecord.model_validate(given)


def test_the_newest_label_of_an_execution_holds_whatever_the_order_of_writing(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path) as logger:
        logger.log(label(True, minute=5, source="judge"))
        logger.log(label(False, minute=1))
        logger.log(label(False, execution_id="e-2"))

    found = labels_of(tmp_path)

    assert {execution: each.success for execution, each in found.items()} == {"e-1": True, "e-2": False}
    assert found["e-1"].source == "judge"


def test_labels_are_read_while_their_writer_lives_and_after_a_torn_line(tmp_path: Path) -> None:
    logger = ExecutionLogger(tmp_path)
    logger.log(label())
    (path,) = tmp_path.glob("*/*.open")
    with path.open("ab") as file:
        file.write(label(execution_id="e-2").to_line()[:40])  # what a kill leaves

    assert [record.execution_id for record in read_feedback(tmp_path)] == ["e-1"]
    logger.close()


def test_a_line_that_was_changed_is_left_out(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path) as logger:
        logger.log(label(False))
        logger.log(label(True, execution_id="e-2"))
    (path,) = closed_segments(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"success":false', b'"success":true', 1))

    assert set(labels_of(tmp_path)) == {"e-2"}


def test_a_score_says_whether_it_was_good() -> None:
    assert label(None, score=0.5).success
    assert not label(None, score=0.49).success
    assert label(True, score=0.1).success, "who says both means what is said in words"
    with pytest.raises(ValueError, match="success"):
        label(None)


def test_readers_of_the_log_do_not_see_the_feedback(tmp_path: Path) -> None:
    with ExecutionLogger(feedback_of(tmp_path)) as logger:
        logger.log(label())

    assert closed_segments(tmp_path) == []
    assert labels_of(feedback_of(tmp_path)).keys() == {"e-1"}

"""`POST /v1/executions/{id}/feedback`: on disk before the answer, for executions of the caller's own that are over."""

from orchestai.app.places import feedback_folder
from orchestai.config import Project
from orchestai.logs.feedback import labels_of
from tests.service.harness import Running


def test_feedback_is_on_disk_before_it_is_acknowledged(service: Running, project: Project) -> None:
    made = service.post().headers["x-execution-id"]
    service.ended(made)

    answer = service.http.post(f"/v1/executions/{made}/feedback", json={"score": 0.2, "note": "Wrong city."})

    assert answer.status_code == 201
    assert answer.json()["success"] is False
    found = labels_of(feedback_folder(project))[made]
    assert (found.success, found.score) == (False, 0.2)
    assert service.http.post(f"/v1/executions/{made}/feedback", json={"good": True}).status_code == 201
    assert labels_of(feedback_folder(project))[made].success


def test_feedback_that_says_nothing_or_is_about_nothing_is_refused(service: Running) -> None:
    made = service.post().headers["x-execution-id"]
    service.ended(made)

    assert service.http.post(f"/v1/executions/{made}/feedback", json={}).status_code == 400
    assert service.http.post(f"/v1/executions/{made}/feedback", json={"score": 1.5}).status_code == 400
    assert service.http.post("/v1/executions/unknown/feedback", json={"good": True}).status_code == 404

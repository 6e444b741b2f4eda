"""What every refusal must look like, and that it did no harm."""

from __future__ import annotations

from tests.api.conftest import Api, lines


def check_error(response, status: int, code: str | None, param: str | None, *words: str) -> None:
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/json"
    assert response["x-request-id"].startswith("req_")
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["type"] == "invalid_request_error"
    assert (body["error"]["code"], body["error"]["param"]) == (code, param), body
    for word in words:
        assert word in body["error"]["message"], body


def check_unharmed(api: Api) -> None:
    """A good batch right afterwards is accepted."""
    batch = api.make(lines(2))
    assert (batch["status"], batch["request_counts"]["total"]) == ("in_progress", 2)

"""The description for machines: true to the answers, and readable with no internet."""

from __future__ import annotations

import re

import jsonschema
import pytest
import yaml
from django.test import Client

from tests.api.conftest import lines, order
from tests.api.in_parts import begin, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def schema(db) -> dict:
    response = Client().get("/schema")
    assert response.status_code == 200
    return yaml.safe_load(response.content)


def check(schema: dict, name: str, value: object) -> None:
    """Check a value against a component, with OpenAPI 3.0's `nullable` put into JSON Schema."""

    def plain(node: object) -> object:
        if isinstance(node, list):
            return [plain(one) for one in node]
        if not isinstance(node, dict):
            return node
        done = {key: plain(one) for key, one in node.items() if key != "nullable"}
        if not node.get("nullable"):
            return done
        return {"anyOf": [done, {"type": "null"}]}

    components = plain(schema["components"])
    root = {"$ref": f"#/components/schemas/{name}", "components": components}
    jsonschema.validate(value, root)
    # And nothing is answered that is not described.
    described = schema["components"]["schemas"][name]["properties"]
    assert set(value) == set(described) == set(schema["components"]["schemas"][name]["required"])


def test_every_route_is_described_with_its_errors(schema):
    assert set(schema["paths"]) == {
        "/v1/files",
        "/v1/files/{file_id}",
        "/v1/files/{file_id}/content",
        "/v1/uploads",
        "/v1/uploads/{upload_id}",
        "/v1/uploads/{upload_id}/parts",
        "/v1/uploads/{upload_id}/complete",
        "/v1/uploads/{upload_id}/cancel",
        "/v1/batches",
        "/v1/batches/{batch_id}",
        "/v1/batches/{batch_id}/cancel",
        "/v1/batches/{batch_id}/pause",
        "/v1/batches/{batch_id}/resume",
        "/v1/batches/{batch_id}/retry",
        "/v1/models",
        "/v1/models/{model_id}",
    }
    for path in schema["paths"].values():
        for operation in path.values():
            assert operation["security"] == [{"apiKey": []}]
            assert {"200", "401", "503"} <= set(operation["responses"])
            assert operation["summary"] and operation["description"]
            for status, answer in operation["responses"].items():
                if status != "200":
                    shape = answer["content"]["application/json"]["schema"]
                    assert shape == {"$ref": "#/components/schemas/ErrorBody"}


def test_answers_are_as_described(schema, api, lane):
    stored = api.upload(lines(2)).json()
    check(schema, "File", stored)
    check(schema, "Batch", api.post("/v1/batches", order(stored["id"], metadata={"a": "b"})).json())
    failed = api.make(lines(1) + lines(1))
    assert failed["errors"]
    check(schema, "Batch", failed)
    made = api.make(lines(2))
    lane.answer(failing=["line-1"])
    check(schema, "Batch", api.get(f"/v1/batches/{made['id']}").json())
    check(schema, "FileList", api.get("/v1/files").json())
    check(schema, "BatchList", api.get("/v1/batches").json())
    check(schema, "ModelList", api.get("/v1/models").json())
    check(schema, "Model", api.get("/v1/models/small").json())
    check(schema, "DeletedFile", api.delete(f"/v1/files/{stored['id']}").json())
    check(schema, "ErrorBody", api.get("/v1/files/none").json())


def test_answers_to_uploads_in_parts_are_as_described(schema, api):
    made = begin(api, size=2)
    check(schema, "Upload", made)
    part = send(api, made["id"], b"{}").json()
    check(schema, "UploadPart", part)
    check(schema, "Upload", api.get(f"/v1/uploads/{made['id']}").json())
    done = api.post(f"/v1/uploads/{made['id']}/complete", {"part_ids": [part["id"]]}).json()
    assert done["file"]
    check(schema, "Upload", done)
    check(schema, "Upload", api.post(f"/v1/uploads/{begin(api, size=2)['id']}/cancel").json())


def test_what_a_create_takes_is_described(schema):
    shape = schema["components"]["schemas"]["BatchOrder"]
    assert shape["additionalProperties"] is False
    assert shape["required"] == ["completion_window", "endpoint", "input_file_id"]
    jsonschema.validate(order("file-x"), shape | {"properties": {}, "additionalProperties": True})
    retry = schema["components"]["schemas"]["RetryOrder"]
    assert retry["additionalProperties"] is False and "required" not in retry
    assert set(retry["properties"]) == {"metadata", "priority", "idempotency_key"}
    upload = schema["components"]["schemas"]["FileForm"]
    assert set(upload["properties"]) == {
        "file",
        "purpose",
        "expires_after[anchor]",
        "expires_after[seconds]",
    }
    assert upload["properties"]["file"]["format"] == "binary"


def test_the_page_needs_nothing_from_elsewhere_and_no_inline_script():
    page = Client().get("/docs/api")
    assert page.status_code == 200
    html = page.content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(addresses) >= 4
    assert all(one.startswith("/") and not one.startswith("//") for one in addresses)
    for script in re.findall(r"<script([^>]*)>(.*?)</script>", html, flags=re.S):
        assert "src=" in script[0] and not script[1].strip()
    assert "script-src 'self'" in page["Content-Security-Policy"]
    (script_url,) = [one for one in addresses if "script" in one and one.startswith("/docs/api")]
    script = Client().get(script_url)
    assert script["Content-Type"].startswith("application/javascript")
    assert "/schema" in script.content.decode()

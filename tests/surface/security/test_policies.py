"""Policies: versions that count by one, roll-backs, positions of errors; and the bundles that agents get."""

from __future__ import annotations

import asyncio

import pytest

from promises import promise
from rune.policy.compiled import load
from rune.shield.sync import read_bundle
from secured import POLICY, Secured

pytestmark = promise("security.policies")

OTHER = POLICY.replace("action: block", "action: alert")


async def test_each_other_text_is_one_version_and_the_same_text_is_none(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        known = (await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})).json()["id"]
        for text in (OTHER, OTHER, POLICY):
            await http.post("/v1/policies/update", json={"policyId": known, "yamlContent": text})
        await http.post("/v1/policies/update", json={"policyId": known, "name": "q"})
        found = (await http.get(f"/v1/policies/{known}")).json()
        assert (found["version"], found["name"], found["yamlContent"]) == (3, "q", POLICY)
        assert load(found["compiled"]).rules[0].action == "block"
        back = await http.post("/v1/policies/rollback", json={"policyId": known, "version": 2})
        assert back.json() == {"updated": True, "version": 4}
        versions = (await http.get(f"/v1/policies/{known}/versions")).json()["versions"]
        assert [(each["version"], each["yamlContent"]) for each in versions] == [
            (4, OTHER),
            (3, POLICY),
            (2, OTHER),
            (1, POLICY),
        ]
        gone = await http.post("/v1/policies/rollback", json={"policyId": known, "version": 9})
    assert gone.status_code == 404


async def test_concurrent_updates_count_every_version_once(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        known = (await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})).json()["id"]
        texts = [POLICY.replace("block-injection", f"rule-{number}") for number in range(8)]
        asks = [{"policyId": known, "yamlContent": text} for text in texts]
        answers = await asyncio.gather(*(http.post("/v1/policies/update", json=ask) for ask in asks))
        assert {answer.status_code for answer in answers} == {200}
        versions = (await http.get(f"/v1/policies/{known}/versions")).json()["versions"]
    assert [each["version"] for each in versions] == list(range(9, 0, -1))


async def test_of_two_who_change_the_same_version_the_second_is_refused(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        known = (await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})).json()["id"]
        ask = {"policyId": known, "version": 1}
        first = await http.post("/v1/policies/update", json={**ask, "yamlContent": OTHER})
        second = await http.post("/v1/policies/update", json={**ask, "name": "q"})
        found = (await http.get(f"/v1/policies/{known}")).json()
    assert (first.status_code, second.status_code) == (200, 409)
    assert "version 2 by now" in second.text
    assert (found["version"], found["name"]) == (2, "p")


@pytest.mark.parametrize("path", ["/v1/policies", "/v1/policies/update"])
async def test_a_text_that_does_not_compile_is_refused_with_line_and_column(
    plane: Secured, path: str
) -> None:
    bad = POLICY.replace("prompt_injection", "prompt_injektion")
    async with plane.client(await plane.key()) as http:
        known = (await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})).json()["id"]
        ask = {"name": "x", "yamlContent": bad} | ({"policyId": known} if "update" in path else {})
        answer = await http.post(path, json=ask)
        listed = (await http.get("/v1/policies")).json()["policies"]
    assert answer.status_code == 400
    assert "line 4, column 14" in answer.json()["error"]
    assert "did you mean 'prompt_injection'?" in answer.json()["error"]
    assert [(each["name"], each["version"]) for each in listed] == [("p", 1)]


async def test_a_bundle_is_what_a_shield_reads_and_its_tag_spares_the_rest(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})
        answer = await http.get("/v1/sdk/bundle")
        bundle = read_bundle(answer.content)
        assert load(bundle.policies[0]["compiled"]).rules[0].name == "block-injection"
        assert answer.headers["etag"] == f'"{bundle.etag}"'
        again = await http.get("/v1/sdk/bundle", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert len(bundle.salt) == 64


async def test_a_question_that_waits_is_answered_by_the_change(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        tag = (await http.get("/v1/sdk/bundle")).headers["etag"]
        waiting = asyncio.ensure_future(
            http.get("/v1/sdk/bundle?wait=30", headers={"if-none-match": tag}, timeout=10)
        )
        await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})
        answer = await waiting
    assert answer.status_code == 200
    assert len(answer.json()["policies"]) == 1


async def test_a_question_that_waits_in_vain_is_told_that_nothing_changed(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        tag = (await http.get("/v1/sdk/bundle")).headers["etag"]
        answer = await http.get("/v1/sdk/bundle?wait=1", headers={"if-none-match": tag})
    assert answer.status_code == 304

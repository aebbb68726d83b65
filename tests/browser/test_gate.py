"""The way into the dashboard, and all the ways that are not one."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from browser.browsing import IN_ONE_LOOP, logged_in, reader
from oidc import CLIENT, SECRET, provider
from promises import promise
from rune.api.orchestrator import admin, auth, namespaces, secrets, sessions
from rune.api.orchestrator.secrets import Secret
from runed import Runed, runed

pytestmark = [IN_ONE_LOOP, pytest.mark.system, pytest.mark.timeout(90)]
browser_wanted = pytest.mark.requires("chromium")


async def log_in(server: Runed, http: httpx.AsyncClient) -> httpx.Response:
    """As a browser's form does it."""
    return await http.post(
        "/login", data={"token": server.token}, headers={"origin": f"http://{server.http}"}
    )


def client(server: Runed) -> httpx.AsyncClient:
    """A client that keeps cookies."""
    return httpx.AsyncClient(base_url=f"http://{server.http}", trust_env=False)


@promise("dashboard.sessions")
async def test_the_cookie_is_for_no_script_no_other_site_and_says_nothing_of_the_token(
    tmp_path: Path,
) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        answer = await log_in(server, http)
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 303
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert server.token not in cookie
        page = await http.get("/")
        assert server.token not in page.text
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"


async def test_nobody_sees_or_does_anything_without_a_session(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        origin = {"origin": f"http://{server.http}"}
        assert (await http.get("/services")).headers["location"] == "/login?to=%2Fservices"
        assert (await http.get("/services", headers={"x-rune-part": "rows"})).status_code == 401
        assert (await http.post("/ui/do/keys/create", data={"name": "k"}, headers=origin)).status_code == 401
        for path in ("/ui/live", "/ui/logs/default/web", "/ui/exec/default/web-1"):
            assert await closes_with(server, path, origin["origin"]) == 4401


@promise("dashboard.origins")
async def test_a_page_of_another_origin_can_do_nothing_with_a_browser_that_is_logged_in(
    tmp_path: Path,
) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        await log_in(server, http)
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        for origin in ({"origin": "http://evil.example"}, {"origin": "null"}, {}):
            answer = await http.post("/ui/do/keys/create", data={"name": "k"}, headers=origin)
            assert answer.status_code == 403
        for path in ("/ui/live", "/ui/logs/default/web", "/ui/exec/default/web-1"):
            assert await closes_with(server, path, "http://evil.example", cookie) in (4403, 1006)
        again = await http.post(
            "/login", data={"token": server.token}, headers={"origin": "http://evil.example"}
        )
        assert again.status_code == 403


async def closes_with(server: Runed, path: str, origin: str, cookie: str = "") -> int:
    """The code that a connection is closed with."""
    headers = {"cookie": cookie} if cookie else {}
    async with connect(f"ws://{server.http}{path}", origin=origin, additional_headers=headers) as socket:  # pyright: ignore[reportArgumentType] - an Origin is a text
        try:
            async with asyncio.timeout(10):
                while True:
                    await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


async def test_wrong_tokens_are_heard_more_and_more_slowly(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        origin = {"origin": f"http://{server.http}"}
        codes = [
            (await http.post(path, data=data, headers=origin)).status_code
            for path, data in (("/login", {"token": "x.y"}), ("/enter", {"code": "x"}))
            for _ in range(25)
        ]
        assert codes[0] == codes[25] == 401
        assert codes[24] == codes[49] == 429


@promise("dashboard.codes")
@browser_wanted
async def test_rune_ui_opens_the_dashboard_logged_in_and_the_link_works_once(
    browser: Browser, tmp_path: Path
) -> None:
    async with runed(tmp_path / "data") as server:
        link = (await rune_ui(server, tmp_path)).strip()
        assert server.token not in link
        async with reader(browser, server) as found:
            await found.page.goto(link)
            await expect(found.page.locator("body[data-live]")).to_be_attached()
            await expect(found.page.get_by_role("heading", name="Overview")).to_be_visible()
        async with reader(browser, server) as other:
            await other.page.goto(link)
            await expect(other.page.get_by_role("alert")).to_contain_text("used or too old")


async def rune_ui(server: Runed, home: Path) -> str:
    """What `rune ui --no-browser` prints."""
    command = (sys.executable, "-m", "rune.cli.main", "ui", "--no-browser", "--url", f"http://{server.http}")
    environ = {"HOME": str(home), "RUNE_TOKEN": server.token}
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        said, _ = await process.communicate()
    return said.decode()


@browser_wanted
async def test_logging_out_and_revoking_a_token_end_every_open_page(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, found):
        made = await server.call(
            auth.create_token, auth.CreateTokenRequest(subject_name="ann", policies=["readonly"])
        )
        second = await found.context.new_page()
        await second.goto(f"http://{server.http}/services")
        await found.page.get_by_role("button", name="Log out").click()
        await expect(second.get_by_label("Token")).to_be_visible()
        await found.enter(made.secret)
        await server.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id))
        await expect(found.page.get_by_label("Token")).to_be_visible()


async def test_a_password_logs_in_and_the_session_is_one_of_the_servers(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        await server.call(admin.create_user, admin.UserCreateRequest(name="ann"))
        ask = sessions.SetPasswordRequest(name="ann", password="correct horse battery")
        await server.call(sessions.set_password, ask)
        origin = {"origin": f"http://{server.http}"}
        wrong = await http.post("/login", data={"user": "ann", "password": "wrong"}, headers=origin)
        assert wrong.status_code == 401
        assert "wrong user name or password" in wrong.text
        given = {"user": "ann", "password": "correct horse battery"}
        foreign = await http.post("/login", data=given, headers={"origin": "http://evil.example"})
        assert foreign.status_code == 403
        right = await http.post("/login", data=given, headers=origin)
        assert right.status_code == 303
        assert "SameSite=Strict" in right.headers["set-cookie"]
        everybody = sessions.ListSessionsRequest(everybody=True)
        (found,) = (await server.call(sessions.list_, everybody)).sessions
        assert (found.subject_name, found.way, found.edge) == ("ann", "password", "dashboard")
        assert (await http.get("/")).status_code == 200
        await server.call(sessions.revoke, sessions.RevokeSessionRequest(id=found.id))
        assert (await http.get("/")).headers["location"] == "/login"


@promise("dashboard.restarts")
async def test_a_browser_stays_logged_in_across_a_restart_and_a_revoked_session_does_not(
    tmp_path: Path,
) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http, client(server) as other:
        await log_in(server, http)
        await log_in(server, other)
        cookie = http.cookies["rune_session"]
        (own,) = (await server.call(sessions.list_, sessions.ListSessionsRequest())).sessions[:1]
        server.kill()
        await server.end()
        await server.start("--dev")
        assert (await http.get("/services")).status_code == 200
        assert http.cookies["rune_session"] == cookie
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(other.get("/agents")) for _ in range(8)]
        assert {each.result().status_code for each in asked} == {200}
        found = (await server.call(sessions.list_, sessions.ListSessionsRequest())).sessions
        assert own.id in {each.id for each in found}
        for each in found:
            await server.call(sessions.revoke, sessions.RevokeSessionRequest(id=each.id))
        assert (await http.get("/services")).headers["location"] == "/login?to=%2Fservices"
        assert (await other.get("/services")).headers["location"] == "/login?to=%2Fservices"


async def test_a_cookie_is_no_credential_for_the_api_and_ends_its_session_there(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        await log_in(server, http)
        shown = {"refresh_token": http.cookies["rune_session"]}
        assert (await http.post("/v1/auth/refresh", json=shown)).status_code == 401
        assert (await http.get("/")).headers["location"] == "/login"


async def test_a_page_goes_on_when_its_access_token_ends(tmp_path: Path) -> None:
    runefile = tmp_path / "runefile.yaml"
    runefile.write_text("auth: {session-access-ttl: 1m, session-grace-window: 0s}\n", encoding="utf-8")
    async with runed(tmp_path / "data", "--config", str(runefile)) as server, client(server) as http:
        await log_in(server, http)
        assert [(await http.get("/")).status_code for _ in range(5)] == [200] * 5
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(http.get("/services")) for _ in range(8)]
        assert {each.result().status_code for each in asked} == {200}


@promise("dashboard.oidc")
@browser_wanted
async def test_single_sign_on_leads_to_the_provider_and_back_into_the_dashboard(
    browser: Browser, tmp_path: Path
) -> None:
    async with provider() as liar:
        secret = tmp_path / "secret"
        secret.touch(0o600)
        secret.write_text(SECRET, encoding="utf-8")
        runefile = tmp_path / "runefile.yaml"
        chosen = f"issuer: '{liar.url}', client-id: {CLIENT}, client-secret-file: '{secret}'"
        groups = "groups: [{group: ops, policies: [readwrite]}], default-policies: readonly"
        runefile.write_text(f"auth: {{oidc: {{{chosen}, {groups}}}}}\n", encoding="utf-8")
        async with (
            runed(tmp_path / "data", "--config", str(runefile)) as server,
            reader(browser, server) as found,
        ):
            page = found.page
            await page.goto(f"http://{server.http}/")
            await page.get_by_role("link", name="Log in with single sign-on").click()
            await expect(page.locator("body[data-live]")).to_be_attached()
            await expect(page.locator(".who")).to_have_text("ann-smith")
            await page.get_by_role("button", name="Log out").click()
            async with client(server) as http:
                begun = await http.get("/login/oidc")
                back = liar.authorize(begun.headers["location"])
                http.cookies.clear()
                refused = await http.get(back)
                assert refused.status_code == 401
                assert "begin again" in refused.text
            liar.claims["email"] = "ann@elsewhere.example"
            liar.lie = lambda said: said.update(aud="another")
            await page.get_by_role("link", name="Log in with single sign-on").click()
            await expect(page.get_by_role("alert")).to_contain_text("does not hold")


@browser_wanted
async def test_a_user_changes_the_own_password_at_a_browser(browser: Browser, tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server, reader(browser, server) as found:
        await server.call(admin.create_user, admin.UserCreateRequest(name="ann"))
        ask = sessions.SetPasswordRequest(name="ann", password="correct horse battery")
        await server.call(sessions.set_password, ask)
        page = found.page
        await page.goto(f"http://{server.http}/")
        await page.get_by_label("User").fill("ann")
        await page.get_by_label("Password").fill("correct horse battery")
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("link", name="ann").click()
        await page.get_by_label("Old password").fill("correct horse battery")
        await page.get_by_label("New password", exact=True).fill("battery staple horse")
        await page.get_by_label("New password, again").fill("battery staple hoarse")
        await page.get_by_role("button", name="Change password").click()
        await expect(page.locator("#said")).to_contain_text("not the same")
        await page.get_by_label("New password, again").fill("battery staple horse")
        await page.get_by_role("button", name="Change password").click()
        await expect(page.locator("#said")).to_contain_text("Your password is changed.")
        asked = sessions.LogInRequest(name="ann", password="battery staple horse")
        assert (await server.call(sessions.log_in, asked)).subject_name == "ann"


@promise("dashboard.rights")
async def test_open_pages_of_the_same_list_show_each_reader_what_they_may_see(tmp_path: Path) -> None:
    rules = [admin.PolicyRule(resource="services", verbs=["list", "get"], namespace="default")]
    async with runed(tmp_path / "data") as server:
        await server.call(
            admin.create_grant, admin.PolicyCreateRequest(policy=admin.Grant(name="looker", rules=rules))
        )
        made = await server.call(
            auth.create_token, auth.CreateTokenRequest(subject_name="ann", policies=["looker"])
        )
        await server.call(
            namespaces.create, namespaces.CreateNamespaceRequest(namespace=namespaces.Namespace(name="prod"))
        )
        await server.cast("seen-by-both", ["/bin/sleep", "1000"])
        await server.cast("seen-by-root", ["/bin/sleep", "1000"], namespace="prod")
        for token, sees in ((server.token, True), (made.secret, False), (server.token, True)):
            told = await shown(server, token, "/services")
            assert "seen-by-both" in told or not sees
            assert ("seen-by-root" in told) is sees


async def shown(server: Runed, token: str, path: str) -> str:
    """What an open page is told first."""
    origin = f"http://{server.http}"
    async with client(server) as http:
        await http.post("/login", data={"token": token}, headers={"origin": origin})
        cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    async with connect(
        f"ws://{server.http}/ui/live",
        origin=origin,  # pyright: ignore[reportArgumentType] - an Origin is a text
        additional_headers={"cookie": cookie},
    ) as socket:
        await socket.send(json.dumps({"path": path}))
        async with asyncio.timeout(10):
            return str(await socket.recv())


@promise("dashboard.rights")
@browser_wanted
async def test_who_may_not_see_something_is_not_shown_it(browser: Browser, tmp_path: Path) -> None:
    rules = [admin.PolicyRule(resource="services", verbs=["list", "get"], namespace="default")]
    async with logged_in(browser, tmp_path) as (server, found):
        await server.call(
            admin.create_grant, admin.PolicyCreateRequest(policy=admin.Grant(name="looker", rules=rules))
        )
        made = await server.call(
            auth.create_token, auth.CreateTokenRequest(subject_name="ann", policies=["looker"])
        )
        await server.cast("web", ["/bin/sleep", "1000"])
        await found.page.get_by_role("button", name="Log out").click()
        await found.enter(made.secret)
        menu = found.page.locator("#menu a")
        assert await menu.all_inner_texts() == ["Overview", "Services", "Deletions", "Sessions"]
        await found.open("/services/default/web")
        assert not await found.page.get_by_role("button", name="Delete").count()
        await found.open("/settings/users")
        await expect(found.page.get_by_text("access denied")).to_be_visible()


@pytest.mark.parametrize("noun", ["secrets", "configmaps"])
async def test_a_secret_and_a_configmap_are_made_changed_rolled_back_and_deleted(
    tmp_path: Path, noun: str
) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        await log_in(server, http)

        async def do(path: str, **given: str) -> str:
            answer = await http.post(
                f"/ui/do/{noun}{path}", data=given, headers={"origin": f"http://{server.http}"}
            )
            assert answer.status_code == 200, answer.text
            return answer.json()["said"]

        one = "/default/db"
        await do("/create", namespace="default", name="db", key="password", value="never-to-be-seen")
        assert ">db</a>" in (await http.get(f"/{noun}")).text
        await do(f"{one}/set", key="user", value="never-either")
        await do(f"{one}/set", gone="password")
        page = (await http.get(f"/{noun}{one}")).text
        assert ">user</td>" in page
        assert ">password</td>" not in page
        assert "never" not in page
        assert await do(f"{one}/rollback", version="1") == "The newest version says what version 1 said."
        assert ">password</td>" in (await http.get(f"/{noun}{one}")).text
        await do(f"{one}/delete")
        assert f"No {noun}" in (await http.get(f"/{noun}")).text


@promise("dashboard.secrets")
async def test_no_page_holds_a_value_of_a_secret_or_a_configmap(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        await log_in(server, http)
        made = Secret(name="db", data={"password": "never-to-be-seen"})
        await server.call(secrets.create, secrets.CreateSecretRequest(secret=made))
        pages = [(await http.get(path)).text for path in ("/secrets", "/secrets/default/db", "/search?q=db")]
        assert all("db" in page and "never-to-be-seen" not in page for page in pages)


async def test_a_server_without_the_dashboard_says_how_to_get_it(tmp_path: Path) -> None:
    runefile = tmp_path / "runefile.yaml"
    runefile.write_text("server: {dashboard: false}\n", encoding="utf-8")
    async with runed(tmp_path / "data", "--config", str(runefile)) as server, client(server) as http:
        answer = await http.get("/")
        assert answer.status_code == 200
        assert "server.dashboard" in answer.text
        assert (await http.get("/services")).status_code == 404
